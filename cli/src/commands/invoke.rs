//! `picloud invoke`: calls a script and shows its answer and what it cost.

use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;

use super::answer::{Answer, MAX_ANSWER};
use super::request;
use crate::args::InvokeArgs;
use crate::client::Api;
use crate::client::api::segment;
use crate::client::http::{Call, Http, Reply};
use crate::client::problem::Problem;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::diagnostic::Diagnostic;
use crate::output::text::clean;

/// A little more than the longest deadline that a server can be told to give a call.
const TIMEOUT: Duration = Duration::from_secs(16 * 60);

/// How long to follow an asynchronous call: it may wait behind others.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How often to look again when the server lets go of who follows before the call has ended.
const MAX_LOOKS: usize = 100;

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Call the script.
///
/// # Errors
///
/// The arguments are wrong, the server cannot be reached, or the call failed.
pub async fn run(args: &InvokeArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let mut request = request::build(&args.request, terminal)?;
    if args.respond_async {
        request.headers.append("prefer", HeaderValue::from_static("respond-async"));
    }
    if let Some(key) = &args.idempotency_key {
        request.headers.insert("idempotency-key", quoted(key)?);
    }
    let base = format!("/{}/{}", segment(api.app()), segment(&args.name));
    let call = Call {
        path: request.under(&base),
        method: request.method,
        headers: request.headers,
        body: request.body,
        with_token: args.with_token,
        answer_limit: MAX_ANSWER,
        timeout: TIMEOUT,
    };
    let scripts = api.scripts().await?;
    if args.with_token && !scripts.has_token() && api.http().has_token() {
        return Err(CliError::Usage(format!(
            "scripts are at {}, as the server says; the token is not sent there, since others may get it there who cannot at \
             the API: see public_url in docs/CONFIG.md, or call the script with curl",
            scripts.server()
        )));
    }
    let reply = scripts.send(call).await.map_err(|error| named_by_server(error, scripts, api))?;
    let ran = reply.headers.contains_key("picloud-execution-id");
    if !ran && reply.status.as_u16() >= 400 {
        // No script has run: the server says why, or it is no PiCloud server.
        let error = Problem::of_api(&reply, scripts.server());
        if let CliError::Problem(problem) = &error
            && problem.code.as_deref() == Some("unauthorized")
            && !args.with_token
        {
            let mut diagnostic = Diagnostic::of_problem(problem);
            diagnostic.notes.retain(|(word, _)| *word != "help");
            diagnostic.notes.push(("help", "the script wants to know who calls: --with-token".to_owned()));
            return Err(CliError::Diagnostic(Box::new(diagnostic)));
        }
        if error.is_final() {
            return Err(error);
        }
    }
    match location(&reply) {
        Some(location) if args.wait => {
            let answer = wait(&location, scripts).await?;
            Answer::of(answer).print(&args.name, None, terminal)
        }
        Some(location) => print_location(&reply, &location, scripts, terminal),
        None => Answer::of(reply).print(&args.name, None, terminal),
    }
}

/// An error where it was not --server that was wrong.
fn named_by_server(error: CliError, scripts: &Http, api: &Api) -> CliError {
    match error {
        CliError::Unreachable(why) if scripts.server() != api.http().server() => {
            CliError::Unreachable(format!(
                "{why} (the server at {} says that its scripts are there; its setting public_url may be wrong)",
                api.http().server()
            ))
        }
        other => other,
    }
}

/// A key as a string of Structured Fields (RFC 9651).
fn quoted(key: &str) -> Result<HeaderValue, CliError> {
    let text = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
    HeaderValue::try_from(text)
        .map_err(|_| CliError::Usage(format!("--idempotency-key `{}` cannot stand in a header", clean(key))))
}

/// Where the answer will be, if the server has accepted the call and does not let us wait.
fn location(reply: &Reply) -> Option<String> {
    let header = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
    let accepted =
        reply.status == StatusCode::ACCEPTED && header("preference-applied") == Some("respond-async");
    // A script might answer so, too: no path but that of an execution is asked.
    let location = header("location").filter(|location| location.starts_with("/api/v1/apps/"))?;
    (accepted && location.contains("/executions/")).then(|| location.to_owned())
}

fn print_location(
    reply: &Reply,
    location: &str,
    scripts: &Http,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let id = reply.headers.get("picloud-execution-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let url = scripts.url(location);
    if terminal.json_wanted() {
        return terminal.json(&json!({ "execution_id": id, "state": "queued", "url": url }));
    }
    terminal.note(&format!("accepted  execution {}", clean(id)));
    terminal.line(&clean(&url))
}

/// The answer, when it is there. The key in the address is enough; the token stays here.
async fn wait(location: &str, scripts: &Http) -> Result<Reply, CliError> {
    let get = |path: &str| Call { with_token: false, ..Call::api(Method::GET, path) };
    for _ in 0..MAX_LOOKS {
        // It ends when the call has ended, or with the server.
        let mut follow = get(location);
        follow.headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        let followed = scripts.send(Call { timeout: MAX_WAIT, ..follow }).await?;
        if followed.status != StatusCode::OK {
            return Err(Problem::of_api(&followed, scripts.server()));
        }
        let path = location.replacen('?', "/answer?", 1);
        let answer = scripts.send(Call { answer_limit: MAX_ANSWER, timeout: TIMEOUT, ..get(&path) }).await?;
        let pending =
            Problem::of(&answer).is_some_and(|problem| problem.code.as_deref() == Some("answer-pending"));
        if !pending {
            return Ok(answer);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(CliError::Failed(format!(
        "the call does not end; its answer will be at {}",
        clean(&scripts.url(location))
    )))
}
