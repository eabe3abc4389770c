//! Which files are meant, and what each script is called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use picloud_host::limits::LIMITS;

use crate::args::DeployArgs;
use crate::commands::request::read_file;
use crate::env::Env;
use crate::exit::CliError;
use crate::project::Project;

/// What is to be uploaded.
pub(super) struct Plan {
    /// Names and files, in the order they were given.
    pub(super) scripts: Vec<(String, PathBuf)>,
    /// The folders that the scripts are from; none if files were named.
    pub(super) folders: Vec<PathBuf>,
}

/// What the arguments mean.
pub(super) fn plan(args: &DeployArgs, env: &Env) -> Result<Plan, CliError> {
    if !args.files.is_empty() {
        return plan_of(args, &args.files);
    }
    let Some(project) = Project::around(env)? else {
        return Err(CliError::Usage(
            "there is no project here: name files or folders, as in `picloud deploy hello.rhai`, or make a project with \
             `picloud init`"
                .to_owned(),
        ));
    };
    plan_of(args, &[project.scripts_as_typed(env)])
}

fn plan_of(args: &DeployArgs, paths: &[PathBuf]) -> Result<Plan, CliError> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_dir() {
            files.extend(scripts_in(path)?.into_iter().filter(|path| !is_for_tests(path)));
            folders.push(path.clone());
        } else {
            files.push(path.clone());
        }
    }
    if args.prune && folders.len() < paths.len() {
        return Err(CliError::Usage("--prune takes whole folders, not files".to_owned()));
    }
    if let Some(name) = &args.name {
        return match <[PathBuf; 1]>::try_from(files) {
            Ok([file]) => Ok(Plan { scripts: vec![(name.clone(), file)], folders }),
            Err(files) => {
                Err(CliError::Usage(format!("--name names one script, but there are {} files", files.len())))
            }
        };
    }
    Ok(Plan { scripts: named(files)?, folders })
}

/// The files with their names, each once.
fn named(files: Vec<PathBuf>) -> Result<Vec<(String, PathBuf)>, CliError> {
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut scripts = Vec::new();
    for file in files {
        let name = script_name(&file)?;
        match seen.insert(name.clone(), file.clone()) {
            None => scripts.push((name, file)),
            Some(other) if other == file => {}
            Some(other) => {
                let (one, two) = (other.display(), file.display());
                return Err(CliError::Usage(format!(
                    "{one} and {two} would both become the script `{name}`"
                )));
            }
        }
    }
    Ok(scripts)
}

/// What a file's script is called when nothing else is said.
pub(crate) fn script_name(file: &Path) -> Result<String, CliError> {
    file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned).ok_or_else(|| {
        CliError::Usage(format!("{}: its name cannot be a script's; give it one with --name", file.display()))
    })
}

/// Whether a file holds tests of another, and is no script of its own.
pub(crate) fn is_for_tests(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_test"))
}

/// Every `*.rhai` in a folder, by name. Folders in it are not looked into.
pub(crate) fn scripts_in(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let wrong = |error: std::io::Error| CliError::Failed(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|extension| extension == "rhai") && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(CliError::Usage(format!("there is no *.rhai in {}", folder.display())));
    }
    files.sort();
    Ok(files)
}

/// Read a source. One that no server would take is refused here, before it is sent.
pub(crate) fn read_source(file: &Path) -> Result<String, CliError> {
    let most = LIMITS.iter().find(|row| row.name == "source_bytes").map_or(4 << 20, |row| row.maximum);
    let source = read_file(file, usize::try_from(most).unwrap_or(usize::MAX)).map_err(CliError::Failed)?;
    String::from_utf8(source).map_err(|error| {
        let valid = error.as_bytes()[..error.utf8_error().valid_up_to()].to_vec();
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        CliError::Failed(format!("{}: line {line} is not UTF-8", file.display()))
    })
}
