//! Who may use the API. A handler that takes [`Admin`] needs a token, one that takes [`ExecutionAccess`] a token or
//! the key of the execution; a test lists the ones that need none.

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use picloud_host::answer::access_digest;
use picloud_host::call::AppId;
use picloud_host::problem::{Code, Problem};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::api::State;
use crate::api::path::ExecutionPath;
use crate::name::Name;

/// Who may use the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Whoever has a token.
    Token,
    /// Whoever can connect: for `--dev`, on a loopback address and behind [`crate::api::guard`].
    Dev,
}

/// Proof that the request may administrate this server.
#[derive(Debug, Clone, Copy)]
pub struct Admin(());

impl FromRequestParts<State> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        if state.auth == Auth::Dev {
            return Ok(Self(()));
        }
        let refused = |detail: &str| Problem::new(Code::Unauthorized).detail(detail);
        let token = bearer(parts).ok_or_else(|| refused("Send a token: Authorization: Bearer TOKEN."))?;
        match state.store.token_name(token).await? {
            Some(_) => Ok(Self(())),
            None => Err(refused("This token is not known here.")),
        }
    }
}

/// Proof that the request may see one execution, read its answer and cancel it: it has a token, or the key that the
/// caller was given with the address. The key opens nothing else.
#[derive(Debug)]
pub(crate) struct ExecutionAccess {
    /// The app's name.
    pub(crate) app: Name,
    /// The app.
    pub(crate) app_id: AppId,
    /// The execution.
    pub(crate) id: Uuid,
    /// What has opened it.
    pub(crate) by: Access,
}

/// What opens an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// A token, for whoever owns the script.
    Token,
    /// The key, for whoever has called it.
    Key,
}

impl FromRequestParts<State> for ExecutionAccess {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let path = ExecutionPath::from_request_parts(parts, state).await;
        if let (Ok(ExecutionPath { app, id }), Some(key)) = (&path, key(parts))
            && let Some(app_id) = state.store.app_id(app).await?
            && let Some(call) = state.answers.call(app_id, *id).await?
            && let Some(access) = call.access
            && bool::from(access_digest(key).ct_eq(&access))
        {
            return Ok(Self { app: app.clone(), app_id, id: *id, by: Access::Key });
        }
        // Without a good token nothing is told about the path either.
        Admin::from_request_parts(parts, state).await?;
        let ExecutionPath { app, id } = path?;
        let app_id = state.app_id(&app).await?;
        Ok(Self { app, app_id, id, by: Access::Token })
    }
}

/// The key in the query. It is of characters that are not encoded.
fn key(parts: &Parts) -> Option<&str> {
    parts.uri.query()?.split('&').find_map(|parameter| parameter.strip_prefix("key="))
}

/// The token in `Authorization: Bearer`.
fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
