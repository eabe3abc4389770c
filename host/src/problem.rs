//! Errors as users see them: the problem document (RFC 9457), made from one of the stable codes in `code`.

mod code;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use uuid::Uuid;

use crate::call::{Answer, Failure, Fault, Position};
use crate::ports::StoreError;

pub use code::Code;

/// A problem document, the body of every error answer.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// Where the page of the code is, relative to the server.
    #[serde(rename = "type")]
    kind: String,
    /// The same for every occurrence.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The stable code.
    code: Code,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// Whose fault a failed call was.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    /// Whether the same request may succeed later; only for failed calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    /// The execution that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_id: Option<Uuid>,
    /// Where in the script's source.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    /// Seconds, for the `Retry-After` header.
    #[serde(skip)]
    retry_after: Option<u64>,
    /// For the `Allow` header.
    #[serde(skip)]
    allow: Option<String>,
}

impl Problem {
    /// A problem with nothing but its code.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            kind: format!("/api/v1/errors/{}", code.as_str()),
            title: code.title(),
            status: code.status().as_u16(),
            code,
            detail: None,
            instance: None,
            fault: code.fault(),
            retryable: code.fault().map(|_| is_for_later(code)),
            execution_id: None,
            position: None,
            retry_after: None,
            allow: None,
        }
    }

    /// The problem document of a failed call.
    #[must_use]
    pub fn of_failure(failure: &Failure, execution_id: Uuid) -> Self {
        let mut problem = Self::new(failure.code).detail(failure.message.clone());
        problem.position = failure.position;
        problem.execution_id = Some(execution_id);
        if let Some(status) = failure.status {
            problem.status = status;
            if status < 500 {
                problem.fault = None;
            }
            problem.retryable = Some(matches!(status, 429 | 503));
        }
        if matches!(failure.code, Code::KvConflict | Code::StorageUnavailable | Code::Saturated) {
            problem.retry_after = Some(1);
        }
        problem
    }

    /// Say what happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Say where in the script's source.
    #[must_use]
    pub fn position(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    /// Say which request.
    #[must_use]
    pub fn instance(mut self, path: impl Into<String>) -> Self {
        self.instance = Some(path.into());
        self
    }

    /// Ask the client to wait so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// List the methods that are supported.
    #[must_use]
    pub fn allow(mut self, methods: impl Into<String>) -> Self {
        self.allow = Some(methods.into());
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }
}

/// Whether nothing has to change but the time.
fn is_for_later(code: Code) -> bool {
    let status = code.status();
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
        || code == Code::EventsQuotaExceeded
}

impl From<StoreError> for Problem {
    /// Says nothing about the cause: it was logged where it happened.
    fn from(_: StoreError) -> Self {
        Self::new(Code::StorageUnavailable).retry_after(1)
    }
}

impl Problem {
    /// What is sent.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|methods| HeaderValue::try_from(methods).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        let challenge = match self.code {
            Code::Unauthorized | Code::LoginFailed => Some("Bearer realm=\"picloud\""),
            Code::CredentialsInvalid => Some("Basic realm=\"picloud\", charset=\"UTF-8\""),
            Code::SignatureInvalid => Some("Signature realm=\"picloud\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        Answer { status: self.status, headers, body: serde_json::to_vec(self).unwrap_or_default().into() }
    }
}

impl IntoResponse for Problem {
    /// The response keeps the problem in its extensions, for whoever handles it on its way out.
    fn into_response(self) -> Response {
        let mut response = self.answer().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
