//! An HTTP request becomes a call.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use uuid::Uuid;

use crate::call::{ExecRequest, HttpCall, Payload, Principal, ScriptRef};
use crate::limits::Limits;
use crate::quota::Quotas;

/// A request id of a caller is taken over up to this length, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// The script that a request leads to.
pub(super) struct Target {
    /// What the call will be known by.
    pub(super) execution_id: Uuid,
    /// The version that it goes to.
    pub(super) script: Arc<ScriptRef>,
    pub(super) limits: Arc<Limits>,
    pub(super) quotas: Arc<Quotas>,
    /// The path below the built-in route, or the whole path for another route; starting with `/`.
    pub(super) rest: String,
    /// The route, as it is written.
    pub(super) route: Arc<str>,
    /// Its parameters, decoded.
    pub(super) params: Vec<(String, String)>,
}

/// Who calls, and from where.
pub(super) struct Client {
    pub(super) ip: IpAddr,
    pub(super) principal: Option<Principal>,
}

/// Put the call together.
pub(super) fn to_call(head: Parts, body: Bytes, target: Target, client: Client) -> ExecRequest {
    let Target { execution_id, script, limits, rest, route, params, .. } = target;
    let traceparent = traceparent(&head.headers);
    let call = HttpCall {
        method: head.method.as_str().to_owned(),
        path: rest,
        route,
        query: head.uri.query().map(str::to_owned),
        params,
        request_id: request_id(&head.headers).unwrap_or_else(|| execution_id.to_string()),
        headers: head.headers,
        body,
        client_ip: Some(client.ip),
    };
    let request = ExecRequest::root(script, execution_id, limits, Payload::Http(call));
    ExecRequest { principal: client.principal, traceparent, ..request }
}

/// The caller's `X-Request-Id`, if it is something that can be logged and sent back.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let fine = !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    fine.then(|| id.to_owned())
}

/// The caller's `traceparent`, if it has the form of the W3C's Trace Context: version, trace id, parent id, flags.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<_> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let lengths = parts.iter().map(|part| part.len()).collect::<Vec<_>>();
    (lengths == [2, 32, 16, 2] && parts.iter().all(|part| is_hex(part))).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_request_id_is_taken_over_only_if_harmless() {
        assert_eq!(request_id(&headers("x-request-id", "abc-1")), Some("abc-1".to_owned()));
        for bad in ["", "a b", &"x".repeat(MAX_REQUEST_ID + 1)] {
            assert_eq!(request_id(&headers("x-request-id", bad)), None);
        }
    }

    #[test]
    fn a_traceparent_is_taken_over_only_if_well_formed() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(&headers("traceparent", good)).as_deref(), Some(good));
        for bad in ["", "00-xyz", &good.to_uppercase(), &format!("{good}-1")] {
            assert_eq!(traceparent(&headers("traceparent", bad)), None);
        }
    }
}
