//! `picloud doctor`: looks at the machine, the data directory and the server, and says what is not as it should be.

mod clock;
mod data;
mod disk;
mod machine;
mod server;

use serde::Serialize;
use serde_json::json;

use crate::args::{DoctorArgs, Global, ServeArgs};
use crate::config::ServeConfig;
use crate::env::Env;
use crate::exit::{CliError, Exit};
use crate::output::text::clean;
use crate::output::{Paint, Terminal};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could, or it could not be told.
    Warn,
    /// Something will not work.
    Fail,
}

/// What was looked at, what was found, and what to do about it.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), advice: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, state: State::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, state: State::Fail, found: found.into(), advice: Some(advice.into()) }
    }

    fn line(&self, paint: Paint) -> String {
        let state = match self.state {
            State::Ok => paint.good("ok  "),
            State::Warn => paint.warning("warn"),
            State::Fail => paint.error("fail"),
        };
        let line = format!("{state}  {:<16}  {}", self.name, clean(&self.found));
        match &self.advice {
            Some(advice) => format!("{line}\n{:24}{}", "", paint.dim(&format!("-> {}", clean(advice)))),
            None => line,
        }
    }
}

/// Make all checks and tell how they went.
///
/// # Errors
///
/// The configuration is wrong, or a check failed.
pub async fn run(
    args: DoctorArgs,
    global: &Global,
    env: &Env,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let DoctorArgs { data_dir, config } = args;
    let config = ServeConfig::resolve(&ServeArgs { data_dir, config, ..ServeArgs::default() }, env)?;
    let mut checks = machine::checks(config.limits.memory_bytes);
    checks.extend(clock::checks());
    checks.extend(data::checks(&config));
    checks.extend(disk::checks(&config.data_dir));
    checks.extend(server::checks(global, env).await);
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (warnings, failures) = (count(State::Warn), count(State::Fail));
    if terminal.json_wanted() {
        terminal.json(&json!({ "items": checks, "warnings": warnings, "failures": failures }))?;
    } else {
        let paint = terminal.out_paint();
        for check in &checks {
            terminal.line(&check.line(paint))?;
        }
        terminal.line(&format!("\n{} checks: {warnings} warn, {failures} fail", checks.len()))?;
    }
    if failures > 0 { Err(CliError::Reported(Exit::Failed)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
