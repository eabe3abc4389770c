//! `picloud logs`: what scripts have logged, and what they log from now on.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use super::{moment, text};
use crate::args::{LogsArgs, MAX_LOG_LINES};
use crate::client::Api;
use crate::client::api::{page_of, query};
use crate::client::http::Call;
use crate::exit::{CliError, Exit};
use crate::output::text::{clean, clean_lines};
use crate::output::{Paint, Terminal, time};

/// How many lines to show when nothing is said about it.
const DEFAULT_LINES: u32 = 100;

/// How long the server may hold a request until there is a line.
const WAIT: Duration = Duration::from_secs(25);

/// How long to go on trying when the server is gone while following: time enough for it to be restarted.
const PATIENCE: Duration = Duration::from_secs(60);

/// Show the newest lines, and follow if asked to.
///
/// # Errors
///
/// The arguments are wrong or the server cannot be reached. Following ends with an error only.
pub async fn run(args: &LogsArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let mut cursor = show_newest(args, api, terminal).await?;
    if !args.follow {
        return Ok(());
    }
    let mut gone: Option<Instant> = None;
    loop {
        let started = Instant::now();
        let wait = api.http().patience().map_or(WAIT, |timeout| WAIT.min(timeout / 2));
        let parameters = [
            ("after", cursor.clone()),
            ("limit", Some(MAX_LOG_LINES.to_string())),
            ("wait_ms", Some(wait.as_millis().to_string())),
        ];
        match fetch(args, api, &parameters).await {
            Ok((items, next)) => {
                if gone.take().is_some() {
                    terminal.note("the server is back");
                }
                print(items.iter(), terminal)?;
                cursor = next.or(cursor);
                // A server that does not wait must not be asked all the time.
                if items.is_empty() && started.elapsed() < Duration::from_millis(200) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            Err(error) if may_pass(&error) && gone.is_none_or(|since| since.elapsed() < PATIENCE) => {
                if gone.is_none() {
                    gone = Some(Instant::now());
                    terminal.note(&format!("{} - trying again for {} s", error, PATIENCE.as_secs()));
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Show the newest lines, and give the place after them.
async fn show_newest(
    args: &LogsArgs,
    api: &Api,
    terminal: &mut Terminal,
) -> Result<Option<String>, CliError> {
    let Some(since) = moment("--since", args.since.as_deref())? else {
        let limit = args.limit.unwrap_or(DEFAULT_LINES).to_string();
        let (items, cursor) = fetch(args, api, &[("limit", Some(limit))]).await?;
        print(items.iter(), terminal)?;
        return Ok(cursor);
    };
    // The server does not choose by time, so it is asked for as many as it gives, and the choice is made here.
    let (mut items, cursor) = fetch(args, api, &[("limit", Some(MAX_LOG_LINES.to_string()))]).await?;
    let found = items.len();
    items.retain(|item| time::timestamp(&item["at"]).is_none_or(|at| at >= since));
    let wanted = args.limit.unwrap_or(MAX_LOG_LINES) as usize;
    if items.len() == found && (MAX_LOG_LINES as usize..=wanted).contains(&found) {
        terminal.note(&format!(
            "there may be more lines since then: these are the newest {found}, and the server gives no more"
        ));
    }
    print(items.iter().skip(items.len().saturating_sub(wanted)), terminal)?;
    Ok(cursor)
}

/// Whether the same request may work in a moment: the server restarts or is busy, but did not refuse.
fn may_pass(error: &CliError) -> bool {
    match error {
        CliError::Problem(problem) => matches!(problem.status, 429 | 503),
        error => error.exit() == Exit::Unreachable,
    }
}

async fn fetch(
    args: &LogsArgs,
    api: &Api,
    more: &[(&str, Option<String>)],
) -> Result<(Vec<Value>, Option<String>), CliError> {
    let mut parameters = vec![("script", args.name.clone()), ("level", args.level.clone())];
    parameters.extend_from_slice(more);
    let call = Call::api(Method::GET, format!("{}{}", api.path(["logs"]), query(&parameters)));
    page_of(api.json(call).await?.1, api.http().server())
}

fn print<'a>(items: impl Iterator<Item = &'a Value>, terminal: &mut Terminal) -> Result<(), CliError> {
    for item in items {
        if terminal.json_wanted() {
            terminal.json_line(item)?;
        } else {
            let line = line(item, terminal.out_paint());
            terminal.line(&line)?;
        }
    }
    Ok(())
}

/// A line for people. Its further lines are indented, so that no script can make up a line of another.
pub(super) fn line(item: &Value, paint: Paint) -> String {
    let level = text(item, "level");
    let word = format!("{:<5}", clean(&level).to_uppercase());
    let word = match level.as_str() {
        "error" => paint.error(&word),
        "warn" => paint.warning(&word),
        "debug" => paint.dim(&word),
        _ => word,
    };
    let mut said = clean_lines(text(item, "message").trim_end()).replace('\n', "\n    ");
    if let Some(code) = item["code"].as_str() {
        said = format!("{}: {said}", clean(code));
    }
    let script = match item["position"]["line"].as_u64() {
        Some(line) => format!("{}:{line}", text(item, "script")),
        None => text(item, "script"),
    };
    let script = if script.is_empty() { script } else { format!("{}  ", paint.bold(&clean(&script))) };
    format!("{}  {word}  {script}{said}", paint.dim(&clean(&time::local_ms(&item["at"]))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_script_can_forge_a_line() {
        let item = json!({
            "at": "soon", "level": "warn", "script": "a", "message": "one\nsoon  ERROR  b  two\r\u{1b}[2J\n"
        });
        assert_eq!(line(&item, Paint(false)), "soon  WARN   a  one\n    soon  ERROR  b  two\\r\\u{1b}[2J");
    }

    #[test]
    fn a_failure_shows_its_code_and_line() {
        let item = json!({
            "at": "soon", "level": "error", "script": "a", "message": "no such thing", "code": "script-error",
            "position": {"line": 3, "column": 1}
        });
        assert_eq!(line(&item, Paint(false)), "soon  ERROR  a:3  script-error: no such thing");
        assert_eq!(line(&json!({}), Paint(false)), "null         ");
    }
}
