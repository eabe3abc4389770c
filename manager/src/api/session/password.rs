//! Users who set their own passwords.

use axum::extract::{FromRequest, Request};
use http::request::Parts;
use picloud_host::problem::{Code, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::login::{Try, wrong};
use crate::api::State;
use crate::api::body::{object, read_as};
use crate::api::caller::{Caller, client_ip};
use crate::api::users::chosen;
use crate::name::Name;
use crate::password::Password;
use crate::store::ChangeError;

/// The longest body, in bytes: two passwords of the longest kind with every byte escaped.
const MAX_BODY_BYTES: u64 = 16 << 10;

/// A password in the place of another one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnPasswordBody {
    /// The password until now.
    #[schema(value_type = String, format = Password)]
    current_password: Password,
    /// The new one, of 12 to 1024 bytes.
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 1024)]
    password: Password,
}

/// A password that may be set, if the old one is right.
#[derive(Debug)]
pub(super) struct NewPassword {
    current: Password,
    new: Password,
    head: Parts,
}

impl FromRequest<State> for NewPassword {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let bytes = read_as("application/json", "passwords", &head.headers, body, MAX_BODY_BYTES).await?;
        let invalid = |error: serde_json::Error| Problem::new(Code::UserInvalid).detail(error.to_string());
        let OwnPasswordBody { current_password, password } = object(&bytes).map_err(invalid)?;
        Ok(Self { current: current_password, new: chosen(password)?, head })
    }
}

/// Set it. Whoever has found a session open must not be able to guess the password, so that wrong ones count as at a login.
pub(super) async fn set(state: &State, caller: &Caller, password: NewPassword) -> Result<(), Problem> {
    let NewPassword { current, new, head } = password;
    let user = Name::parse(&caller.name().unwrap_or_default())?;
    let try_ = Try::admit(state, &user, client_ip(&head.extensions)).await?;
    let before = try_.verify(current).await.map_err(|problem| match problem.code() {
        Code::LoginFailed => problem.detail("The current password is another one."),
        _ => problem,
    })?;
    let (hash, store) = (state.passwords.hash(new).await?, state.store.clone());
    let change = async move { store.replace_user_password(&before, &hash).await };
    state.publisher.change(change).await.map_err(|error| match error {
        // It is not the old one any more.
        ChangeError::NoUser => wrong(),
        other => other.into(),
    })
}
