//! `picloud login`, `logout`, `whoami` and `passwd`: the session of a user.

use http::Method;
use serde_json::{Value, json};

use super::text;
use super::users::{own_passwords, password};
use crate::args::{LoginArgs, PasswdArgs};
use crate::client::file::{forget_session, remember_session};
use crate::client::http::Call;
use crate::client::{Api, ClientSettings};
use crate::env::Env;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::text::clean;
use crate::output::time::local;

const SESSION: &str = "/api/v1/session";

/// Log in, and keep the session for the next commands.
///
/// # Errors
///
/// The server lets nobody in like this, cannot be reached, or the session cannot be kept.
pub async fn login(
    args: &LoginArgs,
    settings: &ClientSettings,
    env: &Env,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let server = &settings.server;
    if !server.is_https() && !server.is_local() {
        terminal.note(&format!("{server} has no TLS: whoever is in between can read the password"));
    }
    let user = match &args.user {
        Some(user) => user.clone(),
        None => terminal.ask_line(&format!("User at {server}: "))?,
    };
    let password = password(args.password, &format!("Password of {user}: "), terminal)?;
    let body = json!({ "user": user, "password": &*password });
    let mut call = Call::json(Method::POST, SESSION, &body);
    call.with_token = false;
    let session = Api::new(settings, "")?.json(call).await?.1;
    let token = session["token"].as_str().unwrap_or_default();
    let path = remember_session(env, server, token).map_err(|error| {
        CliError::Failed(format!("you are logged in, but the session cannot be kept: {error:#}"))
    })?;
    if terminal.json_wanted() {
        let (name, expires) = (&session["name"], &session["expires_at"]);
        return terminal.json(&json!({ "server": server.to_string(), "name": name, "expires_at": expires }));
    }
    terminal.line(&format!("logged in  {} at {server}", clean(&text(&session, "name"))))?;
    terminal.note(&format!(
        "until {} at the latest; the session is in {}",
        local(&session["expires_at"]),
        path.display()
    ));
    if env.get("PICLOUD_TOKEN").is_some_and(|token| !token.is_empty()) {
        terminal.note("PICLOUD_TOKEN is set: other commands use that, not this session");
    }
    Ok(())
}

/// Log out: the session ends on the server, and is forgotten here.
///
/// # Errors
///
/// There is no session, or the server cannot be reached; then it is not forgotten.
pub async fn logout(settings: &ClientSettings, env: &Env, terminal: &mut Terminal) -> Result<(), CliError> {
    let Some(token) = &settings.token else {
        return Err(CliError::Failed(format!("nobody is logged in at {}", settings.server)));
    };
    match Api::new(settings, "")?.send(Call::api(Method::DELETE, SESSION)).await {
        Ok(_) => {}
        // It is over already.
        Err(CliError::Problem(problem)) if problem.status == 401 => {}
        // A token that was made for good is not forgotten by mistake.
        Err(CliError::Problem(problem)) if problem.code.as_deref() == Some("session-unavailable") => {
            return Err(CliError::Failed(
                "the settings have a token, not a session; `picloud tokens rm` revokes one".to_owned(),
            ));
        }
        Err(error) => return Err(error),
    }
    forget_session(env, token).map_err(|error| CliError::Failed(format!("{error:#}")))?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "server": settings.server.to_string(), "result": "logged out" }));
    }
    terminal.line(&format!("logged out  {}", settings.server))
}

/// Set the password of whoever is logged in. All of the sessions end, so the one that is kept here is forgotten.
///
/// # Errors
///
/// There is no session, the old password is wrong, the new one may be none, or the server cannot be reached.
pub async fn passwd(
    args: PasswdArgs,
    settings: &ClientSettings,
    env: &Env,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let Some(token) = &settings.token else {
        return Err(CliError::Failed(format!("nobody is logged in at {}", settings.server)));
    };
    let (current, new) = own_passwords(args.password_stdin, terminal)?;
    let body = json!({ "current_password": &*current, "password": &*new });
    let call = Call::json(Method::PUT, format!("{SESSION}/password"), &body);
    Api::new(settings, "")?.send(call).await.map_err(|error| match error {
        CliError::Problem(problem) if problem.code.as_deref() == Some("session-unavailable") => CliError::Failed(
            "the settings have a token, not a session; `picloud users passwd` sets the password of a user".to_owned(),
        ),
        other => other,
    })?;
    forget_session(env, token).map_err(|error| CliError::Failed(format!("{error:#}")))?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "server": settings.server.to_string(), "result": "set" }));
    }
    terminal.line(&format!("set  your password at {}", settings.server))?;
    terminal.note("all of your sessions are over; `picloud login` begins a new one");
    Ok(())
}

/// Say who the server takes us for.
///
/// # Errors
///
/// The server knows nobody like that, or cannot be reached.
pub async fn whoami(settings: &ClientSettings, terminal: &mut Terminal) -> Result<(), CliError> {
    let who = Api::new(settings, "")?.get(SESSION).await?;
    if terminal.json_wanted() {
        return terminal.json(&who);
    }
    let (kind, name) = (text(&who, "kind"), text(&who, "name"));
    let name = if name.is_empty() { "nobody is asked for a name in dev mode".to_owned() } else { name };
    let scopes = who["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    terminal.line(&format!("{}  {}", clean(&kind), clean(&name)))?;
    terminal.line(&format!("scopes  {}", clean(&scopes.collect::<Vec<_>>().join(", "))))?;
    match &who["expires_at"] {
        Value::Null => Ok(()),
        at => terminal.line(&format!("until  {}", local(at))),
    }
}
