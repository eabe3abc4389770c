//! Who may use the API. A handler that takes [`Admin`] needs a token; a test lists the ones that need none.

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use picloud_host::problem::{Code, Problem};

use crate::api::State;

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

/// The token in `Authorization: Bearer`.
fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
