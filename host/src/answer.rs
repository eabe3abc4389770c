//! Answers that are kept: those that callers fetch later, and those that a repeated request gets again.
//!
//! An answer becomes durable in the transaction of its call's effects, so that there is one if and only if the call has
//! happened.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::call::{Answer, AppId, BUILT_IN_ROUTE, ExecRequest, Failure, header_list};
use crate::event::{EventOp, NewEvent};
use crate::problem::Problem;

const EXECUTION_ID: HeaderName = HeaderName::from_static("picloud-execution-id");
const FUEL_USED: HeaderName = HeaderName::from_static("picloud-fuel-used");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A SHA-256.
pub type Digest256 = [u8; 32];

/// What an answer to be kept belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAnswer {
    /// UUIDv7 of the execution; that of a call whose caller fetches the answer later is its event's, too.
    pub id: Uuid,
    /// Whose it is.
    pub app: AppId,
    /// The script that is called, by name.
    pub script: Arc<str>,
    /// When the request came, in milliseconds since the Unix epoch.
    pub accepted_ms: u64,
    /// Of the key with which the caller fetches the answer; none if the caller waits for it.
    pub access: Option<Digest256>,
    /// What tells a repetition of the request.
    pub idempotency: Option<Idempotency>,
    /// Bytes of the request that wait with it.
    pub request_bytes: u64,
}

/// What tells a repetition of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The key that came with it, unique for the script.
    pub key: Arc<str>,
    /// Of everything that must be the same.
    pub fingerprint: Digest256,
    /// Random. Whoever repeats the request makes the key to its answer of it once more, so that it need not be stored.
    pub salt: [u8; 16],
}

/// How the answer of a call is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepAnswer {
    /// It is expected since the call was accepted.
    Expected {
        /// The event that tells somebody of it, if somebody is to be told.
        tells: Option<Box<NewEvent>>,
    },
    /// Nothing is known of it yet, and nothing will be if the call fails.
    New(Box<NewAnswer>),
}

/// What a transaction does to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerOp {
    /// There will be one.
    Expect(Box<NewAnswer>),
    /// This is it.
    Keep {
        /// The execution.
        id: Uuid,
        /// The answer.
        answer: Box<Answer>,
        /// Until when it is kept, in milliseconds since the Unix epoch.
        expires_ms: u64,
        /// Whether the same request may run once more, with the same idempotency key: it has failed.
        frees_key: bool,
    },
}

impl AnswerOp {
    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        const FIXED: usize = 512;
        match self {
            Self::Expect(_) => FIXED,
            Self::Keep { answer, .. } => FIXED + answer.size(),
        }
    }

    /// The execution.
    #[must_use]
    pub fn id(&self) -> Uuid {
        match self {
            Self::Expect(new) => new.id,
            Self::Keep { id, .. } => *id,
        }
    }
}

/// A call whose answer is kept, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCall {
    /// UUIDv7 of the execution.
    pub id: Uuid,
    /// The script that is called, by name.
    pub script: Arc<str>,
    /// When the request came, in milliseconds since the Unix epoch.
    pub accepted_ms: u64,
    /// See [`NewAnswer::access`].
    pub access: Option<Digest256>,
    /// How far it is.
    pub progress: Progress,
}

/// How far a call is whose answer is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It waits for its turn, after so many attempts that did not get to an end.
    Queued(u32),
    /// It runs; the attempts are counted from 1.
    Running(u32),
    /// There is an answer.
    Done {
        /// The answer's status.
        status: u16,
        /// Until when it is kept, in milliseconds since the Unix epoch.
        expires_ms: u64,
    },
    /// It was taken back before it ran.
    Cancelled,
}

/// How much an app keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptTotals {
    /// Calls that wait or run and whose callers fetch the answers later.
    pub calls: u64,
    /// All answers and all requests that wait, in bytes, each with 4 KiB more than it has.
    pub bytes: u64,
}

