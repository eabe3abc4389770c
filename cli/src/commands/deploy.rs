//! `picloud deploy`: uploads scripts.

mod diff;
mod find;
mod prune;
mod upload;

use std::path::Path;

use serde_json::{Value, json};

use crate::args::DeployArgs;
use crate::client::Api;
use crate::env::Env;
use crate::exit::{CliError, Exit};
use crate::output::{Terminal, error_document};

pub(crate) use find::{is_for_tests, read_source, script_name, scripts_in};
pub(crate) use upload::{Change, Options, summary, upload};

/// How many scripts it takes until a bar shows how far it is.
const MANY: usize = 4;

/// Upload every file, going on after those that fail; or show what that would change.
///
/// # Errors
///
/// The arguments are wrong, the server cannot be reached, or a file could not be uploaded.
pub async fn run(args: &DeployArgs, api: &Api, env: &Env, terminal: &mut Terminal) -> Result<(), CliError> {
    let plan = find::plan(args, env)?;
    let options = Options::of(args)?;
    if args.prune && !args.yes && !args.dry_run && !terminal.can_ask() {
        return Err(CliError::Usage(
            "--prune asks before it deletes, but there is nobody to ask: add --yes, or look with --dry-run"
                .to_owned(),
        ));
    }
    let progress = terminal.progress(if plan.scripts.len() < MANY { 0 } else { plan.scripts.len() });
    let mut results = Results::default();
    for (name, file) in &plan.scripts {
        progress.set_message(name.clone());
        let result = if args.dry_run {
            diff::compare(name, file, api, terminal).await
        } else {
            deploy(name, file, &options, api, terminal).await
        };
        progress.suspend(|| results.add(name, file, result, terminal))?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    if args.prune {
        prune::run(args, &plan, api, &mut results, terminal).await?;
    }
    results.end(args.dry_run, terminal)
}

async fn deploy(
    name: &str,
    file: &Path,
    options: &Options,
    api: &Api,
    terminal: &Terminal,
) -> Result<Done, CliError> {
    // Before: what is deployed is deployed, whatever becomes of this.
    let scripts = api.scripts().await?;
    let uploaded = upload(name, file, options, api, terminal).await?;
    let text = summary(name, &uploaded, scripts, terminal.out_paint());
    let mut more = json!({ "script": uploaded.script });
    if let Some(version) = uploaded.version {
        more["version"] = version;
    }
    if let Some(canary) = uploaded.canary {
        more["canary"] = canary;
    }
    Ok(Done { change: uploaded.change, text, more })
}

/// What was done, or would be, to one script.
struct Done {
    change: Change,
    /// For people.
    text: String,
    /// What programs get beside the name and the result.
    more: Value,
}

/// What became of each script so far.
#[derive(Default)]
struct Results {
    changes: Vec<Change>,
    items: Vec<Value>,
}

impl Results {
    /// Tell what became of a script. What makes going on pointless is an error.
    fn add(
        &mut self,
        name: &str,
        file: &Path,
        result: Result<Done, CliError>,
        terminal: &mut Terminal,
    ) -> Result<(), CliError> {
        let file = file.display().to_string();
        let mut item = json!({ "file": file, "name": name });
        let change = match result {
            Ok(done) => {
                if !terminal.json_wanted() {
                    terminal.line(&done.text)?;
                }
                let members = done.more.as_object().cloned().unwrap_or_default();
                item.as_object_mut().into_iter().for_each(|item| item.extend(members.clone()));
                done.change
            }
            Err(error) if error.is_final() => return Err(error),
            Err(error) => {
                terminal.report(&error);
                item["error"] = error_document(&error)["error"].take();
                Change::Failed
            }
        };
        item["result"] = change.word().into();
        self.changes.push(change);
        self.items.push(item);
        Ok(())
    }

    fn count(&self, change: Change) -> usize {
        self.changes.iter().filter(|other| **other == change).count()
    }

    /// The sum of it.
    fn end(self, dry_run: bool, terminal: &mut Terminal) -> Result<(), CliError> {
        let failed = self.count(Change::Failed) > 0;
        if terminal.json_wanted() {
            let summary: serde_json::Map<_, _> = Change::ALL
                .iter()
                .map(|change| (change.word().to_owned(), self.count(*change).into()))
                .collect();
            terminal.json(&json!({ "items": self.items, "summary": summary, "dry_run": dry_run }))?;
        } else if self.changes.len() > 1 || dry_run {
            let counts = Change::ALL.iter().filter(|change| self.count(**change) > 0);
            let counts: Vec<String> =
                counts.map(|change| format!("{} {}", self.count(*change), change.said(dry_run))).collect();
            terminal.note(&counts.join(", "));
        }
        if failed { Err(CliError::Reported(Exit::Failed)) } else { Ok(()) }
    }
}
