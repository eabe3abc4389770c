//! `picloud dev`: uploads scripts when they are saved, runs their tests, and shows what calls log and cost.

mod tail;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::deploy::{self, Change, is_for_tests, script_name, scripts_in, upload};
use super::interrupted;
use crate::args::{DevArgs, GivenArgs, TestArgs, TestFormat};
use crate::client::Api;
use crate::env::Env;
use crate::exit::{CliError, Exit};
use crate::output::text::clean;
use crate::output::{Terminal, error_document};
use crate::project::Project;
use tail::Tail;
use watch::Watch;

/// Upload, watch and tell, until it is interrupted.
///
/// # Errors
///
/// There is no folder, it cannot be watched, or no server answers at first.
pub async fn run(args: &DevArgs, api: &Api, env: &Env, terminal: &mut Terminal) -> Result<(), CliError> {
    let folder = folder(args, env)?;
    let result = tokio::select! {
        result = session(args, &folder, api, env, terminal) => result,
        () = interrupted() => Ok(()),
    };
    match result {
        Ok(()) => terminal.note("\nended; the scripts stay as they are"),
        Err(CliError::Unreachable(_)) if api.http().server().is_local() => {
            terminal.note("start a server in another terminal: picloud serve --dev");
        }
        Err(_) => {}
    }
    result
}

/// The folder to watch.
fn folder(args: &DevArgs, env: &Env) -> Result<PathBuf, CliError> {
    let folder = match (&args.dir, Project::around(env)?) {
        (Some(folder), _) => folder.clone(),
        (None, Some(project)) => project.scripts,
        (None, None) => {
            return Err(CliError::Usage(
                "there is no project here: name a folder, as in `picloud dev scripts`, or make a project with \
                 `picloud init`"
                    .to_owned(),
            ));
        }
    };
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(CliError::Usage(format!("{} is no folder", folder.display())))
    }
}

async fn session(
    args: &DevArgs,
    folder: &Path,
    api: &Api,
    env: &Env,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    // Watching begins before the first look, so that nothing is missed in between.
    let mut watch = Watch::start(folder)?;
    let mut tail = Tail::start();
    let mut dev = Dev { args, api, env, known: BTreeMap::new() };
    let scripts: Vec<PathBuf> = scripts_in(folder)?.into_iter().filter(|file| !is_for_tests(file)).collect();
    for file in &scripts {
        dev.deploy(file, terminal).await?;
    }
    let folder = clean(&folder.display().to_string());
    terminal.note(&format!(
        "watching {folder} for the app {} at {}; Ctrl-C ends it",
        api.app(),
        api.http().server()
    ));
    loop {
        tokio::select! {
            changed = watch.changed() => {
                for file in changed? {
                    dev.changed(&file, terminal).await?;
                }
            }
            calls = tail.next(api) => tail::print(&calls, terminal)?,
        }
    }
}

/// What is known while watching.
struct Dev<'a> {
    args: &'a DevArgs,
    api: &'a Api,
    env: &'a Env,
    /// The content of each file as it was last dealt with: many editors save a file more than once.
    known: BTreeMap<PathBuf, Vec<u8>>,
}

impl Dev<'_> {
    /// Deal with a file that may have changed.
    async fn changed(&mut self, file: &Path, terminal: &mut Terminal) -> Result<(), CliError> {
        let Ok(content) = std::fs::read(file) else {
            if self.known.remove(file).is_some() && !is_for_tests(file) {
                let name = script_name(file)?;
                terminal.note(&format!(
                    "{name} is gone here, but stays deployed: `picloud rm {name}` deletes it"
                ));
            }
            return Ok(());
        };
        if self.known.get(file) == Some(&content) {
            return Ok(());
        }
        self.known.insert(file.to_owned(), content);
        if is_for_tests(file) {
            let script = file.with_file_name(tested(file));
            return if script.is_file() { self.test(&script, terminal).await } else { Ok(()) };
        }
        match self.deploy(file, terminal).await {
            Ok(()) if tests_of(file).is_file() => self.test(file, terminal).await,
            Ok(()) => Ok(()),
            Err(error @ CliError::Output(_)) => Err(error),
            // Whoever is watching sees it, and saves again.
            Err(error) => {
                terminal.report(&error);
                Ok(())
            }
        }
    }

    /// Upload a file. One that the server does not take is told, and is no error.
    async fn deploy(&mut self, file: &Path, terminal: &mut Terminal) -> Result<(), CliError> {
        if let Ok(content) = std::fs::read(file) {
            self.known.insert(file.to_owned(), content);
        }
        let name = script_name(file)?;
        match upload(&name, file, self.api, terminal).await {
            Ok(uploaded) if terminal.json_wanted() => {
                let unchanged = uploaded.change == Change::Unchanged;
                let result = if unchanged { "unchanged" } else { "deployed" };
                terminal.json_line(&json!({ "event": result, "name": name, "script": uploaded.script }))
            }
            Ok(uploaded) => {
                let line = deploy::summary(&name, &uploaded, self.api, terminal.out_paint());
                terminal.line(&line)
            }
            Err(error) if error.is_final() => Err(error),
            Err(error) => {
                if terminal.json_wanted() {
                    let error = error_document(&error)["error"].take();
                    return terminal.json_line(&json!({ "event": "failed", "name": name, "error": error }));
                }
                terminal.report(&error);
                Ok(())
            }
        }
    }

    /// Run the tests of a script. What they say is said by them.
    async fn test(&self, script: &Path, terminal: &mut Terminal) -> Result<(), CliError> {
        if self.args.no_tests || terminal.json_wanted() {
            return Ok(());
        }
        let args = TestArgs {
            path: script.to_owned(),
            filter: None,
            format: TestFormat::Human,
            limits: Vec::new(),
            fs: Vec::new(),
            given: GivenArgs::default(),
        };
        match crate::test::run(args, self.env, terminal).await {
            Ok(()) | Err(CliError::Reported(Exit::Failed)) => Ok(()),
            Err(error @ CliError::Output(_)) => Err(error),
            Err(error) => {
                terminal.report(&error);
                Ok(())
            }
        }
    }
}

/// The file of the script that a file of tests is about.
fn tested(tests: &Path) -> String {
    let stem = tests.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{}.rhai", stem.strip_suffix("_test").unwrap_or(&stem))
}

/// The file that would have the tests of a script.
fn tests_of(script: &Path) -> PathBuf {
    let stem = script.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    script.with_file_name(format!("{stem}_test.rhai"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_their_tests_find_each_other() {
        assert_eq!(tested(Path::new("a/orders_test.rhai")), "orders.rhai");
        assert_eq!(tests_of(Path::new("a/orders.rhai")), Path::new("a/orders_test.rhai"));
    }
}
