//! `picloud apps`: what owns scripts, keys and quotas.

use http::{Method, header};
use serde_json::{Map, Value, json};

use super::{archive, done, text};
use crate::args::{AppSettings, AppsArgs, AppsCommand};
use crate::client::Api;
use crate::client::api::{query, segment};
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::time::local;

/// Run one of the commands about apps.
///
/// # Errors
///
/// There is no such app, its settings or its archive are refused, or the server cannot be reached.
pub async fn run(args: &AppsArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        None | Some(AppsCommand::List) => list(api, terminal).await,
        Some(AppsCommand::Show { name }) => show(&api.get(path(name)).await?, terminal),
        Some(AppsCommand::Create(settings)) => create(settings, api, terminal).await,
        Some(AppsCommand::Set(settings)) => set(settings, api, terminal).await,
        Some(AppsCommand::Export { name, file }) => {
            archive::export(name, file.as_deref(), api, terminal).await
        }
        Some(AppsCommand::Import { file, name }) => {
            archive::import(file, name.as_deref(), api, terminal).await
        }
        Some(AppsCommand::Rm { name, confirm }) => {
            if name != confirm {
                return Err(CliError::Usage(format!("--confirm has to name the app once more: {name}")));
            }
            let path = format!("{}{}", path(name), query(&[("confirm", Some(confirm.clone()))]));
            api.send(Call::api(Method::DELETE, path)).await?;
            done("deleted", "name", name, terminal)
        }
    }
}

pub(super) fn path(name: &str) -> String {
    format!("/api/v1/apps/{}", segment(name))
}

async fn list(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list("/api/v1/apps", &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["NAME", "CREATED", "OWN LIMITS AND QUOTAS", "DESCRIPTION"]);
    for app in &items {
        let own = own(&app["limits"]).into_iter().chain(own(&app["quotas"])).collect::<Vec<_>>().join(", ");
        table.row(vec![text(app, "name"), local(&app["created_at"]), own, text(app, "description")]);
    }
    table.print("there are no apps that this token may read", terminal)
}

/// `fuel=1000` for each that was chosen.
fn own(values: &Value) -> Vec<String> {
    values.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect()
}

fn show(app: &Value, terminal: &mut Terminal) -> Result<(), CliError> {
    if terminal.json_wanted() {
        return terminal.json(app);
    }
    for (title, value) in [
        ("name", text(app, "name")),
        ("description", text(app, "description")),
        ("created", local(&app["created_at"])),
        ("configured", local(&app["updated_at"])),
    ] {
        terminal.line(&format!("{title:<12} {}", crate::output::text::clean(&value)))?;
    }
    for (title, effective, own) in
        [("LIMIT", "effective_limits", "limits"), ("QUOTA", "effective_quotas", "quotas")]
    {
        terminal.line("")?;
        let mut table = Table::new(&[title, "VALUE", ""]);
        for (name, value) in app[effective].as_object().into_iter().flatten() {
            let whose = if app[own].get(name).is_some() { "its own" } else { "" };
            table.row(vec![name.clone(), value.to_string(), whose.to_owned()]);
        }
        table.print("", terminal)?;
    }
    Ok(())
}

async fn create(settings: &AppSettings, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let body = changed(&json!({}), settings);
    let mut call = Call::json(Method::PUT, path(&settings.name), &body);
    call.headers.insert(header::IF_NONE_MATCH, http::HeaderValue::from_static("*"));
    api.send(call).await.map_err(|error| match error {
        CliError::Problem(problem) if problem.status == 412 => CliError::Failed(format!(
            "there is an app {} already; `picloud apps set` changes it",
            settings.name
        )),
        other => other,
    })?;
    done("made", "name", &settings.name, terminal)
}

/// Change what is named. What somebody else changes between the two requests is not overwritten.
async fn set(settings: &AppSettings, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let found = api.send(Call::api(Method::GET, path(&settings.name))).await?;
    let body = changed(&api.document(&found)?, settings);
    let mut call = Call::json(Method::PUT, path(&settings.name), &body);
    if let Some(tag) = found.headers.get(header::ETAG) {
        call.headers.insert(header::IF_MATCH, tag.clone());
    }
    api.send(call).await?;
    done("set", "name", &settings.name, terminal)
}

/// The settings of an app with those that were given.
fn changed(app: &Value, settings: &AppSettings) -> Value {
    let description = settings.description.clone().unwrap_or_else(|| text(app, "description"));
    let with = |name: &str, given: &[(String, Option<u64>)]| {
        let mut values = app[name].as_object().cloned().unwrap_or_else(Map::new);
        for (name, value) in given {
            match value {
                Some(value) => drop(values.insert(name.clone(), json!(value))),
                None => drop(values.remove(name)),
            }
        }
        values
    };
    let (limits, quotas) = (with("limits", &settings.limits), with("quotas", &settings.quotas));
    json!({ "description": description, "limits": limits, "quotas": quotas })
}
