//! Commands on the data directory of a service, typed by root: they run again as the user whom the directory belongs to.
//!
//! What is in the directory is in the hands of that user, who could put links there that lead root to the files of others; and
//! what root made there the service could not read. As that user the command can do neither harm.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use crate::args::{Args, Command, RestoreArgs, ServeArgs, TokenCommand};
use crate::config::ServeConfig;
use crate::env::Env;
use crate::exit::{CliError, Exit};
use crate::output::Format;

/// The file name that stands for standard input.
pub(crate) const STDIN: &str = "-";

/// This program, also where its path is not open to everybody.
const ITSELF: &str = "/proc/self/exe";

/// Run the command as the owner of the directory that it works on, if this is root and that is somebody else. None if it is for
/// this process.
///
/// # Errors
///
/// The configuration is wrong, the backup cannot be read, or the program cannot be started as that user.
pub(crate) fn run_as_owner(args: &Args, env: &Env) -> Result<Option<Exit>, CliError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let Some(again) = again(&args.command, env)? else { return Ok(None) };
    let Ok(folder) = again.folder.metadata() else { return Ok(None) };
    if folder.uid() == 0 {
        return Ok(None);
    }
    let mut process = Process::new(ITSELF);
    process.args(&again.words).uid(folder.uid()).gid(folder.gid());
    if args.global.output == Format::Json {
        process.args(["-o", "json"]);
    }
    if let Some(file) = &again.input {
        let input =
            File::open(file).map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))?;
        process.stdin(Stdio::from(input));
    }
    let ended = process.status().map_err(|error| {
        let owner = folder.uid();
        CliError::Failed(format!("cannot go on as the user {owner}, whom the folder belongs to: {error}"))
    })?;
    Ok(Some(match ended.code() {
        Some(0) => Exit::Ok,
        Some(2) => Exit::Usage,
        _ => Exit::Failed,
    }))
}

/// A command as it is to be typed by the owner of the folder.
struct Again {
    folder: PathBuf,
    words: Vec<OsString>,
    /// What is to be its standard input: the owner need not be able to open it.
    input: Option<PathBuf>,
}

fn again(command: &Command, env: &Env) -> Result<Option<Again>, CliError> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let data_dir = |data_dir: &Option<PathBuf>, config: &Option<PathBuf>| {
        let args = ServeArgs { data_dir: data_dir.clone(), config: config.clone(), ..ServeArgs::default() };
        ServeConfig::resolve(&args, env).map(|config| absolute(&config.data_dir))
    };
    let words = |words: &[&str], folder: &Path| {
        let words = words.iter().map(OsString::from).chain(["--data-dir".into(), folder.into()]);
        words.collect::<Vec<_>>()
    };
    Ok(Some(match command {
        Command::Restore(RestoreArgs { file, data_dir: folder, config }) => {
            let folder = data_dir(folder, config)?;
            let input = (file != Path::new(STDIN)).then(|| file.clone());
            Again { words: words(&["restore", STDIN], &folder), folder, input }
        }
        Command::Token(token) => {
            let TokenCommand::Replace(args) = &token.command;
            let folder = data_dir(&args.data_dir, &args.config)?;
            Again { words: words(&["token", "replace"], &folder), folder, input: None }
        }
        Command::Migrate(args) => {
            let (from, to) = (absolute(&args.from), absolute(&args.to));
            let Some(folder) = to.parent().map(Path::to_owned) else { return Ok(None) };
            let words = ["migrate".into(), "--from".into(), from.into(), "--to".into(), to.into()].into();
            Again { folder, words, input: None }
        }
        _ => return Ok(None),
    }))
}
