//! `picloud secrets`: texts that only the scripts of an app can read.

use std::path::Path;

use http::{Method, StatusCode};
use picloud_host::secret::MAX_SECRET_BYTES;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::request::read_file;
use super::{done, text};
use crate::args::{SecretsArgs, SecretsCommand};
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;

/// Run one of the commands about secrets.
///
/// # Errors
///
/// There is no such secret, its value is refused, or the server cannot be reached.
pub async fn run(args: &SecretsArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        None | Some(SecretsCommand::List) => list(api, terminal).await,
        Some(SecretsCommand::Set { name, file, keep_newline }) => {
            let value = read(file.as_deref(), *keep_newline, terminal)?;
            set(name, &value, api, terminal).await
        }
        Some(SecretsCommand::Rm { name }) => {
            api.send(Call::api(Method::DELETE, api.path(["secrets", name]))).await?;
            done("deleted", "name", name, terminal)
        }
    }
}

async fn list(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(&api.path(["secrets"]), &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["NAME", "UPDATED", "READABLE"]);
    for item in &items {
        let readable = if item["readable"] == Value::Bool(true) {
            "yes"
        } else {
            "no: set it again, the key is another one"
        };
        table.row(vec![
            text(item, "name"),
            crate::output::time::local(&item["updated_at"]),
            readable.to_owned(),
        ]);
    }
    table.print(&format!("the app {} has no secrets", api.app()), terminal)
}

/// The value of a secret, from a file or from standard input.
///
/// # Errors
///
/// It cannot be read, or is longer than a secret can be.
pub(crate) fn read(
    file: Option<&Path>,
    keep_newline: bool,
    terminal: &mut Terminal,
) -> Result<Zeroizing<Vec<u8>>, CliError> {
    // Room for the line break.
    const MOST: usize = MAX_SECRET_BYTES + 2;
    let mut value = Zeroizing::new(match file {
        Some(path) => read_file(path, MOST).map_err(CliError::Failed)?,
        None => terminal.read_input(MOST)?,
    });
    if !keep_newline && value.ends_with(b"\n") {
        value.pop();
        if value.ends_with(b"\r") {
            value.pop();
        }
    }
    Ok(value)
}

async fn set(name: &str, value: &[u8], api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let call = Call::api(Method::PUT, api.path(["secrets", name]));
    let reply = api.send(call.body("text/plain; charset=utf-8", value.to_vec())).await?;
    done(if reply.status == StatusCode::CREATED { "made" } else { "set" }, "name", name, terminal)
}
