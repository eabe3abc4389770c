//! `--prune`: deletes what is not in the folder.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;
use serde_json::json;

use super::find::Plan;
use super::{Change, Done, Results};
use crate::args::DeployArgs;
use crate::client::Api;
use crate::client::http::Call;
use crate::commands::text;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::text::clean;

/// Delete the scripts of the app that are not among those of the plan, after asking.
pub(super) async fn run(
    args: &DeployArgs,
    plan: &Plan,
    api: &Api,
    results: &mut Results,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    if results.count(Change::Failed) > 0 {
        terminal.note("nothing is deleted, since not every script could be uploaded");
        return Ok(());
    }
    let kept: BTreeSet<&str> = plan.scripts.iter().map(|(name, _)| name.as_str()).collect();
    let there = api.list(&api.path(["scripts"]), &[], None).await?;
    let names: Vec<String> = there
        .iter()
        .map(|script| text(script, "name"))
        .filter(|name| !kept.contains(name.as_str()))
        .collect();
    if names.is_empty() || !(args.dry_run || args.yes || asked(&names, plan, api, terminal)?) {
        return Ok(());
    }
    for name in &names {
        let result = if args.dry_run { Ok(()) } else { delete(name, api).await };
        let done = result.map(|()| Done {
            change: Change::Deleted,
            text: line(name, args.dry_run, terminal),
            more: json!({}),
        });
        results.add(name, Path::new(""), done, terminal)?;
    }
    Ok(())
}

async fn delete(name: &str, api: &Api) -> Result<(), CliError> {
    api.send(Call::api(Method::DELETE, api.path(["scripts", name]))).await.map(drop)
}

fn line(name: &str, dry_run: bool, terminal: &Terminal) -> String {
    let paint = terminal.out_paint();
    let word = if dry_run { "delete   " } else { "deleted  " };
    format!("{}  {}", paint.warning(word), paint.bold(&clean(name)))
}

fn asked(names: &[String], plan: &Plan, api: &Api, terminal: &mut Terminal) -> Result<bool, CliError> {
    let folders: Vec<String> = plan.folders.iter().map(|folder| folder.display().to_string()).collect();
    let question = format!(
        "Delete {} of the app {} with all versions, {} not in {}?",
        names.join(", "),
        api.app(),
        if names.len() == 1 { "which is" } else { "which are" },
        folders.join(", ")
    );
    terminal.ask(&clean(&question))
}
