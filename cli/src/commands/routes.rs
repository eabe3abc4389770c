//! `picloud routes`: which requests an app takes beside those for its scripts; `picloud access`: who has to be there.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::request::read_data;
use super::{done, text};
use crate::args::{AccessArgs, NewRoute, RoutesArgs, RoutesCommand};
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;

/// No server takes a longer route.
const MAX_ROUTE: usize = 256 << 10;

/// Run one of the commands about routes.
///
/// # Errors
///
/// There is no such route, it is refused, or the server cannot be reached.
pub async fn run(args: &RoutesArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        None | Some(RoutesCommand::List) => list(api, terminal).await,
        Some(RoutesCommand::Show { name }) => terminal.json(&api.get(api.path(["routes", name])).await?),
        Some(RoutesCommand::Set(new)) => set(new, api, terminal).await,
        Some(RoutesCommand::Rm { name }) => {
            api.send(Call::api(Method::DELETE, api.path(["routes", name]))).await?;
            done("deleted", "name", name, terminal)
        }
    }
}

/// Say who has to be there for a script.
///
/// # Errors
///
/// There is no such script, what is wanted is refused, or the server cannot be reached.
pub async fn access(args: &AccessArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let path = api.path(["scripts", &args.script, "access"]);
    let call = Call::json(Method::PUT, path, &access_of(&args.access)?);
    api.send(call).await?;
    done("set", "name", &args.script, terminal)
}

async fn list(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(&api.path(["routes"]), &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["NAME", "METHODS", "HOST", "PATH", "LEADS TO", "ACCESS"]);
    for route in &items {
        let methods = route["methods"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let methods = methods.collect::<Vec<_>>().join(", ");
        let or = |text: String, none: &str| if text.is_empty() { none.to_owned() } else { text };
        table.row(vec![
            text(route, "name"),
            or(methods, "all"),
            or(text(route, "host"), "every"),
            text(route, "path"),
            goal(route),
            or(text(&route["access"], "kind"), "none"),
        ]);
    }
    table.print(&format!("the app {} has no routes", api.app()), terminal)
}

/// What a route leads to, in a few words.
fn goal(route: &Value) -> String {
    if let Some(redirect) = route.get("redirect") {
        return format!("{} {}", redirect["status"], text(redirect, "location"));
    }
    match route.get("answer") {
        Some(answer) => format!("{} always the same", answer["status"]),
        None => format!("script {}", text(route, "script")),
    }
}

async fn set(new: &NewRoute, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let body = match &new.json {
        Some(given) => read_data(given, MAX_ROUTE, terminal)?,
        None => document(new, terminal)?.to_string().into_bytes(),
    };
    let call = Call::api(Method::PUT, api.path(["routes", &new.name])).body("application/json", body);
    let reply = api.send(call).await?;
    done(if reply.status == StatusCode::CREATED { "made" } else { "set" }, "name", &new.name, terminal)
}

/// The route that the flags say.
fn document(new: &NewRoute, terminal: &mut Terminal) -> Result<Value, CliError> {
    let mut route = json!({ "path": new.path });
    if let Some(host) = &new.host {
        route["host"] = json!(host);
    }
    if !new.methods.is_empty() {
        route["methods"] = json!(new.methods);
    }
    if let Some(script) = &new.goal.script {
        route["script"] = json!(script);
    }
    if let Some(location) = &new.goal.redirect {
        route["redirect"] = json!({ "location": location });
    }
    if let Some(answer) = &new.goal.answer {
        let body = read_data(answer, MAX_ROUTE, terminal)?;
        let body =
            String::from_utf8(body).map_err(|_| CliError::Usage("--answer: it is no text".to_owned()))?;
        route["answer"] = json!({ "body": body });
    }
    if let Some(status) = new.status {
        let goal = if new.goal.redirect.is_some() { "redirect" } else { "answer" };
        route[goal]["status"] = json!(status);
    }
    if let Some(access) = &new.access {
        route["access"] = access_of(access)?;
    }
    if !new.cors.is_empty() {
        route["cors"] = json!({ "origins": new.cors });
    }
    Ok(route)
}

/// `none`, `token`, `basic:SECRET` or `hmac:SECRET`.
fn access_of(text: &str) -> Result<Value, CliError> {
    match text.split_once(':') {
        None if matches!(text, "none" | "token") => Ok(json!({ "kind": text })),
        Some((kind @ ("basic" | "hmac"), secret)) if !secret.is_empty() => {
            Ok(json!({ "kind": kind, "secret": secret }))
        }
        _ => Err(CliError::Usage(format!("`{text}` is none of none, token, basic:SECRET and hmac:SECRET"))),
    }
}
