//! The value in the body of a request.

use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use picloud_host::ports::KvValue;
use picloud_host::problem::{Code, Problem};

use crate::api::State;
use crate::api::body::{app_limits, json, media_type, read, refuse_encoded};

/// A value to store, checked.
pub(super) struct Value(pub(super) KvValue);

/// What the media type says about the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Blob,
}

impl FromRequest<State> for Value {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let kind = kind(request.headers())?;
        let (mut parts, body) = request.into_parts();
        let limits = app_limits(&mut parts, state).await?;
        let bytes = read(&parts.headers, body, limits.kv_value_bytes, Code::KvValueTooLarge).await?;
        match kind {
            Kind::Blob => Ok(Self(KvValue::Blob(bytes))),
            Kind::Json => json(&bytes, Code::KvValueInvalid).map(|text| Self(KvValue::Json(text.into()))),
        }
    }
}

fn kind(headers: &HeaderMap) -> Result<Kind, Problem> {
    refuse_encoded(headers, "value")?;
    match media_type(headers).as_str() {
        "application/octet-stream" => Ok(Kind::Blob),
        "application/json" => Ok(Kind::Json),
        other if other.len() > "+json".len() && other.ends_with("+json") => Ok(Kind::Json),
        _ => Err(Problem::new(Code::MediaTypeUnsupported)
            .detail("Send the value as application/json or application/octet-stream.")),
    }
}
