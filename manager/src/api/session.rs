//! Sessions over REST: log in with a name and a password, see who is there, log out.

pub(crate) mod cookie;
mod login;
mod password;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use picloud_host::problem::{Code, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{Admin, LoggedIn, Somebody};
use crate::api::caller::Caller;
use crate::api::path::UserPath;
use crate::api::query::List;
use crate::api::timestamp::timestamp;
use crate::identity::{Known, KnownSession};
use crate::scope::{Scope, Scopes};
use crate::store::session::{self, SessionKind};
use login::{Attempt, SessionBody};
use password::{NewPassword, OwnPasswordBody};

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(log_in, get_session, log_out))
        .routes(routes!(set_own_password))
        .routes(routes!(list_sessions, end_sessions))
}

/// Who is there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// What kind of principal that is: `token` or `user`, or `dev` in dev mode.
    #[schema(example = "user")]
    kind: String,
    /// Its name; null in dev mode.
    #[schema(required, example = "ann")]
    name: Option<String>,
    /// What it may do.
    #[schema(example = json!(["app:shop:deploy"]))]
    scopes: Vec<String>,
    /// From when on it has to log in again, however much it is used; null if that is never.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    expires_at: Option<Timestamp>,
    /// What has to come as `X-CSRF-Token` with every request that changes something; null where no cookie says who is there.
    #[schema(required)]
    csrf_token: Option<String>,
}

/// A session that has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewSession {
    /// Its text, which is in this answer and nowhere else: `Authorization: Bearer TOKEN`. Null where a cookie has it.
    #[schema(required)]
    token: Option<String>,
    #[serde(flatten)]
    about: Session,
}

/// A session of a user, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserSession {
    /// Its number.
    id: i64,
    /// `bearer` for a program, `cookie` for a browser.
    kind: &'static str,
    /// When the user has logged in.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ends at the latest.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// When it was last used, to the minute.
    #[schema(value_type = String, format = DateTime)]
    last_used_at: Timestamp,
    /// From where the user has logged in.
    client_ip: String,
}

impl From<session::Session> for UserSession {
    fn from(session: session::Session) -> Self {
        Self {
            id: session.id,
            kind: session.kind.as_str(),
            created_at: timestamp(session.created_ms),
            expires_at: timestamp(session.expires_ms),
            last_used_at: timestamp(session.last_used_ms),
            client_ip: session.client_ip,
        }
    }
}

/// No cache on the way may keep the text of a session.
const NOT_STORED: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// Log in.
///
/// The name and the password of a user open a session, which opens what the user may. Without `cookie` its text is in the answer,
/// and works wherever tokens do; it lasts for 30 days, and ends when it is not used for 7. With `cookie` a browser keeps it, for
/// 7 days, and 12 hours without use; that is for a server with `--admin-address`, over TLS or on this machine. Of more than 20
/// sessions the oldest ends. Who is wrong too often has to wait, whether the name is one or not.
#[utoipa::path(
    post, path = "/api/v1/session", tag = "session", security(()),
    request_body(description = "Who it is.", content((SessionBody = "application/json"))),
    responses(
        (status = 201, description = "Somebody is logged in.", body = NewSession,
         headers(("Location" = String), ("Set-Cookie" = String))),
        (status = 400, description = "`request-invalid`, `name-invalid`"),
        (status = 401, description = "`login-failed`"),
        (status = 403, description = "`origin-forbidden`"),
        (status = 409, description = "`session-unavailable`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 429, description = "`too-many-attempts`"),
        (status = 503, description = "`saturated`, `storage-unavailable`"),
    ),
)]
async fn log_in(state: State, attempt: Attempt) -> Result<Response, Problem> {
    let (user, kind) = (attempt.user.clone(), attempt.kind);
    let (text, session, scopes) = login::log_in(&state, attempt).await?;
    let csrf_token = (kind == SessionKind::Cookie).then(|| cookie::csrf_token(&text));
    let about = Session {
        kind: "user".to_owned(),
        name: Some(user.to_string()),
        scopes: scopes.texts(),
        expires_at: Some(timestamp(session.expires_ms)),
        csrf_token,
    };
    let location = [(header::LOCATION, "/api/v1/session")];
    let cookie = match kind {
        SessionKind::Bearer => None,
        SessionKind::Cookie => Some([(header::SET_COOKIE, cookie::set(&text))]),
    };
    let token = if cookie.is_none() { Some(text) } else { None };
    let answer = (StatusCode::CREATED, location, [NOT_STORED], Json(NewSession { token, about }));
    Ok(match cookie {
        None => answer.into_response(),
        Some(cookie) => (cookie, answer).into_response(),
    })
}

