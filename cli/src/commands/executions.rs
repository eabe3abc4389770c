//! `picloud executions`: which calls there were, what they cost, why they failed, and how far asynchronous ones are.

use http::Method;
use serde_json::{Value, json};

use super::answer::{Answer, MAX_ANSWER};
use super::logs::line;
use super::{done, moment, number, text};
use crate::args::{ExecutionsArgs, ExecutionsCommand};
use crate::client::Api;
use crate::client::http::Call;
use crate::client::problem::Problem;
use crate::exit::CliError;
use crate::output::diagnostic::Diagnostic;
use crate::output::table::Table;
use crate::output::text::{bytes, clean, milliseconds, thousands};
use crate::output::{Terminal, time};

/// List executions, show one, print its answer or cancel it.
///
/// # Errors
///
/// The arguments are wrong, there is no such execution, or the server cannot be reached.
pub async fn run(args: &ExecutionsArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        Some(ExecutionsCommand::Show { id }) => show(id, api, terminal).await,
        Some(ExecutionsCommand::Answer { id }) => answer(id, api, terminal).await,
        Some(ExecutionsCommand::Cancel { id }) => cancel(id, api, terminal).await,
        None => list(args, api, terminal).await,
    }
}

async fn list(args: &ExecutionsArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let parameters = [
        ("script", args.name.clone()),
        ("version", args.version.map(|version| version.to_string())),
        ("status", args.status.clone()),
        ("fault", args.fault.clone()),
        ("code", args.code.clone()),
        ("trigger", args.trigger.clone()),
        ("root", args.root.clone()),
        ("from", moment("--since", args.since.as_deref())?.map(time::rfc3339)),
        ("to", moment("--until", args.until.as_deref())?.map(time::rfc3339)),
        // What the server does anyway need not be said.
        ("order", Some(args.order.clone()).filter(|order| order != "desc")),
    ];
    let items = api.list(&api.path(["executions"]), &parameters, Some(args.limit.get() as usize)).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&[
        "STARTED",
        "SCRIPT",
        ">VERSION",
        ">STATUS",
        ">FUEL",
        ">MEMORY",
        ">TIME",
        "EXECUTION",
        "ERROR",
    ]);
    for item in &items {
        table.row(vec![
            time::local_ms(&item["started_at"]),
            text(item, "script"),
            text(item, "version"),
            text(item, "status"),
            thousands(number(item, "fuel")),
            bytes(number(item, "memory_bytes")),
            milliseconds(number(item, "queue_us") + number(item, "sandbox_us") + number(item, "commit_us")),
            text(item, "id"),
            text(item, "code"),
        ]);
    }
    table.print("there are no such executions", terminal)
}

async fn cancel(id: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    api.send(Call::api(Method::DELETE, api.path(["executions", id]))).await?;
    done("cancelled", "id", id, terminal)
}

async fn answer(id: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let path = api.path(["executions", id, "answer"]);
    let call = Call { answer_limit: MAX_ANSWER, ..Call::api(Method::GET, path) };
    let reply = api.http().send(call).await?;
    if reply.headers.contains_key("picloud-execution-id") {
        return Answer::of(reply).print(id, None, terminal);
    }
    // No script says this, but the server.
    Err(Problem::of_api(&reply, api.http().server()))
}

/// What there is to say about a call that has no record yet.
fn show_progress(call: &Value, terminal: &mut Terminal) -> Result<(), CliError> {
    let facts = [
        ("execution", text(call, "id")),
        ("script", text(call, "script")),
        ("accepted", time::local_ms(&call["accepted_at"])),
        ("state", text(call, "state")),
        ("attempt", text(call, "attempt")),
        ("status", text(call, "status")),
    ];
    facts_of(&facts, terminal)
}

/// A line for each fact that there is.
fn facts_of(facts: &[(&str, String)], terminal: &mut Terminal) -> Result<(), CliError> {
    let paint = terminal.out_paint();
    let shown = facts.iter().filter(|(_, fact)| !fact.is_empty());
    let lines: Vec<String> =
        shown.map(|(word, fact)| format!("{}  {}", paint.dim(&format!("{word:<10}")), clean(fact))).collect();
    terminal.line(&lines.join("\n"))
}

async fn show(id: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let execution = api.get(api.path(["executions", id])).await?;
    if terminal.json_wanted() {
        return terminal.json(&execution);
    }
    if execution["fuel"].is_null() {
        return show_progress(&execution, terminal);
    }
    let us = |name: &str| milliseconds(number(&execution, name));
    let times = format!("queue {}, sandbox {}, commit {}", us("queue_us"), us("sandbox_us"), us("commit_us"));
    let request = format!("{} {}", text(&execution, "method"), text(&execution, "path"));
    let facts = [
        ("execution", text(&execution, "id")),
        ("root", text(&execution, "root_id")),
        ("script", format!("{} version {}", text(&execution, "script"), text(&execution, "version"))),
        ("started", time::local_ms(&execution["started_at"])),
        ("trigger", text(&execution, "trigger")),
        ("request", request.trim().to_owned()),
        ("request id", text(&execution, "request_id")),
        ("status", text(&execution, "status")),
        ("fault", text(&execution, "fault")),
        ("fuel", thousands(number(&execution, "fuel"))),
        ("memory", bytes(number(&execution, "memory_bytes"))),
        ("time", times),
        ("re-runs", Some(text(&execution, "reruns")).filter(|reruns| reruns != "0").unwrap_or_default()),
    ];
    facts_of(&facts, terminal)?;
    let paint = terminal.out_paint();
    let mut lines = Vec::new();
    if execution["code"].is_string() {
        let diagnostic = Diagnostic {
            code: text(&execution, "code"),
            message: text(&execution, "message"),
            position: serde_json::from_value(execution["position"].clone()).ok(),
            notes: vec![("read", format!("picloud explain {}", text(&execution, "code")))],
            ..Diagnostic::default()
        };
        lines.push(String::new());
        lines.push(diagnostic.in_file(text(&execution, "script")).render(paint));
    }
    let log = execution["log"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !log.is_empty() {
        lines.push(String::new());
        lines.extend(log.iter().map(|item| line(item, paint)));
    }
    let dropped = number(&execution, "log_dropped");
    if dropped > 0 {
        lines.push(format!("({dropped} log lines were over the limit and are lost)"));
    }
    if lines.is_empty() { Ok(()) } else { terminal.line(&lines.join("\n")) }
}

/// An execution as the API gives it.
#[cfg(test)]
pub(super) fn example() -> serde_json::Value {
    json!({
        "id": "0192-1", "root_id": "0192-1", "trigger_depth": 0, "script": "hello", "version": 3,
        "trigger": "http", "started_at": "2026-01-31T12:00:00.5Z", "status": 500, "fault": "script",
        "code": "script-error", "message": "Function not found: foo", "position": {"line": 3, "column": 5},
        "fuel": 69026, "memory_bytes": 1_310_720, "queue_us": 10, "sandbox_us": 1290, "commit_us": 0, "reruns": 0,
        "method": "GET", "path": "/default/hello", "request_id": "r-1",
        "log": [{"at": "2026-01-31T12:00:00.501Z", "level": "info", "message": "hi"}], "log_dropped": 2
    })
}
