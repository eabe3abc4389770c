//! A request whose caller fetches the answer later: how it waits as an event, and becomes a call again.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::answer::full_path;
use crate::call::{EventCall, ExecRequest, Failure, HttpCall, Principal, header_list};
use crate::event::{Cause, EventKind, Lane, NewEvent};
use crate::problem::Code;
use crate::trigger::DEFAULT_ATTEMPTS;

/// The `type` of such an event.
pub const DEFERRED_TYPE: &str = "picloud.http";

/// The data of such an event.
#[derive(Debug, Serialize, Deserialize)]
struct Deferred {
    method: String,
    path: String,
    query: Option<String>,
    route: String,
    params: Vec<(String, String)>,
    #[serde(with = "header_list")]
    headers: HeaderMap,
    /// In base64.
    body: String,
    client_ip: Option<IpAddr>,
    request_id: String,
    traceparent: Option<String>,
    /// Who has called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    principal: Option<Principal>,
    /// The URL that is told of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback: Option<String>,
}

/// The event for a request, whose answer is told to the URL `callback`; none if the call is for an event. Its id is that of
/// the execution.
pub(crate) fn to_event(request: &ExecRequest, callback: Option<&str>, now_ms: u64) -> Option<NewEvent> {
    let call = request.payload.request()?;
    let deferred = Deferred {
        method: call.method.clone(),
        path: call.path.clone(),
        query: call.query.clone(),
        route: call.route.to_string(),
        params: call.params.clone(),
        headers: call.headers.clone(),
        body: STANDARD.encode(&call.body),
        client_ip: call.client_ip,
        request_id: call.request_id.clone(),
        traceparent: request.traceparent.clone(),
        principal: request.principal.clone(),
        callback: callback.map(str::to_owned),
    };
    let script = &request.script;
    Some(NewEvent {
        id: request.execution_id,
        app: script.app_id,
        trigger: None,
        script: script.script.clone(),
        lane: Lane::Script(script.script.clone()),
        call: EventCall {
            id: request.execution_id.to_string(),
            source: format!("/{}/{}", script.app, script.script),
            kind: DEFERRED_TYPE.to_owned(),
            subject: Some(full_path(request, &call.path)),
            time_ms: now_ms,
            // Strings, numbers and lists of them can always be written.
            data: serde_json::to_string(&deferred).unwrap_or_default().into(),
            trigger: EventKind::Http,
        },
        due_ms: now_ms,
        max_attempts: DEFAULT_ATTEMPTS,
        dedupe_key: None,
        cause: Cause { root: request.root_execution_id, parent: None, depth: request.trigger_depth },
    })
}

/// What an event holds of a request.
pub(crate) struct Stored {
    /// The request.
    pub(crate) call: HttpCall,
    /// The trace that it belongs to.
    pub(crate) traceparent: Option<String>,
    /// Who has called.
    pub(crate) principal: Option<Principal>,
    /// The URL that is told of the answer.
    pub(crate) callback: Option<String>,
}

/// The request of an event.
///
/// # Errors
///
/// The data is no request: `internal`.
pub(crate) fn stored(event: &NewEvent) -> Result<Stored, Failure> {
    let damaged = |_| Failure::new(Code::Internal, "the stored request cannot be read");
    let deferred: Deferred =
        serde_json::from_str(&event.call.data).map_err(|error| damaged(error.to_string()))?;
    let body = STANDARD.decode(&deferred.body).map_err(|error| damaged(error.to_string()))?;
    let call = HttpCall {
        method: deferred.method,
        path: deferred.path,
        route: deferred.route.into(),
        query: deferred.query,
        params: deferred.params,
        headers: deferred.headers,
        body: body.into(),
        client_ip: deferred.client_ip,
        request_id: deferred.request_id,
    };
    let Deferred { traceparent, principal, callback, .. } = deferred;
    Ok(Stored { call, traceparent, principal, callback })
}

/// The event that tells how the call of this one has ended; none if nobody is to be told. It belongs into the transaction
/// that ends it.
#[must_use]
pub fn callback(event: &NewEvent, now_ms: u64) -> Option<NewEvent> {
    #[derive(Deserialize)]
    struct Whole {
        callback: Option<String>,
    }
    let whole: Whole = serde_json::from_str(&event.call.data).ok()?;
    Some(crate::callback::event(event, &whole.callback?, now_ms))
}

/// What may be shown of the data of such an event: neither headers nor body, which are the caller's. JSON text.
#[must_use]
pub fn outline(data: &str) -> String {
    #[derive(Deserialize)]
    struct Whole {
        method: String,
        path: String,
        query: Option<String>,
        body: String,
        request_id: String,
    }
    let Ok(whole) = serde_json::from_str::<Whole>(data) else { return "null".to_owned() };
    let padding = whole.body.bytes().rev().take_while(|byte| *byte == b'=').count();
    serde_json::json!({
        "method": whole.method,
        "path": whole.path,
        "query": whole.query,
        "request_id": whole.request_id,
        "body_bytes": whole.body.len() / 4 * 3 - padding,
    })
    .to_string()
}
