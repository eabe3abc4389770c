//! `picloud kv`: the keys and values of an app.

mod lines;

use http::{Method, header};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::request::read_data;
use super::{done, text};
use crate::args::{KvArgs, KvCommand, KvList, KvSet};
use crate::client::Api;
use crate::client::api::query;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::text::{clean_lines, excerpt};

/// No server takes a longer value (the maximum of its limit).
const MAX_VALUE: usize = 16 << 20;

/// A key with its value, as in the lists of the API.
#[derive(Serialize)]
struct Entry<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    expires_at: Option<&'a str>,
}

/// Run one of the commands about keys and values.
///
/// # Errors
///
/// There is no such key, the value is refused, or the server cannot be reached.
pub async fn run(args: &KvArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    if let KvCommand::Get { key } | KvCommand::Set(KvSet { key, .. }) | KvCommand::Rm { key } = &args.command
        && key.is_empty()
    {
        return Err(CliError::Usage("no key is empty".to_owned()));
    }
    match &args.command {
        KvCommand::Get { key } => get(key, api, terminal).await,
        KvCommand::Set(args) => set(args, api, terminal).await,
        KvCommand::List(args) => list(args, api, terminal).await,
        KvCommand::Export { prefix } => lines::export(prefix, api, terminal).await,
        KvCommand::Import { file } => lines::import(file, api, terminal).await,
        KvCommand::Rm { key } => delete(key, api, terminal).await,
    }
}

/// The value as it is: JSON text or bytes.
async fn get(key: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let reply = api.send(Call::api(Method::GET, api.path(["kv", key]))).await?;
    let media_type =
        reply.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json = media_type.starts_with("application/json");
    if terminal.json_wanted() {
        let expires_at = reply.headers.get("picloud-expires-at").and_then(|value| value.to_str().ok());
        // The text itself, so that no number loses digits.
        let value: Option<&RawValue> = serde_json::from_slice(&reply.body).ok().filter(|_| is_json);
        let value_base64 = if value.is_none() { Some(super::answer::base64(&reply.body)) } else { None };
        return terminal.json(&Entry { key, value, value_base64, expires_at });
    }
    if is_json {
        return terminal.line(&clean_lines(&String::from_utf8_lossy(&reply.body)));
    }
    if terminal.out_is_terminal() {
        terminal.note(&format!(
            "({} bytes that are no JSON; redirect standard output to get them)",
            reply.body.len()
        ));
        return Ok(());
    }
    terminal.raw(&reply.body)
}

async fn set(args: &KvSet, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let value = read_data(&args.value, MAX_VALUE, terminal)?;
    let (media_type, value) = if args.blob {
        ("application/octet-stream", value)
    } else if args.text {
        let text = String::from_utf8(value)
            .map_err(|_| CliError::Failed("the value is not UTF-8; --blob stores bytes".into()))?;
        ("application/json", json!(text).to_string().into_bytes())
    } else {
        serde_json::from_slice::<serde::de::IgnoredAny>(&value).map_err(|error| {
            CliError::Failed(format!("the value is not JSON ({error}); --text stores text, --blob bytes"))
        })?;
        ("application/json", value)
    };
    let ttl = args.ttl.map(|seconds| seconds.saturating_mul(1000).to_string());
    let path = format!("{}{}", api.path(["kv", &args.key]), query(&[("ttl_ms", ttl)]));
    api.send(Call::api(Method::PUT, path).body(media_type, value)).await?;
    done("set", "key", &args.key, terminal)
}

async fn delete(key: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    api.send(Call::api(Method::DELETE, api.path(["kv", key]))).await?;
    done("deleted", "key", key, terminal)
}

async fn list(args: &KvList, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let prefix = Some(args.prefix.clone()).filter(|prefix| !prefix.is_empty());
    let limit = if args.all { usize::MAX } else { args.limit.get() as usize };
    let items = api.list(&api.path(["kv"]), &[("prefix", prefix)], Some(limit)).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["KEY", "EXPIRES", "VALUE"]);
    for item in &items {
        let expires = if item["expires_at"].is_null() {
            String::new()
        } else {
            crate::output::time::local(&item["expires_at"])
        };
        table.row(vec![text(item, "key"), expires, value_of(item)]);
    }
    table.print("there are no such keys", terminal)?;
    if !args.all && items.len() == limit {
        terminal.note(&format!("(the first {limit}; there may be more: --all shows all of them)"));
    }
    Ok(())
}

/// The start of a value, in one line.
fn value_of(item: &Value) -> String {
    match item.get("value") {
        Some(value) => excerpt(&value.to_string(), 60),
        // Four characters for three bytes.
        None => {
            let encoded = text(item, "value_base64");
            format!("({} bytes)", encoded.trim_end_matches('=').len() * 3 / 4)
        }
    }
}
