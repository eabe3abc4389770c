//! A call and its outcome as plain data: everything that crosses from the orchestrator to the executor and back.

pub(crate) mod header_list;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::answer::KeepAnswer;
use crate::event::{Cause, EventKind};
use crate::limits::Limits;
use crate::problem::Code;

/// The route that every script has.
pub const BUILT_IN_ROUTE: &str = "/{app}/{script}";

/// Identifies an app in storage. Never shown to users, who know apps by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppId(pub i64);

/// What stands for an app where scripts run that belong to none.
pub(crate) const NO_APP: AppId = AppId(0);

/// Identifies one immutable version of a script in storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionId(pub i64);

/// Which script version is called, with the names that records and the script itself see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptRef {
    /// The app that owns the script.
    pub app_id: AppId,
    /// The app's name.
    pub app: Arc<str>,
    /// The script's name.
    pub script: Arc<str>,
    /// The version in storage.
    pub version_id: VersionId,
    /// The version's number, counted from 1 for each script.
    pub version: u32,
    /// SHA-256 of the source: names the image, whichever version it belongs to.
    pub source_hash: SourceHash,
}

/// SHA-256 of a script's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceHash(pub [u8; 32]);

impl SourceHash {
    /// The hash of a source.
    #[must_use]
    pub fn of(source: &str) -> Self {
        Self(Sha256::digest(source.as_bytes()).into())
    }

    /// Lower-case hexadecimal, as in an `ETag`.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Who called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// `user` or `token`.
    pub kind: String,
    /// The user's or token's name.
    pub name: String,
}

/// One call, ready to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The script version to run.
    pub script: Arc<ScriptRef>,
    /// UUIDv7 of this execution.
    pub execution_id: Uuid,
    /// UUIDv7 of the execution at the root of the chain of triggers; this one for a direct call.
    pub root_execution_id: Uuid,
    /// The execution that made the event; none for a direct call and for events from outside.
    pub parent_execution_id: Option<Uuid>,
    /// 0 for a direct call, one more for each trigger hop.
    pub trigger_depth: u32,
    /// The stored event that this call handles: it is done when the effects of the call are committed, in the same
    /// transaction.
    pub completes: Option<Uuid>,
    /// How the answer is kept, if it is: in the same transaction, too.
    pub keeps: Option<KeepAnswer>,
    /// Who called, when that is known.
    pub principal: Option<Principal>,
    /// The limits that apply.
    pub limits: Arc<Limits>,
    /// The W3C trace context that came with the call, to pass on and to log.
    pub traceparent: Option<String>,
    /// What the call is for.
    pub payload: Payload,
}

impl ExecRequest {
    /// A call that nothing else has caused, by nobody who is known: the root of its chain. What such a call has beside that is
    /// put over it.
    #[must_use]
    pub fn root(script: Arc<ScriptRef>, execution_id: Uuid, limits: Arc<Limits>, payload: Payload) -> Self {
        Self {
            script,
            execution_id,
            root_execution_id: execution_id,
            parent_execution_id: None,
            trigger_depth: 0,
            completes: None,
            keeps: None,
            principal: None,
            limits,
            traceparent: None,
            payload,
        }
    }

    /// Where whatever this call causes comes from.
    #[must_use]
    pub fn cause(&self) -> Cause {
        Cause { root: self.root_execution_id, parent: Some(self.execution_id), depth: self.trigger_depth }
    }
}

/// What a call is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Answer an HTTP request.
    Http(HttpCall),
    /// Answer another script, as if it were an HTTP request.
    Call(HttpCall),
    /// Handle an event.
    Event(EventCall),
    /// Run the function of this name, which tests the script.
    Test(String),
}

impl Payload {
    /// The name of the kind of call, as records show it.
    #[must_use]
    pub fn trigger(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Call(_) => "call",
            Self::Event(event) => event.trigger.as_str(),
            Self::Test(_) => "test",
        }
    }

    /// The request to answer; none for an event or a test.
    #[must_use]
    pub fn request(&self) -> Option<&HttpCall> {
        match self {
            Self::Http(call) | Self::Call(call) => Some(call),
            Self::Event(_) | Self::Test(_) => None,
        }
    }
}

