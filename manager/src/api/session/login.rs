//! Logging in: who may try, and whether a password is right.

use std::net::IpAddr;

use axum::extract::{FromRequest, Request};
use http::request::Parts;
use picloud_host::attempts::{ANYWHERE, Subject, network};
use picloud_host::problem::{Code, Problem};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::cookie;
use crate::api::audit;
use crate::api::body::{object, read_as};
use crate::api::caller::client_ip;
use crate::api::{Auth, State};
use crate::name::Name;
use crate::password::{Password, Place};
use crate::scope::Scopes;
use crate::store::ChangeError;
use crate::store::session::{Session, SessionKind};
use crate::store::user::StoredPassword;

/// The longest body, in bytes: a password of the longest kind with every byte escaped.
const MAX_BODY_BYTES: u64 = 8 << 10;

/// Who wants to log in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionBody {
    /// The user's name.
    #[schema(example = "ann")]
    user: String,
    /// Its password.
    #[schema(value_type = String, format = Password)]
    password: Password,
    /// Whether a browser is to keep the session in a cookie.
    #[serde(default)]
    cookie: bool,
}

/// Somebody who may try to log in, as far as the request itself tells.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) user: Name,
    pub(super) kind: SessionKind,
    password: Password,
    head: Parts,
}

impl FromRequest<State> for Attempt {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        if state.auth == Auth::Dev {
            let detail = "In dev mode nobody is asked who they are, so nobody logs in.";
            return Err(Problem::new(Code::SessionUnavailable).detail(detail));
        }
        let (head, body) = request.into_parts();
        let bytes =
            read_as("application/json", "name and password", &head.headers, body, MAX_BODY_BYTES).await?;
        let invalid = |error: serde_json::Error| Problem::new(Code::RequestInvalid).detail(error.to_string());
        let SessionBody { user, password, cookie } = object(&bytes).map_err(invalid)?;
        let kind = if cookie { SessionKind::Cookie } else { SessionKind::Bearer };
        if cookie {
            cookie::may_be_set(state.origin, &head)?;
        }
        Ok(Self { user: Name::parse(&user)?, kind, password, head })
    }
}

/// Let somebody in whose password is right.
pub(super) async fn log_in(state: &State, attempt: Attempt) -> Result<(String, Session, Scopes), Problem> {
    let Attempt { user, kind, password, head } = attempt;
    let address = client_ip(&head.extensions);
    // Whoever knows the password must not make the server hash it without end, nor publish who is there.
    let (begun, now_ms) = (Subject::SessionsOf(stand_in(&user)), state.clock.now_ms());
    state.attempts.check(begun, ANYWHERE, now_ms).map_err(too_often)?;
    let try_ = Try::admit(state, &user, address).await?;
    audit::begin_login(&head, state, try_.stored.as_ref().map(|_| &user)).await?;
    let stored = try_.verify(password).await?;
    state.attempts.count(begun, ANYWHERE, now_ms).map_err(too_often)?;
    let (store, ip) = (state.store.clone(), address.to_string());
    let change = async move { store.create_session(&stored, kind, &ip).await };
    state.publisher.change(change).await.map_err(|error| match error {
        ChangeError::NoUser => wrong(),
        other => other.into(),
    })
}

/// The same whether there is no such user or the password is another one.
pub(super) fn wrong() -> Problem {
    Problem::new(Code::LoginFailed)
}

/// An attempt at a password, which counts as a failure until it is known to be none: so that of many at the same time no more are
/// tried than may be.
pub(super) struct Try<'a> {
    state: &'a State,
    address: IpAddr,
    of_user: Option<Subject>,
    stored: Option<StoredPassword>,
    place: Place,
}

impl<'a> Try<'a> {
    /// Count it, if it may be made.
    ///
    /// Each address has its failures, and each user, from all addresses together, many more, which are for those who have many
    /// addresses. So that these cannot keep a user out, it does not count against whom it is where the user is logged in already.
    ///
    /// # Errors
    ///
    /// `too-many-attempts`, `saturated`; the database failed.
    pub(super) async fn admit(state: &'a State, user: &Name, address: IpAddr) -> Result<Self, Problem> {
        let now_ms = state.clock.now_ms();
        state
            .attempts
            .count(Subject::Logins, address, now_ms)
            .map_err(|wait_ms| too_many("this address", wait_ms))?;
        // It stays counted if there is no place: who comes again and again so keeps out nobody else.
        let place = state.passwords.enter()?;
        let stored = state.store.user_password(user).await?;
        // Also for names of nobody: that there are attempts at it must not tell that there is such a user.
        let subject = Subject::LoginsOf(stand_in(user));
        let of_user = match state.attempts.count(subject, ANYWHERE, now_ms) {
            Ok(()) => Some(subject),
            Err(_) if is_logged_in_from(state, user, address).await? => None,
            Err(wait_ms) => return Err(too_many("everywhere for this user", wait_ms)),
        };
        Ok(Self { state, address, of_user, stored, place })
    }

    /// Whether it is the password.
    ///
    /// # Errors
    ///
    /// `login-failed`; it could not be found out, and does not count then.
    pub(super) async fn verify(self, password: Password) -> Result<StoredPassword, Problem> {
        let Self { state, address, of_user, stored, place } = self;
        let hash = stored.as_ref().map(|stored| stored.hash.clone());
        let verified = state.passwords.verify(place, password, hash).await;
        if let Ok(true) | Err(_) = verified {
            state.attempts.forgive(Subject::Logins, address);
            if let Some(subject) = of_user {
                state.attempts.forgive(subject, ANYWHERE);
            }
        }
        if verified? { stored.ok_or_else(wrong) } else { Err(wrong()) }
    }
}

fn too_many(where_from: &str, wait_ms: u64) -> Problem {
    let detail = format!("Too many passwords from {where_from} were wrong.");
    Problem::new(Code::TooManyAttempts).detail(detail).retry_after(wait_ms.div_ceil(1000))
}

fn too_often(wait_ms: u64) -> Problem {
    let detail = "This user has logged in too often.";
    Problem::new(Code::TooManyAttempts).detail(detail).retry_after(wait_ms.div_ceil(1000))
}

async fn is_logged_in_from(state: &State, user: &Name, address: IpAddr) -> Result<bool, Problem> {
    let sessions = state.store.sessions(user).await?.unwrap_or_default();
    let near = |ip: &str| ip.parse().is_ok_and(|ip: IpAddr| network(ip) == network(address));
    Ok(sessions.iter().any(|session| near(&session.client_ip)))
}

/// A number for a name, so that memory holds no names that anybody has made up.
fn stand_in(user: &Name) -> u64 {
    let hash: [u8; 32] = Sha256::digest(user.as_str().as_bytes()).into();
    hash[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
