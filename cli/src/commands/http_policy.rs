//! `picloud http-policy`: which requests the scripts of an app may send to other servers.

use http::{Method, header};
use serde_json::{Value, json};

use super::request::read_data;
use crate::args::{HttpPolicyArgs, HttpPolicyCommand, HttpRule};
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;

/// No server takes a longer policy.
const MAX_POLICY: usize = 64 << 10;

/// Run one of the commands about the policy.
///
/// # Errors
///
/// The policy is refused, somebody else has changed it meanwhile, or the server cannot be reached.
pub async fn run(args: &HttpPolicyArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let policy = match &args.command {
        None | Some(HttpPolicyCommand::Show) => api.get(path(api)).await?,
        Some(HttpPolicyCommand::Set { policy }) => {
            let body = read_data(policy, MAX_POLICY, terminal)?;
            api.json(Call::api(Method::PUT, path(api)).body("application/json", body)).await?.1
        }
        Some(HttpPolicyCommand::Allow(rule)) => allow(rule, api).await?,
    };
    show(&policy, api, terminal)
}

fn path(api: &Api) -> String {
    api.path(["http-policy"])
}

/// Add a rule to those that there are. What somebody else changes between the two requests is not overwritten.
async fn allow(rule: &HttpRule, api: &Api) -> Result<Value, CliError> {
    let found = api.send(Call::api(Method::GET, path(api))).await?;
    let mut policy = api.document(&found)?;
    let HttpRule { hosts, schemes, ports, methods, private, callbacks } = rule;
    let rule = json!({
        "hosts": hosts, "schemes": schemes, "ports": ports, "methods": methods, "private": private,
        "callbacks": callbacks,
    });
    let rules = policy.get_mut("rules").and_then(Value::as_array_mut);
    let rules = rules.ok_or_else(|| CliError::Failed("the server answered with no policy".to_owned()))?;
    rules.push(rule);
    let mut call = Call::json(Method::PUT, path(api), &policy);
    if let Some(tag) = found.headers.get(header::ETAG) {
        call.headers.insert(header::IF_MATCH, tag.clone());
    }
    Ok(api.json(call).await?.1)
}

fn show(policy: &Value, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    if terminal.json_wanted() {
        return terminal.json(policy);
    }
    let rules = policy["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(&["SCHEMES", "PORTS", "METHODS", "PRIVATE", "CALLBACKS", "HOSTS"]);
    for rule in rules {
        let yes = |name: &str| if rule[name] == Value::Bool(true) { "yes" } else { "no" }.to_owned();
        table.row(vec![
            listed(&rule["schemes"], ""),
            listed(&rule["ports"], "usual"),
            listed(&rule["methods"], "all"),
            yes("private"),
            yes("callbacks"),
            listed(&rule["hosts"], ""),
        ]);
    }
    let nothing = format!("the app {} may send no requests to other servers", api.app());
    table.print(&nothing, terminal)
}

/// The texts and numbers of an array; `none` when there are none.
fn listed(values: &Value, none: &str) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let texts: Vec<String> = values.as_array().into_iter().flatten().map(text).collect();
    if texts.is_empty() { none.to_owned() } else { texts.join(", ") }
}
