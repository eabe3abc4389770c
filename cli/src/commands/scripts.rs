//! `picloud scripts`, `rm`, `versions`, `source`, `rollback`: what has been deployed.

use http::Method;
use serde_json::{Value, json};

use super::{done, number, text};
use crate::args::{NameArgs, RollbackArgs, SourceArgs};
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::text::{bytes, clean, clean_lines, thousands};
use crate::output::time::local;

/// List the scripts of the app.
///
/// # Errors
///
/// As [`Api::list`].
pub async fn list(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(&api.path(["scripts"]), &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["NAME", ">VERSION", "UPDATED", ">SOURCE", ">IMAGE", "URL"]);
    let scripts = api.scripts().await?;
    for script in &items {
        table.row(vec![
            text(script, "name"),
            text(script, "version"),
            local(&script["updated_at"]),
            bytes(number(script, "source_bytes")),
            bytes(number(script, "image_bytes")),
            scripts.url(&text(script, "url")),
        ]);
    }
    table.print(&format!("the app {} has no scripts", api.app()), terminal)
}

/// Delete a script.
///
/// # Errors
///
/// There is none of that name, or the server cannot be reached.
pub async fn delete(args: &NameArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    api.send(Call::api(Method::DELETE, api.path(["scripts", &args.name]))).await?;
    done("deleted", "name", &args.name, terminal)
}

/// List the versions of a script.
///
/// # Errors
///
/// There is no such script, or the server cannot be reached.
pub async fn versions(args: &NameArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(&api.path(["scripts", &args.name, "versions"]), &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&[
        ">VERSION",
        "ACTIVE",
        "UPLOADED",
        ">SOURCE",
        ">IMAGE",
        ">LOAD FUEL",
        "HASH",
        "BY",
        "MESSAGE",
    ]);
    for version in &items {
        table.row(vec![
            text(version, "number"),
            called(version),
            local(&version["created_at"]),
            bytes(number(version, "source_bytes")),
            bytes(number(version, "image_bytes")),
            thousands(number(version, "load_fuel")),
            text(version, "source_hash").chars().take(12).collect(),
            text(version, "author"),
            text(version, "message"),
        ]);
    }
    table.print("there are no versions", terminal)
}

/// Print the source of a version as it was uploaded.
///
/// # Errors
///
/// There is no such script or version, or the server cannot be reached.
pub async fn source(args: &SourceArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let version = args.version.map(|version| version.to_string());
    let path = match &version {
        Some(version) => api.path(["scripts", &args.name, "versions", version, "source"]),
        None => api.path(["scripts", &args.name, "source"]),
    };
    let source = api.send(Call::api(Method::GET, path)).await?.body;
    if terminal.json_wanted() {
        let text = String::from_utf8_lossy(&source);
        return terminal.json(&json!({ "name": args.name, "version": args.version, "source": text }));
    }
    if terminal.out_is_terminal() {
        // It must not command the terminal of whoever only looks at it.
        return terminal.line(clean_lines(&String::from_utf8_lossy(&source)).trim_end_matches('\n'));
    }
    terminal.raw(&source)
}

/// Whether a version is called.
fn called(version: &Value) -> String {
    match version["canary_percent"].as_u64() {
        Some(percent) => format!("{percent} %"),
        None if version["active"] == Value::Bool(true) => "active".to_owned(),
        None => String::new(),
    }
}

/// Make an older version the active one.
///
/// # Errors
///
/// There is no such script or version, or the server cannot be reached.
pub async fn rollback(args: &RollbackArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let path = match args.version {
        Some(version) => api.path(["scripts", &args.name, "versions", &version.to_string(), "activate"]),
        None => api.path(["scripts", &args.name, "rollback"]),
    };
    let (_, script) = api.json(Call::api(Method::POST, path)).await?;
    if terminal.json_wanted() {
        return terminal.json(&script);
    }
    terminal.line(&format!("{}  version {} is active", clean(&args.name), number(&script, "version")))
}
