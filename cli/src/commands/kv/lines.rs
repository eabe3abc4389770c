//! Keys and values as lines of JSON: `export` and `import`.

use std::path::Path;

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use serde_json::value::RawValue;

use crate::client::Api;
use crate::client::api::query;
use crate::client::http::Call;
use crate::commands::request::read_file;
use crate::exit::CliError;
use crate::output::Terminal;

/// The longest file that is taken, in bytes.
const MAX_FILE: usize = 256 << 20;
/// How many keys it takes until a bar shows how far it is.
const MANY: usize = 100;

/// A page of keys, each as the text it came as, so that no number loses digits.
#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// A line of an export. What else there may be, such as the version, is of no use to another app.
#[derive(Deserialize)]
struct Line<'a> {
    key: String,
    #[serde(borrow, default, deserialize_with = "given")]
    value: Option<&'a RawValue>,
    value_base64: Option<String>,
    expires_at: Option<Timestamp>,
}

/// A value that is there, also when it is null.
fn given<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Print every key that starts with `prefix`, one a line.
pub(super) async fn export(prefix: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let prefix = Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty());
    let mut cursor = None;
    loop {
        let parameters =
            [("prefix", prefix.clone()), ("limit", Some("100".to_owned())), ("cursor", cursor.clone())];
        let path = format!("{}{}", api.path(["kv"]), query(&parameters));
        let reply = api.send(Call::api(Method::GET, path)).await?;
        let page: Page = serde_json::from_slice(&reply.body).map_err(|_| {
            let server = api.http().server();
            CliError::Unreachable(format!(
                "what answers at {server} does not seem to be PiCloud: no list of keys"
            ))
        })?;
        for item in &page.items {
            // One line, whatever the server's layout is.
            terminal.line(&item.get().replace(['\n', '\r'], " "))?;
        }
        if page.next_cursor.is_none() || page.next_cursor == cursor {
            return Ok(());
        }
        cursor = page.next_cursor;
    }
}

/// Set the keys of a file. The first that is refused ends it.
pub(super) async fn import(file: &Path, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let text = match file == Path::new("-") {
        true => terminal.read_input(MAX_FILE)?,
        false => read_file(file, MAX_FILE).map_err(CliError::Failed)?,
    };
    let shown = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let progress = terminal.progress(if lines.len() < MANY { 0 } else { lines.len() });
    let (mut set, mut expired) = (0, 0);
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()) {
        progress.set_position(number as u64);
        let wrong =
            |why: &str| CliError::Failed(format!("{shown}: line {}: {why}; {set} keys were set", number + 1));
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| wrong(&error.to_string()))?;
        let ttl_ms = line.expires_at.map(|at| at.as_millisecond() - Timestamp::now().as_millisecond());
        if ttl_ms.is_some_and(|ttl_ms| ttl_ms <= 0) {
            expired += 1;
            continue;
        }
        let (media_type, value) = value(&line).map_err(|why| wrong(&why))?;
        let ttl = query(&[("ttl_ms", ttl_ms.map(|ttl_ms| ttl_ms.to_string()))]);
        let path = format!("{}{ttl}", api.path(["kv", &line.key]));
        match api.send(Call::api(Method::PUT, path).body(media_type, value)).await {
            Err(error @ CliError::Problem(_)) if !error.is_final() => {
                progress.suspend(|| terminal.note(&wrong("the server refuses it").to_string()));
                return Err(error);
            }
            sent => sent?,
        };
        set += 1;
    }
    progress.finish_and_clear();
    if terminal.json_wanted() {
        return terminal.json(&json!({ "set": set, "expired": expired }));
    }
    let left = if expired > 0 { format!(", {expired} had expired") } else { String::new() };
    terminal.line(&format!("{set} keys set{left}"))
}

/// The value of a line and its media type.
fn value(line: &Line<'_>) -> Result<(&'static str, Vec<u8>), String> {
    use base64::Engine as _;
    match (line.value, &line.value_base64) {
        (Some(value), None) => Ok(("application/json", value.get().as_bytes().to_vec())),
        (None, Some(text)) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map(|bytes| ("application/octet-stream", bytes))
            .map_err(|_| "value_base64 is no base64".to_owned()),
        _ => Err("it has to have either value or value_base64".to_owned()),
    }
}
