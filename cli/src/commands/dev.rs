//! `picloud dev`: uploads scripts when they are saved, runs their tests, and shows what calls log and cost.

mod tail;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::deploy::{self, Change, Options, is_for_tests, script_name, scripts_in, upload};
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
        Err(CliError::Unreachable(why)) if api.http().server().is_local() => {
            let help = "for development, type `picloud serve --dev` in another terminal";
            return Err(CliError::Unreachable(format!("{why}; {help}")));
        }
        Err(_) => {}
    }
    result
}

/// The folder to watch.
fn folder(args: &DevArgs, env: &Env) -> Result<PathBuf, CliError> {
    let folder = match (&args.dir, Project::around(env)?) {
        (Some(folder), _) => folder.clone(),
        (None, Some(project)) => project.scripts_as_typed(env),
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
            return self.test(file, terminal).await;
        }
        match self.deploy(file, terminal).await {
            Ok(true) => self.test_all_of(file, terminal).await,
            Ok(false) => Ok(()),
            Err(error @ CliError::Output(_)) => Err(error),
            // Whoever is watching sees it, and saves again.
            Err(error) => {
                terminal.report(&error);
                Ok(())
            }
        }
    }

    /// Run the tests of a script: those beside it, and those in it.
    async fn test_all_of(&self, file: &Path, terminal: &mut Terminal) -> Result<(), CliError> {
        let beside = tests_of(file);
        if beside.is_file() {
            self.test(&beside, terminal).await?;
        }
        let has_tests =
            self.known.get(file).is_some_and(|source| String::from_utf8_lossy(source).contains("fn test_"));
        if has_tests { self.test(file, terminal).await } else { Ok(()) }
    }

    /// Upload a file. True if the server takes it; that it does not is told, and is no error.
    async fn deploy(&mut self, file: &Path, terminal: &mut Terminal) -> Result<bool, CliError> {
        if let Ok(content) = std::fs::read(file) {
            self.known.insert(file.to_owned(), content);
        }
        let name = script_name(file)?;
        let scripts = self.api.scripts().await?;
        match upload(&name, file, &Options::default(), self.api, terminal).await {
            Ok(uploaded) if terminal.json_wanted() => {
                let unchanged = uploaded.change == Change::Unchanged;
                let result = if unchanged { "unchanged" } else { "deployed" };
                terminal.json_line(&json!({ "event": result, "name": name, "script": uploaded.script }))?;
                Ok(true)
            }
            Ok(uploaded) => {
                let line = deploy::summary(&name, &uploaded, scripts, terminal.out_paint());
                terminal.line(&line)?;
                Ok(true)
            }
            Err(error) if error.is_final() => Err(error),
            Err(error) => {
                if terminal.json_wanted() {
                    let error = error_document(&error)["error"].take();
                    terminal.json_line(&json!({ "event": "failed", "name": name, "error": error }))?;
                } else {
                    terminal.report(&error);
                }
                Ok(false)
            }
        }
    }

    /// Run the tests in a file. What they say is said by them.
    async fn test(&self, file: &Path, terminal: &mut Terminal) -> Result<(), CliError> {
        if self.args.no_tests || terminal.json_wanted() {
            return Ok(());
        }
        let args = TestArgs {
            path: file.to_owned(),
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

/// The file that would have the tests of a script.
fn tests_of(script: &Path) -> PathBuf {
    let stem = script.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    script.with_file_name(format!("{stem}_test.rhai"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_a_script_are_beside_it() {
        assert_eq!(tests_of(Path::new("a/orders.rhai")), Path::new("a/orders_test.rhai"));
    }
}
