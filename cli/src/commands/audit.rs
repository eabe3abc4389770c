//! `picloud audit`: who has changed what.

use serde_json::Value;

use super::{moment, text};
use crate::args::AuditArgs;
use crate::client::Api;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::time::{local, rfc3339};

/// Show the audit log, the newest entry first. As JSON there is one document a line, to be kept or searched.
///
/// # Errors
///
/// The token may not see it, or the server cannot be reached.
pub async fn run(args: &AuditArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let parameters = [
        ("app", args.app.clone()),
        ("name", args.by.clone()),
        ("from", moment("--since", args.since.as_deref())?.map(rfc3339)),
        ("to", moment("--until", args.until.as_deref())?.map(rfc3339)),
    ];
    let limit = (!args.all).then_some(args.limit.get() as usize);
    let items = api.list("/api/v1/audit", &parameters, limit).await?;
    if terminal.json_wanted() {
        return items.iter().try_for_each(|entry| terminal.json_line(entry));
    }
    let mut table = Table::new(&["TIME", "WHO", "FROM", "STATUS", "REQUEST"]);
    for entry in &items {
        let status = match (&entry["status"], &entry["code"]) {
            (Value::Null, _) => "not known".to_owned(),
            (status, Value::Null) => status.to_string(),
            (status, _) => format!("{status} {}", text(entry, "code")),
        };
        let who = match &entry["name"] {
            Value::Null => text(entry, "kind"),
            _ => text(entry, "name"),
        };
        let request = format!("{} {}", text(entry, "method"), text(entry, "path"));
        table.row(vec![local(&entry["at"]), who, text(entry, "client_ip"), status, request]);
    }
    table.print("nothing of this kind was changed", terminal)
}