/// An HTTP request, as scripts see it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HttpCall {
    /// Upper case.
    pub method: String,
    /// The path below the route, not decoded, starting with `/`.
    pub path: String,
    /// The route that matched, such as `/{app}/{script}`.
    pub route: Arc<str>,
    /// Without the `?`, not decoded.
    pub query: Option<String>,
    /// Parameters of the route, decoded.
    pub params: Vec<(String, String)>,
    /// Names in lower case, in the order they came.
    #[serde(with = "header_list")]
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The caller's address.
    pub client_ip: Option<std::net::IpAddr>,
    /// What came as `X-Request-Id`, else the execution id.
    pub request_id: String,
}

/// An event, in the words of CloudEvents 1.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCall {
    /// Unique among the events of its source.
    pub id: String,
    /// Where it came from.
    pub source: String,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it happened to.
    pub subject: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// JSON text. Shared by all events of one change or message.
    pub data: Arc<str>,
    /// What made it.
    #[serde(default)]
    pub trigger: EventKind,
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The script's own error.
    Script,
    /// A limit was reached: fuel, memory, deadline, depth, size.
    Limit,
    /// Ours.
    Platform,
}

impl Fault {
    /// The word used in records, metrics and headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Limit => "limit",
            Self::Platform => "platform",
        }
    }
}

/// A place in a script's source; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code; it carries the fault and the usual status.
    pub code: Code,
    /// For the owner of the script. For a platform fault it says nothing about our insides.
    pub message: String,
    /// Where in the source, when that is known.
    pub position: Option<Position>,
    /// The status that the script asked for with `throw`.
    pub status: Option<u16>,
}

impl Failure {
    /// A failure that names no place in the source.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), position: None, status: None }
    }
}

/// What a successful call answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// 200..=599.
    pub status: u16,
    /// As the script gave them; already checked to be valid in HTTP.
    #[serde(with = "header_list")]
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// How a call ended and what it cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The answer, or why there is none. An event's handler answers 204 with nothing.
    pub result: Result<Answer, Failure>,
    /// What it cost.
    pub cost: Cost,
    /// What it logged.
    pub log: Vec<LogLine>,
    /// Log lines that were over the limit and are lost.
    pub log_dropped: u32,
    /// Whether the failure would come again just so: the call used nothing but its event, which stays the same.
    pub repeats: bool,
    /// The calls of other scripts that it led to, of the run that counted, in the order in which they began.
    pub callees: Vec<Callee>,
}

impl Outcome {
    /// A call that failed before it had a sandbox.
    #[must_use]
    pub fn failed(cost: Cost, failure: Failure) -> Self {
        Self {
            result: Err(failure),
            cost,
            log: Vec::new(),
            log_dropped: 0,
            repeats: false,
            callees: Vec::new(),
        }
    }

    /// The status of the answer, or of the problem that stands for it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.result {
            Ok(answer) => answer.status,
            Err(failure) => failure.status.unwrap_or_else(|| failure.code.status().as_u16()),
        }
    }

    /// Fuel of the call and of all that it has called.
    #[must_use]
    pub fn fuel(&self) -> u64 {
        self.callees.iter().fold(self.cost.fuel, |sum, callee| sum.saturating_add(callee.outcome.cost.fuel))
    }
}

/// A script that another script has called, and how that ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Callee {
    /// The call. What was sent with it, headers and body, is not kept.
    pub request: ExecRequest,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// How it ended. Its own callees are beside it, not in it, and its answer has no body.
    pub outcome: Outcome,
}

/// What a call cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Fuel of the run that counted (of the last one, if conflicts made it run again).
    pub fuel: u64,
    /// The most memory the sandbox had, in bytes.
    pub memory_bytes: u64,
    /// Microseconds spent waiting for admission.
    pub queue_us: u64,
    /// Microseconds from the start of the sandbox to its end, all runs together.
    pub sandbox_us: u64,
    /// Microseconds spent committing the effects.
    pub commit_us: u64,
    /// How many times a conflict made the call run again.
    pub reruns: u32,
}

/// One line that a script logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// How important it is.
    pub level: LogLevel,
    /// The text, without a line break at its end.
    pub message: String,
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// For whoever wrote the script.
    Debug,
    /// What went as it should.
    Info,
    /// What may need a look.
    Warn,
    /// What went wrong.
    Error,
}

impl LogLevel {
    /// The word used in records and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
