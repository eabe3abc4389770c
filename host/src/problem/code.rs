//! The table of stable codes.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::call::Fault;

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
                match self { $(Self::$variant => include_str!(concat!("../../../docs/errors/", $name, ".md")),)+ }
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
    /// The app has used up what it may have at present.
    QuotaExceeded: "quota-exceeded", TOO_MANY_REQUESTS, LIMIT;
    /// The app has as much in KV as it may.
    KvQuotaExceeded: "kv-quota-exceeded", INSUFFICIENT_STORAGE, LIMIT;
    /// The app has as many stored events as it may.
    EventsQuotaExceeded: "events-quota-exceeded", INSUFFICIENT_STORAGE, LIMIT;
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
    /// The callback URL did not take the answer.
    CallbackFailed: "callback-failed", BAD_GATEWAY, PLATFORM;
    /// The server has as much to do as it can take.
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
    /// The signature is missing or wrong.
    SignatureInvalid: "signature-invalid", UNAUTHORIZED, None;
    /// The webhook cannot be checked at present.
    WebhookUnavailable: "webhook-unavailable", SERVICE_UNAVAILABLE, None;
    /// A token is needed.
    Unauthorized: "unauthorized", UNAUTHORIZED, None;
    /// A name and its password are needed.
    CredentialsInvalid: "credentials-invalid", UNAUTHORIZED, None;
    /// There is no user with this name and password.
    LoginFailed: "login-failed", UNAUTHORIZED, None;
    /// There can be no such session here.
    SessionUnavailable: "session-unavailable", CONFLICT, None;
    /// The request does not show that a page of the server has sent it.
    CsrfInvalid: "csrf-invalid", FORBIDDEN, None;
    /// Who is there cannot be checked at present.
    AccessUnavailable: "access-unavailable", SERVICE_UNAVAILABLE, None;
    /// The token does not allow this.
    Forbidden: "forbidden", FORBIDDEN, None;
    /// There were too many attempts.
    TooManyAttempts: "too-many-attempts", TOO_MANY_REQUESTS, None;
    /// There is no such token.
    TokenNotFound: "token-not-found", NOT_FOUND, None;
    /// The token to be made is not understood.
    TokenInvalid: "token-invalid", UNPROCESSABLE_ENTITY, None;
    /// The server has as many tokens as it may.
    TooManyTokens: "too-many-tokens", CONFLICT, None;
    /// There is no such user.
    UserNotFound: "user-not-found", NOT_FOUND, None;
    /// The user is not understood.
    UserInvalid: "user-invalid", UNPROCESSABLE_ENTITY, None;
    /// The password is too short or too long.
    PasswordInvalid: "password-invalid", UNPROCESSABLE_ENTITY, None;
    /// The server has as many users as it may.
    TooManyUsers: "too-many-users", CONFLICT, None;
    /// The name is taken.
    NameTaken: "name-taken", CONFLICT, None;
    /// Nobody could do everything any more.
    LastAdmin: "last-admin", CONFLICT, None;
    /// The Host header names another host.
    HostForbidden: "host-forbidden", MISDIRECTED_REQUEST, None;
    /// A web page of another origin may not do this.
    OriginForbidden: "origin-forbidden", FORBIDDEN, None;
    /// There is no such app.
    AppNotFound: "app-not-found", NOT_FOUND, None;
    /// The server has as many apps as it may.
    TooManyApps: "too-many-apps", CONFLICT, None;
    /// The settings of the app are not valid.
    AppInvalid: "app-invalid", UNPROCESSABLE_ENTITY, None;
    /// The archive is not understood.
    ArchiveInvalid: "archive-invalid", UNPROCESSABLE_ENTITY, None;
    /// What is to be deleted was not named twice.
    ConfirmationMissing: "confirmation-missing", BAD_REQUEST, None;
    /// There is no such route.
    RouteUnknown: "route-unknown", NOT_FOUND, None;
    /// The route is not understood.
    RouteInvalid: "route-invalid", UNPROCESSABLE_ENTITY, None;
    /// What the route takes is taken.
    RouteConflict: "route-conflict", CONFLICT, None;
    /// The app has as many routes as it may.
    TooManyRoutes: "too-many-routes", CONFLICT, None;
    /// Who has to be there is not understood.
    AccessInvalid: "access-invalid", UNPROCESSABLE_ENTITY, None;
    /// There is no such script.
    ScriptNotFound: "script-not-found", NOT_FOUND, None;
    /// The script has no such version.
    VersionNotFound: "version-not-found", NOT_FOUND, None;
    /// No canary of the script runs.
    CanaryNotFound: "canary-not-found", NOT_FOUND, None;
    /// The canary is not understood, or cannot be.
    CanaryInvalid: "canary-invalid", UNPROCESSABLE_ENTITY, None;
    /// The version to be made is not understood.
    VersionInvalid: "version-invalid", UNPROCESSABLE_ENTITY, None;
    /// The version does not answer its smoke call well.
    SmokeFailed: "smoke-failed", UNPROCESSABLE_ENTITY, None;
    /// There is no record of such an execution.
    ExecutionNotFound: "execution-not-found", NOT_FOUND, None;
    /// There is no answer yet.
    AnswerPending: "answer-pending", NOT_FOUND, None;
    /// The call was cancelled.
    Cancelled: "cancelled", GONE, None;
    /// The answer cannot be told to the callback URL.
    CallbackRefused: "callback-refused", BAD_REQUEST, None;
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
