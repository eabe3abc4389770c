//! `picloud events`, `queues` and `trace`: what is still to happen, what has failed, and what led to what.

use http::Method;
use serde_json::{Value, json};

use super::request::read_data;
use super::{number, text};
use crate::args::{EventFilter, EventsArgs, EventsCommand, ManyArgs, ManyFilter, SendArgs};
use crate::client::Api;
use crate::client::api::query;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::text::{clean, clean_lines, excerpt, thousands};
use crate::output::time;

/// No server takes more data (the maximum of its limit).
const MAX_DATA: usize = 16 << 20;

/// Run one of the commands about events.
///
/// # Errors
///
/// There is no such event, it is refused, or the server cannot be reached.
pub async fn run(args: &EventsArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        None => list(&args.filter, args.limit.get(), api, terminal).await,
        Some(EventsCommand::Show { id }) => show(id, api, terminal).await,
        Some(EventsCommand::Send(send_args)) => send(send_args, api, terminal).await,
        Some(EventsCommand::Rm { id }) => {
            api.send(Call::api(Method::DELETE, api.path(["events", id]))).await?;
            changed("removed", 1, terminal)
        }
        Some(EventsCommand::Replay(many)) => replay(many, api, terminal).await,
        Some(EventsCommand::Purge { filter }) => {
            let path = format!("{}{}", api.path(["events"]), dead(filter));
            let (_, answer) = api.json(Call::api(Method::DELETE, path)).await?;
            changed("removed", number(&answer, "events"), terminal)
        }
    }
}

async fn list(filter: &EventFilter, limit: u32, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let parameters = [
        ("state", filter.state.clone()),
        ("script", filter.script.clone()),
        ("queue", filter.queue.clone()),
        ("kind", filter.kind.clone()),
        ("root", filter.root.clone()),
    ];
    let items = api.list(&api.path(["events"]), &parameters, Some(limit as usize)).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["DUE", "STATE", "KIND", "SCRIPT", "QUEUE", ">TRIED", "EVENT", "FAILURE"]);
    for item in &items {
        table.row(vec![
            time::local(&item["due_at"]),
            text(item, "state"),
            text(item, "kind"),
            text(item, "script"),
            text(item, "queue"),
            format!("{}/{}", number(item, "attempt"), number(item, "max_attempts")),
            text(item, "id"),
            excerpt(&text(&item["failure"], "message"), 60),
        ]);
    }
    table.print("there are no such events", terminal)
}

async fn show(id: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let event = api.get(api.path(["events", id])).await?;
    if terminal.json_wanted() {
        return terminal.json(&event);
    }
    terminal.line(&clean_lines(&serde_json::to_string_pretty(&event).unwrap_or_default()))
}

async fn send(args: &SendArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let data = read_data(&args.data, MAX_DATA, terminal)?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&data)
        .map_err(|error| CliError::Failed(format!("the data is not JSON ({error})")))?;
    let parameters = [
        ("topic", args.to_topic.clone()),
        ("queue", args.to_queue.clone()),
        ("script", args.to_script.clone()),
        ("delay_ms", args.delay.map(|seconds| seconds.saturating_mul(1000).to_string())),
        ("at", args.at.clone()),
        ("dedupe_key", args.dedupe_key.clone()),
    ];
    let path = format!("{}{}", api.path(["events"]), query(&parameters));
    let (_, answer) = api.json(Call::api(Method::POST, path).body("application/json", data)).await?;
    if terminal.json_wanted() {
        return terminal.json(&answer);
    }
    let ids = answer["ids"].as_array().cloned().unwrap_or_default();
    if ids.is_empty() {
        terminal.note("nobody subscribes to this topic");
    }
    ids.iter().try_for_each(|id| terminal.line(&format!("sent  {}", clean(id.as_str().unwrap_or_default()))))
}

async fn replay(args: &ManyArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let Some(id) = &args.id else {
        let path = format!("{}{}", api.path(["events", "replay"]), dead(&args.filter));
        let (_, answer) = api.json(Call::api(Method::POST, path)).await?;
        return changed("waiting again", number(&answer, "events"), terminal);
    };
    api.send(Call::api(Method::POST, api.path(["events", id, "replay"]))).await?;
    changed("waiting again", 1, terminal)
}

/// The query for dead events.
fn dead(filter: &ManyFilter) -> String {
    let state = Some("dead".to_owned());
    let (script, queue, kind) = (filter.script.clone(), filter.queue.clone(), filter.kind.clone());
    query(&[("state", state), ("script", script), ("queue", queue), ("kind", kind)])
}

