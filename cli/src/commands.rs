//! The commands that talk to a server, one file for each noun.

pub mod answer;
pub mod apps;
pub mod archive;
pub mod audit;
pub mod backup;
pub mod canary;
pub mod config;
pub mod deploy;
pub mod dev;
pub mod events;
pub mod executions;
pub mod grants;
pub mod http_policy;
pub mod invoke;
pub mod kv;
pub mod logs;
pub mod metrics;
pub mod request;
pub mod routes;
pub mod scripts;
pub mod secrets;
pub mod session;
#[cfg(test)]
pub(crate) mod tests;
pub mod tokens;
pub mod top;
pub mod triggers;
pub mod users;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{AppOnly, ClientCommand, Global};
use crate::client::{Api, ClientSettings};
use crate::env::Env;
use crate::exit::CliError;
use crate::output::text::clean;
use crate::output::{Terminal, time};

/// Run a command.
///
/// # Errors
///
/// The settings are wrong, the server cannot be reached, or the command failed.
pub async fn execute(
    command: ClientCommand,
    global: &Global,
    env: &Env,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let settings = ClientSettings::resolve(global, env)?;
    let api = |app: &AppOnly| Api::new(&settings, &app.name(env)?);
    let of_server = || Api::new(&settings, "");
    match command {
        ClientCommand::Deploy(args) => deploy::run(&args, &api(&args.app)?, env, terminal).await,
        ClientCommand::Dev(args) => dev::run(&args, &api(&args.app)?, env, terminal).await,
        ClientCommand::Invoke(args) => invoke::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Logs(args) => logs::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Executions(args) => executions::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Top(args) => top::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Metrics(args) => metrics::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Scripts(args) => scripts::list(&api(&args)?, terminal).await,
        ClientCommand::Rm(args) => scripts::delete(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Versions(args) => scripts::versions(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Source(args) => scripts::source(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Rollback(args) => scripts::rollback(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Canary(args) => canary::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Kv(args) => kv::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Secrets(args) => secrets::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Config(args) => config::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::HttpPolicy(args) => http_policy::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Grants(args) => grants::list(&api(&args)?, terminal).await,
        ClientCommand::Triggers(args) => triggers::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Events(args) => events::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Queues(args) => events::queues(&api(&args)?, terminal).await,
        ClientCommand::Routes(args) => routes::run(&args, &api(&args.app)?, terminal).await,
        ClientCommand::Access(args) => routes::access(&args, &api(&args.app)?, terminal).await,
        // They are about the server, not about one app.
        ClientCommand::Apps(args) => apps::run(&args, &of_server()?, terminal).await,
        ClientCommand::Tokens(args) => tokens::run(&args, &of_server()?, terminal).await,
        ClientCommand::Login(args) => session::login(&args, &settings, env, terminal).await,
        ClientCommand::Logout => session::logout(&settings, env, terminal).await,
        ClientCommand::Whoami => session::whoami(&settings, terminal).await,
        ClientCommand::Passwd(args) => session::passwd(args, &settings, env, terminal).await,
        ClientCommand::Users(args) => users::run(&args, &of_server()?, terminal).await,
        ClientCommand::Backup(args) => backup::run(&args, &of_server()?, terminal).await,
        ClientCommand::Audit(args) => audit::run(&args, &of_server()?, terminal).await,
        ClientCommand::Trace(args) => events::trace(&args.root, &api(&args.app)?, terminal).await,
    }
}

/// The moment that a flag such as `--since` means.
fn moment(flag: &str, text: Option<&str>) -> Result<Option<Timestamp>, CliError> {
    let at = text.map(|text| time::since(text, Timestamp::now())).transpose();
    at.map_err(|why| CliError::Usage(format!("{flag}: {why}")))
}

/// Ends when the command is to end: Ctrl-C, `kill`, or the terminal is closed.
async fn interrupted() {
    let heard = async |kind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        // Then the process ends as it does without this.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = heard(SignalKind::interrupt()) => {}
        () = heard(SignalKind::terminate()) => {}
        () = heard(SignalKind::hangup()) => {}
    }
}

/// Say what was done to something: `deleted  NAME`, or a document that has its name, key or id as `member`.
fn done(word: &str, member: &str, name: &str, terminal: &mut Terminal) -> Result<(), CliError> {
    if terminal.json_wanted() {
        return terminal.json(&json!({ member: name, "result": word }));
    }
    terminal.line(&format!("{word}  {}", clean(name)))
}

/// A member of a document as text; empty when it is not there.
fn text(document: &Value, name: &str) -> String {
    match document.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A member of a document as a number; 0 when it is not there.
fn number(document: &Value, name: &str) -> u64 {
    document.get(name).and_then(Value::as_u64).unwrap_or(0)
}