/// See who is there.
#[utoipa::path(
    get, path = "/api/v1/session", tag = "session", security(("token" = [])),
    responses((status = 200, description = "Who has sent the request.", body = Session)),
)]
async fn get_session(who: Somebody, headers: HeaderMap) -> Response {
    let about = match &who.caller {
        Caller::Known(known) => Session {
            kind: known.kind.clone(),
            name: Some(known.name.clone()),
            scopes: known.scopes.texts(),
            expires_at: known.expires_ms.map(timestamp),
            csrf_token: csrf_token(known, &headers),
        },
        // In dev mode whoever can connect may do everything.
        _ => Session {
            kind: "dev".to_owned(),
            name: None,
            scopes: Scopes(vec![Scope::Server]).texts(),
            expires_at: None,
            csrf_token: None,
        },
    };
    ([NOT_STORED], Json(about)).into_response()
}

fn csrf_token(known: &Known, headers: &HeaderMap) -> Option<String> {
    known.session.filter(|session| session.kind == SessionKind::Cookie)?;
    cookie::session(headers).map(cookie::csrf_token)
}

/// The session that a request comes with.
///
/// # Errors
///
/// `session-unavailable`.
pub(super) fn of(caller: &Caller) -> Result<KnownSession, Problem> {
    let refused = |detail: &str| Problem::new(Code::SessionUnavailable).detail(detail);
    match caller {
        Caller::Known(known) => known
            .session
            .ok_or_else(|| refused("The request comes with a token, not with the session of a user.")),
        _ => Err(refused("In dev mode nobody is asked who they are.")),
    }
}

/// An answer after which a browser forgets the cookie, if that is what the session was in.
fn ended(session: KnownSession) -> Response {
    match session.kind {
        SessionKind::Bearer => StatusCode::NO_CONTENT.into_response(),
        SessionKind::Cookie => {
            (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::FORGET)]).into_response()
        }
    }
}

/// Log out.
///
/// The session is worth nothing from the answer on.
#[utoipa::path(
    delete, path = "/api/v1/session", tag = "session", security(("token" = [])),
    responses(
        (status = 204, description = "The session is over.", headers(("Set-Cookie" = String))),
        (status = 409, description = "`session-unavailable`"),
    ),
)]
async fn log_out(who: LoggedIn, state: State) -> Result<Response, Problem> {
    let (session, store) = (of(&who.caller)?, state.store);
    state.publisher.change(async move { store.delete_session(session.id).await }).await?;
    Ok(ended(session))
}

/// Set one's own password.
///
/// All sessions of the user end with the old one, also the one that has sent this.
#[utoipa::path(
    put, path = "/api/v1/session/password", tag = "session", security(("token" = [])),
    request_body(description = "The old password and the new.", content((OwnPasswordBody = "application/json"))),
    responses(
        (status = 204, description = "It is the password now, and no other is.", headers(("Set-Cookie" = String))),
        (status = 401, description = "`login-failed`: that is not the old one. `unauthorized`"),
        (status = 409, description = "`session-unavailable`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`user-invalid`, `password-invalid`"),
        (status = 503, description = "`saturated`, `storage-unavailable`"),
    ),
)]
async fn set_own_password(who: LoggedIn, state: State, new: NewPassword) -> Result<Response, Problem> {
    let session = of(&who.caller)?;
    password::set(&state, &who.caller, new).await?;
    Ok(ended(session))
}

/// List the sessions of a user, the newest first.
#[utoipa::path(
    get, path = "/api/v1/users/{name}/sessions", tag = "users", security(("token" = ["admin"])), params(UserPath),
    responses(
        (status = 200, description = "All of them: 20 at most.", body = List<UserSession>),
        (status = 404, description = "`user-not-found`"),
    ),
)]
async fn list_sessions(_: Admin, state: State, path: UserPath) -> Result<Json<List<UserSession>>, Problem> {
    let sessions = state.store.sessions(&path.name).await?;
    let sessions = sessions.ok_or_else(|| Problem::new(Code::UserNotFound))?;
    let items = sessions.into_iter().map(UserSession::from).collect();
    Ok(Json(List { items, next_cursor: None }))
}

/// End all sessions of a user.
///
/// They are worth nothing from the answer on.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}/sessions", tag = "users", security(("token" = ["admin"])), params(UserPath),
    responses(
        (status = 204, description = "The user is logged in nowhere."),
        (status = 404, description = "`user-not-found`"),
    ),
)]
async fn end_sessions(_: Admin, state: State, path: UserPath) -> Result<StatusCode, Problem> {
    let store = state.store;
    state.publisher.change(async move { store.delete_sessions(&path.name).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
