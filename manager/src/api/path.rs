//! What the path of a request names. These extractors validate, so that no handler sees a name that cannot exist.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use picloud_host::problem::{Code, Problem};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::api::State;
use crate::name::Name;

/// The app in a path with `{app}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AppPath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
}

/// The script in a path with `{app}` and `{name}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ScriptPath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
    /// The script's name: lower-case letters, digits, `-` and `_`, 63 at most, the first a letter or digit.
    #[param(value_type = String, example = "hello")]
    pub(crate) name: Name,
}

/// The trigger in a path with `{app}` and `{name}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TriggerPath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
    /// The trigger's name: lower-case letters, digits, `-` and `_`, 63 at most, the first a letter or digit. That of a
    /// queue is the queue's name.
    #[param(value_type = String, example = "low-stock")]
    pub(crate) name: Name,
}

/// The route in a path with `{app}` and `{name}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct RoutePath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
    /// The route's name: lower-case letters, digits, `-` and `_`, 63 at most, the first a letter or digit.
    #[param(value_type = String, example = "users")]
    pub(crate) name: Name,
}

/// The secret or configuration value in a path with `{app}` and `{name}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SettingPath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
    /// The name: lower-case letters, digits, `-` and `_`, 63 at most, the first a letter or digit.
    #[param(value_type = String, example = "mail-password")]
    pub(crate) name: Name,
}

/// The version in a path with `{app}`, `{name}` and `{number}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct VersionPath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
    /// The script's name.
    #[param(value_type = String, example = "hello")]
    pub(crate) name: Name,
    /// The version's number, from 1.
    #[param(minimum = 1, example = 1)]
    pub(crate) number: u32,
}

/// The key in a path with `{app}` and `{key}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct KeyPath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
    /// The key, percent-encoded as one segment of the path: `/` is `%2F`.
    #[param(value_type = String, example = "visits")]
    pub(crate) key: Arc<str>,
}

/// The execution in a path with `{app}` and `{id}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ExecutionPath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
    /// The execution's id, as in the header `PiCloud-Execution-Id`.
    #[param(value_type = String, example = "01981a3c-5f7e-7c3a-9b1d-2f6e8a4c0d17")]
    pub(crate) id: Uuid,
}

/// The event in a path with `{app}` and `{id}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct EventPath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
    /// The event's id.
    #[param(value_type = String, example = "01981a3c-5f7e-7c3a-9b1d-2f6e8a4c0d17")]
    pub(crate) id: Uuid,
}

/// The root of a trace in a path with `{app}` and `{root}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TracePath {
    /// The app's name.
    #[param(value_type = String, example = "default")]
    pub(crate) app: Name,
    /// The `root_id` of an execution or of an event.
    #[param(value_type = String, example = "01981a3c-5f7e-7c3a-9b1d-2f6e8a4c0d17")]
    pub(crate) root: Uuid,
}

/// The token in a path with `{name}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TokenPath {
    /// The token's name.
    #[param(value_type = String, example = "ci")]
    pub(crate) name: Name,
}

/// The user in a path with `{name}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct UserPath {
    /// The user's name: lower-case letters, digits, `-` and `_`, 63 at most, the first a letter or digit.
    #[param(value_type = String, example = "ann")]
    pub(crate) name: Name,
}

/// The error code in a path with `{code}`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct ErrorPath {
    /// The `code` of a problem.
    #[param(value_type = String, example = "script-not-found")]
    pub(crate) code: Code,
}

/// Decode the parameters of the path.
///
/// # Errors
///
/// `request-invalid`, when they are not UTF-8.
async fn parameters<T: DeserializeOwned + Send>(parts: &mut Parts) -> Result<T, Problem> {
    match Path::from_request_parts(parts, &()).await {
        Ok(Path(parameters)) => Ok(parameters),
        Err(PathRejection::FailedToDeserializePathParams(rejection)) => {
            Err(Problem::new(Code::RequestInvalid).detail(rejection.body_text()))
        }
        Err(rejection) => {
            tracing::error!(%rejection, "a route and its handler do not fit");
            Err(Problem::new(Code::Internal))
        }
    }
}

