//! `picloud users`: people who use a server, and their passwords.

use http::{Method, header};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{done, text};
use crate::args::{NewUser, PasswordInput, UsersArgs, UsersCommand};
use crate::client::Api;
use crate::client::api::segment;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::time::local;

const USERS: &str = "/api/v1/users";

/// No password is longer, in bytes.
const MAX_PASSWORD: usize = 1024;

/// Run one of the commands about users.
///
/// # Errors
///
/// There is no such user, it is refused, or the server cannot be reached.
pub async fn run(args: &UsersArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    match &args.command {
        None | Some(UsersCommand::List) => list(api, terminal).await,
        Some(UsersCommand::Create(new)) => create(new, api, terminal).await,
        Some(UsersCommand::SetScopes { name, scopes }) => {
            // Whoever is not there is not made.
            let mut call = Call::json(Method::PUT, path(name), &json!({ "scopes": scopes }));
            call.headers.insert(header::IF_MATCH, header::HeaderValue::from_static("*"));
            api.send(call).await.map_err(|error| not_there(error, name))?;
            done("set", "name", name, terminal)
        }
        Some(UsersCommand::Passwd { name, password }) => {
            let password = new_password(*password, name, terminal)?;
            let body = json!({ "password": &*password });
            api.send(Call::json(Method::PUT, format!("{}/password", path(name)), &body)).await?;
            done("set", "name", name, terminal)
        }
        Some(UsersCommand::Sessions { name, end: true }) => {
            api.send(Call::api(Method::DELETE, format!("{}/sessions", path(name)))).await?;
            done("logged out", "name", name, terminal)
        }
        Some(UsersCommand::Sessions { name, end: false }) => sessions(name, api, terminal).await,
        Some(UsersCommand::Rm { name }) => {
            api.send(Call::api(Method::DELETE, path(name))).await?;
            done("deleted", "name", name, terminal)
        }
    }
}

fn path(name: &str) -> String {
    format!("{USERS}/{}", segment(name))
}

async fn list(api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(USERS, &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["NAME", "SCOPES", "PASSWORD SET", "LAST THERE"]);
    for user in &items {
        let scopes = user["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let there = match &user["last_used_at"] {
            Value::Null => "never".to_owned(),
            at => local(at),
        };
        table.row(vec![
            text(user, "name"),
            scopes.collect::<Vec<_>>().join(", "),
            local(&user["password_changed_at"]),
            there,
        ]);
    }
    table.print("there are no users", terminal)
}

async fn sessions(name: &str, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let items = api.list(&format!("{}/sessions", path(name)), &[], None).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    let mut table = Table::new(&["LOGGED IN", "KIND", "FROM", "LAST USED", "ENDS"]);
    for session in &items {
        table.row(vec![
            local(&session["created_at"]),
            text(session, "kind"),
            text(session, "client_ip"),
            local(&session["last_used_at"]),
            local(&session["expires_at"]),
        ]);
    }
    table.print(&format!("{name} has no sessions"), terminal)
}

async fn create(new: &NewUser, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let password = new_password(new.password, &new.name, terminal)?;
    let body = json!({ "scopes": new.scopes, "password": &*password });
    let mut call = Call::json(Method::PUT, path(&new.name), &body);
    // A user that is there must not get another password by accident.
    call.headers.insert(header::IF_NONE_MATCH, header::HeaderValue::from_static("*"));
    api.send(call).await.map_err(|error| match error {
        CliError::Problem(problem) if problem.status == 412 => CliError::Failed(format!(
            "there is a user {} already; `picloud users set-scopes` and `passwd` change it",
            new.name
        )),
        other => other,
    })?;
    done("made", "name", &new.name, terminal)
}

fn not_there(error: CliError, name: &str) -> CliError {
    match error {
        CliError::Problem(problem) if problem.status == 412 => {
            CliError::Failed(format!("there is no user {name}; `picloud users create` makes one"))
        }
        other => other,
    }
}

/// A password that is to be set: asked for twice, so that what nobody sees is typed right.
fn new_password(
    input: PasswordInput,
    name: &str,
    terminal: &mut Terminal,
) -> Result<Zeroizing<String>, CliError> {
    if input.password_stdin || !terminal.can_ask_password() {
        return given(1, terminal);
    }
    asked_twice(&format!("New password of {name}: "), terminal)
}

fn asked_twice(prompt: &str, terminal: &mut Terminal) -> Result<Zeroizing<String>, CliError> {
    let password = terminal.ask_password(prompt)?;
    let again = terminal.ask_password("Once more: ")?;
    if password != again {
        return Err(CliError::Failed("the two passwords are not the same; nothing was changed".to_owned()));
    }
    Ok(password)
}

/// The password that somebody has, and the one that is to be set: asked for, or the two lines of standard input.
///
/// # Errors
///
/// They cannot be read, or what is to be set was typed in two ways.
pub(super) fn own_passwords(
    stdin: bool,
    terminal: &mut Terminal,
) -> Result<(Zeroizing<String>, Zeroizing<String>), CliError> {
    if !stdin && terminal.can_ask_password() {
        let current = terminal.ask_password("Your password until now: ")?;
        return Ok((current, asked_twice("New password: ", terminal)?));
    }
    let both = given(2, terminal)?;
    let (current, new) = both.split_once('\n').ok_or_else(|| {
        CliError::Failed("standard input has no two lines: the old password, then the new one".to_owned())
    })?;
    let owned = |text: &str| Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned());
    Ok((owned(current), owned(new)))
}

/// A password that is there already.
///
/// # Errors
///
/// It cannot be read, is longer than any, or is no text.
pub(super) fn password(
    input: PasswordInput,
    prompt: &str,
    terminal: &mut Terminal,
) -> Result<Zeroizing<String>, CliError> {
    if input.password_stdin || !terminal.can_ask_password() {
        given(1, terminal)
    } else {
        terminal.ask_password(prompt)
    }
}

/// So many passwords on standard input, each on a line, without the last line break.
fn given(passwords: usize, terminal: &mut Terminal) -> Result<Zeroizing<String>, CliError> {
    // Room for the line breaks.
    let bytes = Zeroizing::new(terminal.read_input(passwords * (MAX_PASSWORD + 2))?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| CliError::Failed("the password on standard input is no text in UTF-8".to_owned()))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}
