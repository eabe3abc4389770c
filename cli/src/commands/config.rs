//! `picloud config`: values that are set for the scripts of an app.

use http::{Method, StatusCode};
use serde_json::json;
use serde_json::value::RawValue;

use super::request::read_data;
use super::{done, text};
use crate::args::{ConfigArgs, ConfigCommand};
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::text::{clean_lines, excerpt};

/// No server takes a longer value.
const MAX_VALUE: usize = 64 << 10;

/// Run one of the commands about configuration values.
///
/// # Errors
///
/// There is no such value, it is refused, or the server cannot be reached.
pub async fn run(args: &ConfigArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        None | Some(ConfigCommand::List) => list(api, terminal).await,
        Some(ConfigCommand::Get { name }) => get(name, api, terminal).await,
        Some(ConfigCommand::Set { name, value }) => set(name, value, api, terminal).await,
        Some(ConfigCommand::Rm { name }) => {
            api.send(Call::api(Method::DELETE, api.path(["config", name]))).await?;
            done("deleted", "name", name, terminal)
        }
    }
}

async fn list(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(&api.path(["config"]), &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["NAME", "UPDATED", "VALUE"]);
    for item in &items {
        let updated = crate::output::time::local(&item["updated_at"]);
        table.row(vec![text(item, "name"), updated, excerpt(&item["value"].to_string(), 60)]);
    }
    table.print(&format!("the app {} has no configuration", api.app()), terminal)
}

/// The text itself, so that no number loses digits.
async fn get(name: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let reply = api.send(Call::api(Method::GET, api.path(["config", name]))).await?;
    if terminal.json_wanted() {
        let value: Option<&RawValue> = serde_json::from_slice(&reply.body).ok();
        return terminal.json(&json!({ "name": name, "value": value }));
    }
    terminal.line(&clean_lines(&String::from_utf8_lossy(&reply.body)))
}

async fn set(name: &str, value: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let value = read_data(value, MAX_VALUE, terminal)?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&value).map_err(|error| {
        CliError::Failed(format!("the value is not JSON ({error}); a text needs quotes: '\"hello\"'"))
    })?;
    let call = Call::api(Method::PUT, api.path(["config", name])).body("application/json", value);
    let reply = api.send(call).await?;
    done(if reply.status == StatusCode::CREATED { "made" } else { "set" }, "name", name, terminal)
}
