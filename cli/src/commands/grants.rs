//! `picloud grants`: which directories of the server scripts may use.

use serde_json::{Value, json};

use super::text;
use crate::client::Api;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;

/// List the grants of the app.
///
/// # Errors
///
/// As [`Api::list`].
pub async fn list(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(&api.path(["grants"]), &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["NAME", "ACCESS"]);
    for grant in &items {
        let access = if grant["writable"] == Value::Bool(true) { "read and write" } else { "read" };
        table.row(vec![text(grant, "name"), access.to_owned()]);
    }
    table.print(&format!("the app {} may use no directories", api.app()), terminal)
}
