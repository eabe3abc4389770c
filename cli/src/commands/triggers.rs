//! `picloud triggers`: what makes events, and for which script.

use http::Method;
use serde_json::{Map, Value, json};

use super::request::read_data;
use super::{done, text};
use crate::args::{TriggersArgs, TriggersCommand};
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::text::{clean, clean_lines, excerpt};

/// No server takes a longer trigger.
const MAX_TRIGGER: usize = 64 << 10;

/// Members that all triggers have; the rest is what the kind needs.
const COMMON: [&str; 9] =
    ["app", "name", "kind", "script", "attempts", "enabled", "created_at", "updated_at", "next_runs"];

/// Run one of the commands about triggers.
///
/// # Errors
///
/// There is no such trigger, it is refused, or the server cannot be reached.
pub async fn run(args: &TriggersArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        None | Some(TriggersCommand::List) => list(api, terminal).await,
        Some(TriggersCommand::Show { name }) => show(name, api, terminal).await,
        Some(TriggersCommand::Set { name, trigger }) => set(name, trigger, api, terminal).await,
        Some(TriggersCommand::Run { name }) => run_now(name, api, terminal).await,
        Some(TriggersCommand::Rm { name }) => delete(name, api, terminal).await,
    }
}

async fn list(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(&api.path(["triggers"]), &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["NAME", "KIND", "SCRIPT", "ENABLED", "WHAT"]);
    for item in &items {
        let enabled = if item["enabled"] == Value::Bool(true) { "yes" } else { "no" };
        let row =
            [text(item, "name"), text(item, "kind"), text(item, "script"), enabled.to_owned(), what(item)];
        table.row(row.to_vec());
    }
    table.print(&format!("the app {} has no triggers", api.app()), terminal)
}

/// What only its kind has, in short.
fn what(trigger: &Value) -> String {
    let Some(members) = trigger.as_object() else { return String::new() };
    let own = members.iter().filter(|(name, value)| !COMMON.contains(&name.as_str()) && !value.is_null());
    let own: Map<String, Value> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    excerpt(&Value::Object(own).to_string(), 70)
}

async fn show(name: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let trigger = api.get(api.path(["triggers", name])).await?;
    if terminal.json_wanted() {
        return terminal.json(&trigger);
    }
    terminal.line(&clean_lines(&serde_json::to_string_pretty(&trigger).unwrap_or_default()))
}

async fn set(name: &str, trigger: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let body = read_data(trigger, MAX_TRIGGER, terminal)?;
    let call = Call::api(Method::PUT, api.path(["triggers", name])).body("application/json", body);
    let (status, trigger) = api.json(call).await?;
    if terminal.json_wanted() {
        return terminal.json(&trigger);
    }
    let word = if status == http::StatusCode::CREATED { "made" } else { "set" };
    terminal.line(&format!(
        "{word}  {}  {} -> {}",
        clean(name),
        text(&trigger, "kind"),
        text(&trigger, "script")
    ))
}

async fn run_now(name: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    api.send(Call::api(Method::POST, api.path(["triggers", name, "run"]))).await?;
    done("runs", "name", name, terminal)
}

async fn delete(name: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    api.send(Call::api(Method::DELETE, api.path(["triggers", name]))).await?;
    done("deleted", "name", name, terminal)
}
