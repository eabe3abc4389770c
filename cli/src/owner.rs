//! Commands on the data directory of a service, typed by root: they run again as the user whom the directory belongs to.
//!
//! What is in the directory is in the hands of that user, who could put links there that lead root to the files of others; and
//! what root made there the service could not read. As that user the command can do neither harm.

use std::ffi::OsString;
use std::fs::{File, Metadata};
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
    let Some(owner) = first_owner(&again.folder) else { return Ok(None) };
    let mut process = Process::new(ITSELF);
    process.args(&again.words).uid(owner.uid()).gid(owner.gid());
    if args.global.output == Format::Json {
        process.args(["-o", "json"]);
    }
    if let Some(file) = &again.input {
        let input =
            File::open(file).map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))?;
        process.stdin(Stdio::from(input));
    }
    let ended = process.status().map_err(|error| {
        let (user, folder) = (owner.uid(), again.folder.display());
        CliError::Failed(format!("cannot go on as the user {user}, whom {folder} belongs to: {error}"))
    })?;
    Ok(Some(match ended.code() {
        Some(0) => Exit::Ok,
        Some(2) => Exit::Usage,
        _ => Exit::Failed,
    }))
}

/// What is the first on the way to a folder that is not root's: whose that is decides where the rest of the way leads.
fn first_owner(folder: &Path) -> Option<Metadata> {
    let mut way: Vec<&Path> = folder.ancestors().collect();
    way.reverse();
    let found = way.into_iter().map_while(|part| part.symlink_metadata().ok());
    found.into_iter().find(|part| part.uid() != 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_owns_a_part_of_the_way_decides_where_it_leads() {
        let root = tempfile::tempdir_in("/tmp").unwrap();
        let path = |name: &str| root.path().join(name);
        let owner = |folder: &Path| first_owner(folder).map(|found| found.uid());
        let me = root.path().metadata().unwrap().uid();
        let others = (me != 0).then_some(me);
        assert_eq!(
            owner(&path("new/data")),
            others,
            "what is not there yet is made by whom the rest belongs to"
        );
        for folder in ["theirs", "theirs/mine", "mine"] {
            std::fs::create_dir(path(folder)).unwrap();
        }
        std::os::unix::fs::symlink(path("mine"), path("link")).unwrap();
        // Only root can give anything away.
        if std::os::unix::fs::chown(path("theirs"), Some(65534), None).is_ok() {
            std::os::unix::fs::lchown(path("link"), Some(65533), None).unwrap();
            assert_eq!(owner(&path("theirs")), Some(65534));
            assert_eq!(owner(&path("theirs/mine/new")), Some(65534));
            assert_eq!(owner(&path("link/new")), Some(65533));
        }
        assert_eq!(owner(&path("mine")), others);
    }
}
