//! The calls of one tree: the call that came from outside, the scripts that it calls, and those that they call.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use picloud_sdk_wit::picloud::sdk::scripts::{Error, Request};
use uuid::Uuid;

use super::Callees;
use crate::active::{Active, ActiveSet};
use crate::call::{Callee, Cost, ExecRequest, Failure, HttpCall, Outcome, Payload};
use crate::limits::Limits;
use crate::problem::Code;
use crate::services::bound;

/// Longest path and longest query, in bytes.
const MAX_TARGET: usize = 8192;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Bytes of all header names and values of a request.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// The longest name that is repeated in an error; no script has a longer one.
const MAX_NAME: usize = 64;

/// Finds scripts, makes requests for them, and keeps what became of those. All calls of a tree share what it holds.
#[derive(Clone)]
pub(crate) struct ScriptsSession {
    active: Arc<Active>,
    limits: Arc<Limits>,
    /// None while a script is loaded.
    callees: Option<Arc<dyn Callees>>,
    tree: Arc<Tree>,
    /// How many sandboxes for callees the chain that leads here has.
    held: usize,
}

#[derive(Default)]
struct Tree {
    /// The active set when the first script was called: each name means one version in the whole tree.
    set: OnceLock<Arc<ActiveSet>>,
    begun: Mutex<Vec<Begun>>,
}

/// A call that has begun, and how it ended.
struct Begun {
    /// Without what was sent with it, which would take memory until the tree has ended.
    request: ExecRequest,
    started_ms: u64,
    outcome: Option<Outcome>,
}

impl ScriptsSession {
    /// The session of a load; that of a call is opened after it.
    pub(crate) fn new(active: Arc<Active>, limits: Arc<Limits>) -> Self {
        Self { active, limits, callees: None, tree: Arc::default(), held: 0 }
    }

    /// Let the call reach other scripts.
    pub(crate) fn open(&mut self, callees: Arc<dyn Callees>) {
        self.callees = Some(callees);
    }

    /// The session of a call that the call of this one has made.
    pub(crate) fn deeper(&self) -> Self {
        Self { held: self.held + 1, ..self.clone() }
    }

    /// How many sandboxes for callees the chain that leads here has.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Count a call, and make its request.
    pub(super) fn prepare(
        &self,
        caller: &ExecRequest,
        deadline: Instant,
        name: &str,
        request: Request,
    ) -> Result<(Arc<dyn Callees>, Arc<ExecRequest>), Error> {
        let callees = self.callees.clone().ok_or(Error::NoCall)?;
        if self.begun().len() as u64 >= self.limits.calls {
            return Err(Error::TooManyCalls(bound(self.limits.calls)));
        }
        let longest = callees.longest_chain();
        if self.held >= longest {
            return Err(Error::ChainTooLong(bound(longest as u64)));
        }
        let set = self.tree.set.get_or_init(|| Arc::clone(&self.active.current()));
        let unknown = || Error::ScriptUnknown(name[..name.floor_char_boundary(MAX_NAME)].to_owned());
        let app = set.app(caller.script.app_id).ok_or_else(unknown)?;
        let found = app.scripts.get(name).ok_or_else(unknown)?;
        if !found.handles_requests {
            return Err(Error::NoHandler(found.script.script.to_string()));
        }
        let call = http_call(request, caller, app.limits.request_body_bytes)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        let limits = Limits { deadline_ms: app.limits.deadline_ms.min(left_ms), ..*app.limits };
        let execution_id = Uuid::now_v7();
        let request = ExecRequest {
            script: found.version_for(execution_id).clone(),
            execution_id,
            root_execution_id: caller.root_execution_id,
            parent_execution_id: Some(caller.execution_id),
            trigger_depth: caller.trigger_depth.saturating_add(1),
            completes: None,
            keeps: None,
            principal: caller.principal.clone(),
            limits: Arc::new(limits),
            traceparent: caller.traceparent.clone(),
            payload: Payload::Call(call),
        };
        Ok((callees, Arc::new(request)))
    }

    /// Note that a call begins. Returns its place, for [`Self::end`].
    pub(crate) fn begin(&self, request: Arc<ExecRequest>, started_ms: u64) -> usize {
        let mut begun = self.begun();
        begun.push(Begun { request: without_content(&request), started_ms, outcome: None });
        begun.len() - 1
    }

    /// Note how a call ended.
    pub(crate) fn end(&self, place: usize, outcome: Outcome) {
        if let Some(begun) = self.begun().get_mut(place) {
            begun.outcome = Some(outcome);
        }
    }

    /// All calls of the tree, in the order in which they began. One that has no outcome was cut off with its caller.
    pub(crate) fn into_callees(self) -> Vec<Callee> {
        let cut_off = |limits: &Limits| {
            let waited = Duration::from_millis(limits.deadline_ms);
            let message =
                format!("the call took longer than the {} ms that its caller had left", waited.as_millis());
            Outcome::failed(Cost::default(), Failure::new(Code::DeadlineExceeded, message))
        };
        let begun = std::mem::take(&mut *self.begun());
        let callees = begun.into_iter().map(|begun| Callee {
            outcome: begun.outcome.unwrap_or_else(|| cut_off(&begun.request.limits)),
            request: begun.request,
            started_ms: begun.started_ms,
        });
        callees.collect()
    }

    fn begun(&self) -> MutexGuard<'_, Vec<Begun>> {
        self.tree.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A record needs no headers and no body, and they would take memory until the tree has ended.
fn without_content(request: &ExecRequest) -> ExecRequest {
    let payload = match &request.payload {
        Payload::Call(call) => Payload::Call(HttpCall {
            method: call.method.clone(),
            path: call.path.clone(),
            request_id: call.request_id.clone(),
            ..HttpCall::default()
        }),
        other => other.clone(),
    };
    ExecRequest { payload, ..request.clone() }
}

/// Check everything that a client could not have sent.
fn http_call(request: Request, caller: &ExecRequest, body_bytes: u64) -> Result<HttpCall, Error> {
    let Request { method, path, query, headers, body } = request;
    if body.len() as u64 > body_bytes {
        return Err(Error::BodyTooLarge(bound(body_bytes)));
    }
    let invalid = |part: &str| Error::RequestInvalid(part.to_owned());
    if Method::from_bytes(method.as_bytes()).is_err() || method.len() > MAX_NAME {
        return Err(invalid("method"));
    }
    let is_target = |text: &str, not: &[u8]| {
        text.len() <= MAX_TARGET && text.bytes().all(|byte| byte.is_ascii_graphic() && !not.contains(&byte))
    };
    if !path.starts_with('/') || !is_target(&path, b"?#") {
        return Err(invalid("path"));
    }
    if query.as_ref().is_some_and(|query| !is_target(query, b"#")) {
        return Err(invalid("query"));
    }
    let request_id = caller
        .payload
        .request()
        .map_or_else(|| caller.execution_id.to_string(), |call| call.request_id.clone());
    Ok(HttpCall {
        method,
        path,
        route: crate::call::BUILT_IN_ROUTE.into(),
        query,
        params: Vec::new(),
        headers: header_map(headers).ok_or_else(|| invalid("headers"))?,
        body: body.into(),
        client_ip: None,
        request_id,
    })
}

fn header_map(pairs: Vec<(String, String)>) -> Option<HeaderMap> {
    let bytes = pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if pairs.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return None;
    }
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        map.append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    Some(map)
}
