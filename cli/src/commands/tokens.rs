//! `picloud tokens`: what opens the API of a server.

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{done, text};
use crate::args::{NewToken, TokensArgs, TokensCommand};
use crate::client::Api;
use crate::client::api::segment;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::time::{from_now, local, rfc3339};

const TOKENS: &str = "/api/v1/tokens";

/// Run one of the commands about tokens.
///
/// # Errors
///
/// There is no such token, it is refused, or the server cannot be reached.
pub async fn run(args: &TokensArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        None | Some(TokensCommand::List) => list(api, terminal).await,
        Some(TokensCommand::Create(new)) => create(new, api, terminal).await,
        Some(TokensCommand::Rotate { name }) => {
            let path = format!("{TOKENS}/{}/rotate", segment(name));
            show(&api.json(Call::api(Method::POST, path)).await?.1, terminal)
        }
        Some(TokensCommand::Rm { name }) => {
            api.send(Call::api(Method::DELETE, format!("{TOKENS}/{}", segment(name)))).await?;
            done("revoked", "name", name, terminal)
        }
    }
}

async fn list(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(TOKENS, &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["NAME", "BEGINS", "SCOPES", "LAST USED", "EXPIRES"]);
    for token in &items {
        let scopes = token["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let time = |name: &str, none: &str| match &token[name] {
            Value::Null => none.to_owned(),
            at => local(at),
        };
        table.row(vec![
            text(token, "name"),
            text(token, "prefix"),
            scopes.collect::<Vec<_>>().join(", "),
            time("last_used_at", "never"),
            time("expires_at", "never"),
        ]);
    }
    table.print("there are no tokens", terminal)
}

async fn create(new: &NewToken, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let expires = new.expires.as_deref().map(|text| from_now(text, Timestamp::now())).transpose();
    let expires = expires.map_err(|why| CliError::Usage(format!("--expires: {why}")))?;
    let body = json!({ "name": new.name, "scopes": new.scopes, "expires_at": expires.map(rfc3339) });
    let call = Call::json(Method::POST, TOKENS, &body);
    show(&api.json(call).await?.1, terminal)
}

/// A new text, the only time that it is seen.
fn show(token: &Value, terminal: &mut Terminal) -> Result<(), CliError> {
    if terminal.json_wanted() {
        return terminal.json(token);
    }
    terminal.line(&text(token, "token"))?;
    terminal.note(&format!("this is the token {}, shown only once", text(token, "name")));
    Ok(())
}
