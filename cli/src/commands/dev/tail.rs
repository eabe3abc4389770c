//! The calls that end while somebody watches: what each logged, and what it cost.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::Api;
use crate::client::api::{page_of, query};
use crate::commands::logs::line;
use crate::commands::{number, text};
use crate::exit::CliError;
use crate::output::diagnostic::Diagnostic;
use crate::output::text::{clean, thousands};
use crate::output::time::{local_ms, rfc3339};
use crate::output::{Paint, Terminal};

/// How long to wait between two looks: there is no request that waits for the next execution.
const PAUSE: Duration = Duration::from_millis(700);
/// The newest calls of each look.
const PAGE: usize = 100;
/// Of so many calls the log is fetched; more at once nobody reads.
const SHOWN: usize = 20;

/// The place where looking has got to.
pub(super) struct Tail {
    since: String,
    /// What was on the last page.
    seen: BTreeSet<String>,
    silent: bool,
}

/// What came since the last look.
#[derive(Default)]
pub(super) struct Calls {
    /// Whole records, the oldest first.
    executions: Vec<Value>,
    /// How many more there were.
    more: usize,
    /// The server has stopped answering, or answers again.
    note: Option<String>,
}

impl Tail {
    /// From now on.
    pub(super) fn start() -> Self {
        Self { since: rfc3339(Timestamp::now()), seen: BTreeSet::new(), silent: false }
    }

    /// Wait for the next calls. Giving up waiting loses nothing.
    pub(super) async fn next(&mut self, api: &Api) -> Calls {
        loop {
            tokio::time::sleep(PAUSE).await;
            match self.look(api).await {
                Ok(mut calls) => {
                    if std::mem::take(&mut self.silent) {
                        calls.note = Some("the server is back".to_owned());
                    }
                    if !calls.executions.is_empty() || calls.note.is_some() {
                        return calls;
                    }
                }
                Err(error) if !self.silent => {
                    self.silent = true;
                    return Calls { note: Some(format!("{error} - trying again")), ..Calls::default() };
                }
                Err(_) => {}
            }
        }
    }

    async fn look(&mut self, api: &Api) -> Result<Calls, CliError> {
        let parameters = [("from", Some(self.since.clone())), ("limit", Some(PAGE.to_string()))];
        let page = api.get(format!("{}{}", api.path(["executions"]), query(&parameters))).await?;
        let (mut items, _) = page_of(page, api.http().server())?;
        items.reverse();
        let new: Vec<&Value> = items.iter().filter(|item| !self.seen.contains(&text(item, "id"))).collect();
        let more = new.len().saturating_sub(SHOWN);
        let mut executions = Vec::new();
        for item in &new[more..] {
            // Lists leave the log out.
            let whole = api.get(api.path(["executions", &text(item, "id")])).await;
            executions.push(whole.unwrap_or_else(|_| (*item).clone()));
        }
        self.seen = items.iter().map(|item| text(item, "id")).collect();
        Ok(Calls { executions, more, note: None })
    }
}

/// Show calls.
pub(super) fn print(calls: &Calls, terminal: &mut Terminal) -> Result<(), CliError> {
    if let Some(note) = &calls.note {
        terminal.note(note);
    }
    if calls.more > 0 {
        terminal.note(&format!("({} more calls: `picloud executions` lists them)", calls.more));
    }
    for execution in &calls.executions {
        if terminal.json_wanted() {
            terminal.json_line(&json!({ "event": "execution", "execution": execution }))?;
        } else {
            let text = lines(execution, terminal.out_paint());
            terminal.line(&text)?;
        }
    }
    Ok(())
}

/// What a call logged, why it failed, and what it cost.
fn lines(execution: &Value, paint: Paint) -> String {
    let name = text(execution, "script");
    let log = execution["log"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines: Vec<String> = log
        .iter()
        .map(|item| {
            let mut item = item.clone();
            item["script"] = name.clone().into();
            line(&item, paint)
        })
        .collect();
    if execution["code"].is_string() {
        let diagnostic = Diagnostic {
            code: text(execution, "code"),
            message: text(execution, "message"),
            position: serde_json::from_value(execution["position"].clone()).ok(),
            ..Diagnostic::default()
        };
        lines.push(diagnostic.in_file(name.clone()).render(paint));
    }
    let status = number(execution, "status");
    let painted = match status {
        ..400 => paint.good(&status.to_string()),
        400..500 => paint.warning(&status.to_string()),
        _ => paint.error(&status.to_string()),
    };
    let us = ["queue_us", "sandbox_us", "commit_us"].iter().map(|part| number(execution, part)).sum::<u64>();
    let request = match text(execution, "method") {
        method if method.is_empty() => format!("by {}", text(execution, "trigger")),
        method => format!("{method} {}", text(execution, "path")),
    };
    lines.push(format!(
        "{}  {painted}  {}  {}  {}.{:02} ms  fuel {}",
        paint.dim(&clean(&local_ms(&execution["started_at"]))),
        paint.bold(&clean(&name)),
        clean(&request),
        us / 1000,
        us % 1000 / 10,
        thousands(number(execution, "fuel")),
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::executions::example;

    #[test]
    fn a_call_is_its_log_its_failure_and_a_line_with_its_cost() {
        let mut execution = example();
        execution["started_at"] = "soon".into();
        execution["log"][0]["at"] = "soon".into();
        assert_eq!(
            lines(&execution, Paint(false)),
            "soon  INFO   hello  hi\n\
             error[script-error]: Function not found: foo\n --> hello:3:5\n\
             soon  500  hello  GET /default/hello  1.30 ms  fuel 69 026"
        );
        let event = json!({ "started_at": "soon", "script": "a", "status": 204, "trigger": "kv", "fuel": 1 });
        assert_eq!(lines(&event, Paint(false)), "soon  204  a  by kv  0.00 ms  fuel 1");
    }
}
