//! `picloud canary`: some of the calls of a script go to a new version.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{done, number, text};
use crate::args::{CanaryArgs, CanaryCommand, NewCanary};
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::text::{clean, thousands};
use crate::output::time::local;

/// Run one of the commands about canaries.
///
/// # Errors
///
/// There is no such script, version or canary, it is refused, or the server cannot be reached.
pub async fn run(args: &CanaryArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        CanaryCommand::Show { name } => show(&api.get(path(name, api)).await?, terminal),
        CanaryCommand::Start(new) => start(new, api, terminal).await,
        CanaryCommand::Promote { name } => promote(name, api, terminal).await,
        CanaryCommand::Stop { name } => {
            api.send(Call::api(Method::DELETE, path(name, api))).await?;
            done("stopped", "name", name, terminal)
        }
    }
}

fn path(script: &str, api: &Api) -> String {
    api.path(["scripts", script, "canary"])
}

/// Send a canary. Also for `picloud deploy`.
pub(super) async fn put(script: &str, body: &Value, api: &Api) -> Result<(StatusCode, Value), CliError> {
    let call = Call::json(Method::PUT, path(script, api), body);
    api.json(call).await
}

/// Change how many calls go to the canary that runs, if it has this source: deploying the same file twice makes no second
/// version, and what was counted goes on to count.
pub(super) async fn again(
    script: &str,
    source_hash: &str,
    percent: u8,
    api: &Api,
) -> Result<Option<Value>, CliError> {
    let canary = match api.get(path(script, api)).await {
        Ok(canary) if text(&canary, "state") == "running" => canary,
        Ok(_) => return Ok(None),
        Err(CliError::Problem(problem)) if problem.code.as_deref() == Some("canary-not-found") => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let version = text(&canary, "version");
    let running = api.get(api.path(["scripts", script, "versions", &version])).await?;
    if text(&running, "source_hash") != source_hash {
        return Ok(None);
    }
    let rules = ["version", "min_calls", "max_faults_percent", "max_fuel_percent"];
    let mut body: serde_json::Map<_, _> =
        rules.iter().map(|rule| ((*rule).to_owned(), canary[*rule].clone())).collect();
    body.insert("percent".to_owned(), json!(percent));
    Ok(Some(put(script, &Value::Object(body), api).await?.1))
}

async fn start(new: &NewCanary, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let mut body = json!({ "version": new.version, "percent": new.percent });
    if let Some(calls) = new.min_calls {
        body["min_calls"] = json!(calls);
    }
    if let Some(most) = new.max_faults_percent {
        body["max_faults_percent"] = json!(most);
    }
    if let Some(most) = new.max_fuel_percent {
        body["max_fuel_percent"] = json!(most.0);
    }
    let (status, canary) = put(&new.name, &body, api).await?;
    if terminal.json_wanted() {
        return terminal.json(&canary);
    }
    let word = if status == StatusCode::CREATED { "started" } else { "changed" };
    let (version, percent) = (number(&canary, "version"), number(&canary, "percent"));
    terminal.line(&format!("{word}  {}  {percent} % of the calls go to version {version}", clean(&new.name)))
}

/// Activate the version that is the canary now; that ends it.
async fn promote(script: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let canary = api.get(path(script, api)).await?;
    if text(&canary, "state") != "running" {
        let state = clean(&text(&canary, "state"));
        return Err(CliError::Failed(format!("the canary of {} does not run: {state}", clean(script))));
    }
    let version = number(&canary, "version");
    let path = api.path(["scripts", script, "versions", &version.to_string(), "activate"]);
    let (_, script) = api.json(Call::api(Method::POST, path)).await?;
    if terminal.json_wanted() {
        return terminal.json(&script);
    }
    terminal.line(&format!("promoted  {}  version {version} is active", clean(&text(&script, "name"))))
}

fn show(canary: &Value, terminal: &mut Terminal) -> Result<(), CliError> {
    if terminal.json_wanted() {
        return terminal.json(canary);
    }
    let mut table = Table::new(&[">VERSION", "", ">CALLS", ">FAILED", ">TYPICAL FUEL"]);
    for (version, what, calls) in
        [("active_version", "compared with", "active_calls"), ("version", "canary", "canary_calls")]
    {
        let calls = &canary[calls];
        let shown = |name: &str| calls[name].as_u64().map(thousands).unwrap_or_default();
        table.row(vec![
            text(canary, version),
            what.to_owned(),
            shown("calls"),
            shown("failed"),
            shown("typical_fuel"),
        ]);
    }
    terminal.line(&table.render(terminal.out_paint()))?;
    terminal.note(&told(canary));
    Ok(())
}

/// What has become of it, in a sentence.
fn told(canary: &Value) -> String {
    let ended = || local(&canary["ended_at"]);
    match &*text(canary, "state") {
        "running" => {
            let fuel = match canary["max_fuel_percent"].as_f64() {
                Some(most) => format!(", or a typical one takes {most} % more fuel"),
                None => String::new(),
            };
            format!(
                "{} % of the calls go to it since {}; none any more once {} percentage points more of its calls fail{fuel}",
                number(canary, "percent"),
                local(&canary["started_at"]),
                text(canary, "max_faults_percent"),
            )
        }
        "rolled-back" if text(canary, "reason") == "fuel" => {
            format!("rolled back at {}: its calls took too much more fuel", ended())
        }
        "rolled-back" => format!("rolled back at {}: too many more of its calls failed", ended()),
        state => format!("{} at {}", clean(state), ended()),
    }
}