impl FromRequestParts<State> for AppPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Raw {
            app: String,
        }
        let raw: Raw = parameters(parts).await?;
        Ok(Self { app: Name::parse(&raw.app)? })
    }
}

/// An app and a name below it.
async fn app_and_name(parts: &mut Parts) -> Result<(Name, Name), Problem> {
    #[derive(Deserialize)]
    struct Raw {
        app: String,
        name: String,
    }
    let raw: Raw = parameters(parts).await?;
    Ok((Name::parse(&raw.app)?, Name::parse(&raw.name)?))
}

impl FromRequestParts<State> for ScriptPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        let (app, name) = app_and_name(parts).await?;
        Ok(Self { app, name })
    }
}

impl FromRequestParts<State> for TriggerPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        let (app, name) = app_and_name(parts).await?;
        Ok(Self { app, name })
    }
}

impl FromRequestParts<State> for RoutePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        let (app, name) = app_and_name(parts).await?;
        Ok(Self { app, name })
    }
}

impl FromRequestParts<State> for SettingPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        let (app, name) = app_and_name(parts).await?;
        Ok(Self { app, name })
    }
}

impl FromRequestParts<State> for VersionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Raw {
            app: String,
            name: String,
            number: String,
        }
        let raw: Raw = parameters(parts).await?;
        // What is no number is no version either.
        let number = raw.number.parse().map_err(|_| Problem::new(Code::VersionNotFound))?;
        Ok(Self { app: Name::parse(&raw.app)?, name: Name::parse(&raw.name)?, number })
    }
}

impl FromRequestParts<State> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Raw {
            app: String,
            key: String,
        }
        let raw: Raw = parameters(parts).await?;
        let limit = state.limits.kv_key_bytes;
        if raw.key.is_empty() || raw.key.len() as u64 > limit {
            let detail = format!("The key has {} bytes, but must have 1 to {limit}.", raw.key.len());
            return Err(Problem::new(Code::KvKeyInvalid).detail(detail));
        }
        Ok(Self { app: Name::parse(&raw.app)?, key: raw.key.into() })
    }
}

/// An app and an id below it; what is no UUID is nothing that there is.
async fn app_and_id(parts: &mut Parts, missing: Code) -> Result<(Name, Uuid), Problem> {
    #[derive(Deserialize)]
    struct Raw {
        app: String,
        #[serde(alias = "root")]
        id: String,
    }
    let raw: Raw = parameters(parts).await?;
    let app = Name::parse(&raw.app)?;
    let not_an_id = |_| Problem::new(missing).detail("The id is no UUID.");
    Ok((app, Uuid::try_parse(&raw.id).map_err(not_an_id)?))
}

impl FromRequestParts<State> for ExecutionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        let (app, id) = app_and_id(parts, Code::ExecutionNotFound).await?;
        Ok(Self { app, id })
    }
}

impl FromRequestParts<State> for EventPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        let (app, id) = app_and_id(parts, Code::EventNotFound).await?;
        Ok(Self { app, id })
    }
}

impl FromRequestParts<State> for TracePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        let (app, root) = app_and_id(parts, Code::ExecutionNotFound).await?;
        Ok(Self { app, root })
    }
}

/// What stands alone in a path with `{name}`.
async fn only_name(parts: &mut Parts) -> Result<Name, Problem> {
    #[derive(Deserialize)]
    struct Raw {
        name: String,
    }
    let raw: Raw = parameters(parts).await?;
    Ok(Name::parse(&raw.name)?)
}

impl FromRequestParts<State> for TokenPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        only_name(parts).await.map(|name| Self { name })
    }
}

impl FromRequestParts<State> for UserPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        only_name(parts).await.map(|name| Self { name })
    }
}

impl FromRequestParts<State> for ErrorPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Raw {
            code: String,
        }
        let raw: Raw = parameters(parts).await?;
        let unknown = |_| Problem::new(Code::RouteNotFound).detail("There is no such error code.");
        Ok(Self { code: Code::try_from(raw.code).map_err(unknown)? })
    }
}
