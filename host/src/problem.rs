//! Errors as users see them: a table of stable codes, and the problem document (RFC 9457) made from one.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::{Answer, Failure, Fault, Position};
use crate::ports::StoreError;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident: $name:literal, $status:ident, $fault:expr;)+) => {
        /// What went wrong, as a name that never changes. Every code has a page under `docs/errors/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in problem documents, records and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The usual status. A script can choose another one with `throw`.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// Whose fault a call that failed with this code is; none for codes that are no failed call.
            #[must_use]
            pub fn fault(self) -> Option<Fault> {
                match self { $(Self::$variant => $fault,)+ }
            }

            /// One sentence, the same for every occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// The page of the code: what happened, why, how to fix it. Markdown.
            #[must_use]
            pub fn page(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../../docs/errors/", $name, ".md")),)+ }
            }
        }
    };
}

const SCRIPT: Option<Fault> = Some(Fault::Script);
const LIMIT: Option<Fault> = Some(Fault::Limit);
const PLATFORM: Option<Fault> = Some(Fault::Platform);

codes! {
    /// The script stopped with an error.
    ScriptError: "script-error", INTERNAL_SERVER_ERROR, SCRIPT;
    /// The script ended the call with throw.
    ScriptThrew: "script-threw", INTERNAL_SERVER_ERROR, SCRIPT;
    /// The script's answer cannot be sent.
    AnswerInvalid: "answer-invalid", INTERNAL_SERVER_ERROR, SCRIPT;
    /// The call would have shown or written down a secret.
    SecretExposed: "secret-exposed", INTERNAL_SERVER_ERROR, SCRIPT;
    /// The script has no function for this kind of call.
    HandlerMissing: "handler-missing", NOT_FOUND, SCRIPT;
    /// The call used up its fuel.
    FuelExhausted: "fuel-exhausted", INTERNAL_SERVER_ERROR, LIMIT;
    /// The call needed more memory than it may have.
    MemoryExhausted: "memory-exhausted", INTERNAL_SERVER_ERROR, LIMIT;
    /// The call nested functions or expressions too deep.
    StackExhausted: "stack-exhausted", INTERNAL_SERVER_ERROR, LIMIT;
    /// The call took longer than its deadline.
    DeadlineExceeded: "deadline-exceeded", GATEWAY_TIMEOUT, LIMIT;
    /// The script's answer is larger than allowed.
    AnswerTooLarge: "answer-too-large", INTERNAL_SERVER_ERROR, LIMIT;
    /// Too many triggers followed on one another.
    DepthExceeded: "depth-exceeded", LOOP_DETECTED, LIMIT;
    /// The call caused more events than one call may.
    TooManyEvents: "too-many-events", INTERNAL_SERVER_ERROR, LIMIT;
    /// The event is not this call's any more.
    EventGone: "event-gone", CONFLICT, PLATFORM;
    /// Other calls kept changing the keys that this call read.
    KvConflict: "kv-conflict", SERVICE_UNAVAILABLE, PLATFORM;
    /// The storage is unavailable.
    StorageUnavailable: "storage-unavailable", SERVICE_UNAVAILABLE, PLATFORM;
    /// Something went wrong inside PiCloud.
    Internal: "internal", INTERNAL_SERVER_ERROR, PLATFORM;
    /// The MQTT broker did not take a message.
    MqttFailed: "mqtt-failed", BAD_GATEWAY, PLATFORM;
    /// The server has as many calls as it can take.
    Saturated: "saturated", SERVICE_UNAVAILABLE, PLATFORM;
    /// The server is shutting down.
    ShuttingDown: "shutting-down", SERVICE_UNAVAILABLE, PLATFORM;
    /// Nothing is served at this address.
    RouteNotFound: "route-not-found", NOT_FOUND, None;
    /// The address does not support this method.
    MethodNotAllowed: "method-not-allowed", METHOD_NOT_ALLOWED, None;
    /// The request's body is larger than allowed.
    BodyTooLarge: "body-too-large", PAYLOAD_TOO_LARGE, None;
    /// The request's body did not arrive whole.
    BodyIncomplete: "body-incomplete", BAD_REQUEST, None;
    /// The request's body did not arrive in time.
    BodyTimeout: "body-timeout", REQUEST_TIMEOUT, None;
    /// The request is not understood.
    RequestInvalid: "request-invalid", BAD_REQUEST, None;
    /// The media type of the body is not supported here.
    MediaTypeUnsupported: "media-type-unsupported", UNSUPPORTED_MEDIA_TYPE, None;
    /// The signature of the webhook is missing or wrong.
    SignatureInvalid: "signature-invalid", UNAUTHORIZED, None;
    /// The webhook cannot be checked at present.
    WebhookUnavailable: "webhook-unavailable", SERVICE_UNAVAILABLE, None;
    /// A token is needed.
    Unauthorized: "unauthorized", UNAUTHORIZED, None;
    /// The Host header names another host.
    HostForbidden: "host-forbidden", MISDIRECTED_REQUEST, None;
    /// A web page of another origin may not do this.
    OriginForbidden: "origin-forbidden", FORBIDDEN, None;
    /// There is no such app.
    AppNotFound: "app-not-found", NOT_FOUND, None;
    /// There is no such script.
    ScriptNotFound: "script-not-found", NOT_FOUND, None;
    /// The script has no such version.
    VersionNotFound: "version-not-found", NOT_FOUND, None;
    /// There is no record of such an execution.
    ExecutionNotFound: "execution-not-found", NOT_FOUND, None;
    /// There is no answer yet.
    AnswerPending: "answer-pending", NOT_FOUND, None;
    /// The call was cancelled.
    Cancelled: "cancelled", GONE, None;
    /// The execution cannot be cancelled.
    NotCancellable: "not-cancellable", CONFLICT, None;
    /// The idempotency key is not understood.
    IdempotencyKeyInvalid: "idempotency-key-invalid", BAD_REQUEST, None;
    /// The call with this idempotency key is still under way.
    IdempotencyKeyBusy: "idempotency-key-busy", CONFLICT, None;
    /// The idempotency key belongs to another request.
    IdempotencyKeyReused: "idempotency-key-reused", UNPROCESSABLE_ENTITY, None;
    /// There is no such key.
    KeyNotFound: "key-not-found", NOT_FOUND, None;
    /// There is no such trigger.
    TriggerNotFound: "trigger-not-found", NOT_FOUND, None;
    /// There is no such secret.
    SecretNotFound: "secret-not-found", NOT_FOUND, None;
    /// There is no such configuration value.
    ConfigNotFound: "config-not-found", NOT_FOUND, None;
    /// There is no such webhook.
    WebhookNotFound: "webhook-not-found", NOT_FOUND, None;
    /// There is no such event.
    EventNotFound: "event-not-found", NOT_FOUND, None;
    /// The trigger is not understood.
    TriggerInvalid: "trigger-invalid", UNPROCESSABLE_ENTITY, None;
    /// The app has as many triggers as it may.
    TooManyTriggers: "too-many-triggers", CONFLICT, None;
    /// The event is not understood.
    EventInvalid: "event-invalid", UNPROCESSABLE_ENTITY, None;
    /// The event is larger than allowed.
    EventTooLarge: "event-too-large", PAYLOAD_TOO_LARGE, None;
    /// The event is running, or has another state than this needs.
    EventBusy: "event-busy", CONFLICT, None;
    /// The policy is not understood.
    PolicyInvalid: "policy-invalid", UNPROCESSABLE_ENTITY, None;
    /// The secret is too short, or no text.
    SecretInvalid: "secret-invalid", UNPROCESSABLE_ENTITY, None;
    /// The configuration value is not JSON.
    ConfigInvalid: "config-invalid", UNPROCESSABLE_ENTITY, None;
    /// The app has as many secrets or configuration values as it may.
    TooManySettings: "too-many-settings", CONFLICT, None;
    /// The name is not allowed.
    NameInvalid: "name-invalid", BAD_REQUEST, None;
    /// A parameter of the query is not understood.
    QueryInvalid: "query-invalid", BAD_REQUEST, None;
    /// The source is not UTF-8.
    SourceInvalid: "source-invalid", UNPROCESSABLE_ENTITY, None;
    /// The source is longer than allowed.
    SourceTooLarge: "source-too-large", PAYLOAD_TOO_LARGE, None;
    /// The script does not compile.
    CompileFailed: "compile-failed", UNPROCESSABLE_ENTITY, None;
    /// The script's top level failed.
    TopLevelFailed: "top-level-failed", UNPROCESSABLE_ENTITY, None;
    /// The script's top level reached a limit.
    TopLevelLimit: "top-level-limit", UNPROCESSABLE_ENTITY, None;
    /// The precondition of the request does not hold.
    PreconditionFailed: "precondition-failed", PRECONDITION_FAILED, None;
    /// The key is empty or too long.
    KvKeyInvalid: "kv-key-invalid", BAD_REQUEST, None;
    /// The value is larger than allowed.
    KvValueTooLarge: "kv-value-too-large", PAYLOAD_TOO_LARGE, None;
    /// The value is not JSON.
    KvValueInvalid: "kv-value-invalid", UNPROCESSABLE_ENTITY, None;
}

impl From<Code> for &'static str {
    fn from(code: Code) -> Self {
        code.as_str()
    }
}

impl TryFrom<String> for Code {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == name)
            .ok_or_else(|| format!("no code {name:?}"))
    }
}

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
            retryable: code.fault().map(|_| code.status() == StatusCode::SERVICE_UNAVAILABLE),
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
            Code::Unauthorized => Some("Bearer realm=\"picloud\""),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_serialisation() {
        for code in Code::ALL {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<Code>(&text).unwrap(), *code);
        }
    }

    #[test]
    fn every_page_starts_with_its_code() {
        for code in Code::ALL {
            let name = code.as_str();
            assert!(code.page().starts_with(&format!("# {name}\n")), "docs/errors/{name}.md");
        }
    }
}