fn changed(word: &str, events: u64, terminal: &mut Terminal) -> Result<(), CliError> {
    if terminal.json_wanted() {
        return terminal.json(&json!({ "events": events, "result": word }));
    }
    let noun = if events == 1 { "event" } else { "events" };
    terminal.line(&format!("{} {noun}  {word}", thousands(events)))
}

/// List how much waits, runs and is dead, by queue and by script.
///
/// # Errors
///
/// The server cannot be reached.
pub async fn queues(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let document = api.get(api.path(["queues"])).await?;
    if terminal.json_wanted() {
        return terminal.json(&document);
    }
    let items = document["items"].as_array().cloned().unwrap_or_default();
    let mut table = Table::new(&["QUEUE", "SCRIPT", ">WAITING", ">RUNNING", ">DEAD", "NEXT"]);
    for item in &items {
        let next =
            if item["next_due_at"].is_null() { String::new() } else { time::local(&item["next_due_at"]) };
        table.row(vec![
            queue_or_lane(item),
            text(item, "script"),
            thousands(number(item, "waiting")),
            thousands(number(item, "running")),
            thousands(number(item, "dead")),
            next,
        ]);
    }
    table.print("nothing waits, nothing runs, nothing is dead", terminal)
}

/// Show what an execution has led to, as a tree.
///
/// # Errors
///
/// There is no such trace, or the server cannot be reached.
pub async fn trace(root: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let trace = api.get(api.path(["traces", root])).await?;
    if terminal.json_wanted() {
        return terminal.json(&trace);
    }
    let mut lines = Vec::new();
    branches(&trace["roots"], "", &mut lines);
    lines.iter().try_for_each(|line| terminal.line(&clean(line)))?;
    if trace["truncated"] == Value::Bool(true) {
        terminal.note("there is more than is shown");
    }
    Ok(())
}

/// One line for each node, with its children below it.
fn branches(nodes: &Value, indent: &str, lines: &mut Vec<String>) {
    let nodes = nodes.as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, node) in nodes.iter().enumerate() {
        let last = at + 1 == nodes.len();
        let is_root = indent.is_empty();
        let branch = if is_root {
            ""
        } else if last {
            "└─ "
        } else {
            "├─ "
        };
        lines.push(format!("{}{branch}{}", indent.strip_prefix(' ').unwrap_or(indent), label(node)));
        let below = format!(
            "{indent}{}",
            if is_root {
                " "
            } else if last {
                "   "
            } else {
                "│  "
            }
        );
        branches(&node["children"], &below, lines);
    }
}

fn label(node: &Value) -> String {
    let execution = &node["execution"];
    if execution.is_null() {
        let event = &node["event"];
        let why = excerpt(&text(&event["failure"], "message"), 60);
        return format!(
            "{}  {} by {}  {why}",
            text(event, "script"),
            text(event, "state"),
            text(event, "kind")
        );
    }
    let failure = match text(execution, "code") {
        code if code.is_empty() => String::new(),
        code => format!("  {code}: {}", excerpt(&text(execution, "message"), 60)),
    };
    format!(
        "{}  {} by {}  {} fuel{failure}",
        text(execution, "script"),
        number(execution, "status"),
        text(execution, "trigger"),
        thousands(number(execution, "fuel")),
    )
}

/// Where events wait that go to no script: to the broker, or to a host.
fn queue_or_lane(item: &Value) -> String {
    match item["queue"].is_null() && item["script"].is_null() {
        true => text(item, "lane"),
        false => text(item, "queue"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_drawn_as_a_tree() {
        let run = |script: &str, children: Value| {
            let execution =
                json!({"script": script, "status": 204, "trigger": "kv", "fuel": 1000, "code": null});
            json!({"execution": execution, "children": children})
        };
        let waits = json!({"event": {"script": "d", "state": "waiting", "kind": "timer"}, "children": []});
        let roots = json!([run("a", json!([run("b", json!([run("c", json!([]))])), waits]))]);
        let mut lines = Vec::new();
        branches(&roots, "", &mut lines);
        let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
        assert_eq!(
            lines,
            [
                "a  204 by kv  1 000 fuel",
                "├─ b  204 by kv  1 000 fuel",
                "│  └─ c  204 by kv  1 000 fuel",
                "└─ d  waiting by timer",
            ]
        );
    }
}
