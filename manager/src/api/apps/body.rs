//! What can be chosen of an app, in the body of a request.

use axum::extract::{FromRequest, Request};
use picloud_host::limits::{Limits, OwnLimits};
use picloud_host::problem::{Code, Problem};
use picloud_host::quota::Quotas;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::State;
use crate::api::body::{object, read_as};
use crate::store::app::AppSettings;

/// The longest body, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 1000;

/// What can be chosen of an app.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppBody {
    /// What it is for, 1000 bytes at most.
    #[serde(default)]
    #[schema(example = "Orders and stock")]
    description: String,
    /// Limits of its calls, by name, each between its minimum and what the server has.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, u64>, example = json!({ "fuel": 10_000_000 }))]
    limits: OwnLimits,
    /// What it may have of what all apps share, by name, in the place of what the server has for every app.
    #[serde(default, deserialize_with = "picloud_host::object::one")]
    #[schema(value_type = std::collections::BTreeMap<String, u64>, example = json!({ "calls_per_second": 50 }))]
    quotas: Quotas,
}

/// Settings that an app may have.
#[derive(Debug)]
pub(super) struct Body(pub(super) AppSettings);

impl FromRequest<State> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_as("application/json", "app", &parts.headers, body, MAX_BYTES).await?;
        let AppBody { description, limits, quotas } =
            object(&bytes).map_err(|error| invalid(error.to_string()))?;
        let settings = AppSettings { description, limits, quotas };
        check_settings(&state.limits, &settings).map_err(invalid)?;
        Ok(Self(settings))
    }
}

/// Whether an app of a server with these limits can have these settings.
///
/// # Errors
///
/// What is wrong with them.
pub(in crate::api) fn check_settings(limits: &Limits, settings: &AppSettings) -> Result<(), String> {
    let description = &settings.description;
    if description.len() > MAX_DESCRIPTION || description.chars().any(char::is_control) {
        return Err(format!("description must be one line of text of {MAX_DESCRIPTION} bytes at most"));
    }
    limits.allow(&settings.limits)?;
    settings.quotas.check()
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::AppInvalid).detail(detail)
}