impl Answer {
    /// Bytes of its headers and its body.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        headers.sum::<usize>() + self.body.len()
    }

    /// The headers as JSON text, as they are stored.
    #[must_use]
    pub fn headers_to_json(&self) -> String {
        let mut text = Vec::new();
        // Pairs of strings can always be written, and a vector can always be written to.
        let _ = header_list::serialize(&self.headers, &mut serde_json::Serializer::new(&mut text));
        String::from_utf8(text).unwrap_or_default()
    }

    /// The inverse of [`Self::headers_to_json`].
    ///
    /// # Errors
    ///
    /// The text is something else.
    pub fn headers_from_json(text: &str) -> serde_json::Result<http::HeaderMap> {
        header_list::deserialize(&mut serde_json::Deserializer::from_str(text))
    }

    /// The answer to a call as its caller gets it: what the script said or the problem, with the headers that tell which
    /// execution it was and what it used.
    #[must_use]
    pub fn of_call(request: &ExecRequest, result: &Result<Self, Failure>, fuel: u64) -> Self {
        let mut answer = match result {
            Ok(answer) => {
                let mut answer = answer.clone();
                answer.headers.insert(EXECUTION_ID, id_value(request.execution_id));
                answer
            }
            Err(failure) => {
                let instance = request.payload.request().map(|call| full_path(request, &call.path));
                Self::of_failure(failure, request.execution_id, instance)
            }
        };
        answer.headers.insert(FUEL_USED, HeaderValue::from(fuel));
        if let Some(call) = request.payload.request()
            && let Ok(id) = HeaderValue::from_str(&call.request_id)
        {
            answer.headers.insert(REQUEST_ID, id);
        }
        answer
    }

    /// The problem of a call, as its caller gets it.
    #[must_use]
    pub fn of_failure(failure: &Failure, execution_id: Uuid, instance: Option<String>) -> Self {
        let problem = Problem::of_failure(failure, execution_id);
        let mut answer = match instance {
            Some(path) => problem.instance(path),
            None => problem,
        }
        .answer();
        answer.headers.insert(EXECUTION_ID, id_value(execution_id));
        answer
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        // Checked when the answer was made.
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        *response.headers_mut() = self.headers;
        response
    }
}

impl ExecRequest {
    /// What becomes of the answer of a call that has succeeded.
    pub(crate) fn kept(&self, answer: &Result<Answer, Failure>, fuel: u64, now_ms: u64) -> Vec<AnswerOp> {
        let keep = || AnswerOp::Keep {
            id: self.execution_id,
            answer: Box::new(Answer::of_call(self, answer, fuel)),
            expires_ms: now_ms.saturating_add(self.limits.answer_kept_ms),
            frees_key: false,
        };
        match &self.keeps {
            None => Vec::new(),
            Some(KeepAnswer::Expected { .. }) => vec![keep()],
            Some(KeepAnswer::New(new)) => vec![AnswerOp::Expect(new.clone()), keep()],
        }
    }
}

impl KeepAnswer {
    /// The event that tells somebody of the answer, if somebody is to be told.
    pub(crate) fn tells(&self) -> Option<EventOp> {
        match self {
            Self::Expected { tells } => tells.clone().map(EventOp::Insert),
            Self::New(_) => None,
        }
    }
}

/// What is stored of the key with which a caller fetches an answer. It is random and long, so a slow hash would add
/// nothing.
#[must_use]
pub fn access_digest(key: &str) -> Digest256 {
    Sha256::digest(key.as_bytes()).into()
}

/// The path of a request, from what the script sees of it: all of it, or what is below the built-in route.
pub(crate) fn full_path(request: &ExecRequest, below: &str) -> String {
    if request.payload.request().is_some_and(|call| *call.route != *BUILT_IN_ROUTE) {
        return below.to_owned();
    }
    format!("/{}/{}{}", request.script.app, request.script.script, if below == "/" { "" } else { below })
}

fn id_value(id: Uuid) -> HeaderValue {
    let mut buffer = Uuid::encode_buffer();
    let text = id.hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_their_text() {
        let mut headers = http::HeaderMap::new();
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.append("set-cookie", HeaderValue::from_bytes(b"b=\xff").unwrap());
        let answer = Answer { status: 200, headers, body: "x".into() };
        assert_eq!(Answer::headers_from_json(&answer.headers_to_json()).unwrap(), answer.headers);
        assert_eq!(answer.size(), 10 + 3 + 10 + 3 + 1);
        assert!(Answer::headers_from_json("{}").is_err());
    }
}
