//! Requests with an idempotency key: which one was there before, and which is under way.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use crate::answer::{Digest256, Idempotency, full_path};
use crate::call::{AppId, ExecRequest, HttpCall, Principal};
use crate::problem::{Code, Problem};

/// A key, with the app and the script that it is unique for.
type Scope = (AppId, Arc<str>, Arc<str>);

/// The keys of requests that are under way in this process, and so anywhere.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashSet<Scope>>);

/// The right to make the call of a key. Given back when it is dropped, whatever ends the call.
#[derive(Debug)]
pub(super) struct Claim {
    under_way: Arc<UnderWay>,
    scope: Scope,
    sameness: Sameness,
}

impl Claim {
    /// Take the right, before looking for what is stored.
    pub(super) fn take(
        under_way: &Arc<UnderWay>,
        request: &ExecRequest,
        key: Arc<str>,
    ) -> Result<Self, Problem> {
        let call = request.payload.request().ok_or_else(|| Problem::new(Code::Internal))?;
        let scope = (request.script.app_id, request.script.script.clone(), key);
        if !under_way.0.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.clone()) {
            return Err(Problem::new(Code::IdempotencyKeyBusy).retry_after(1));
        }
        let sameness = Sameness::of(&full_path(request, &call.path), request.principal.as_ref(), call);
        Ok(Self { under_way: under_way.clone(), scope, sameness })
    }

    /// The key.
    pub(super) fn key(&self) -> &Arc<str> {
        &self.scope.2
    }

    /// What is kept of the request.
    pub(super) fn idempotency(&self, salt: [u8; 16]) -> Idempotency {
        Idempotency { key: self.key().clone(), fingerprint: self.sameness.fingerprint(), salt }
    }

    /// Whether a request is the one that this was kept of.
    pub(super) fn is_repetition_of(&self, kept: &Idempotency) -> bool {
        self.sameness.fingerprint() == kept.fingerprint
    }

    /// The key to the answer, for whoever has made the request.
    pub(super) fn access_key(&self, salt: &[u8; 16]) -> String {
        self.sameness.access_key(salt)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.scope);
    }
}

/// Headers that say nothing about who asks or for what, and that may be others when a request is repeated.
const CHANGING: &[&str] = &[
    "accept-encoding",
    "cache-control",
    "connection",
    "content-length",
    "date",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "pragma",
    "prefer",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "user-agent",
    "via",
    "x-real-ip",
    "x-request-id",
    // Of those that proxies add only what is about the connection: others say who the caller is.
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-forwarded-ssl",
];

/// A hash of everything that must be the same in a repeated request. It is not stored itself: what is made of it is not
/// to be found out from what else is made of it.
#[derive(Debug)]
struct Sameness(Digest256);

impl Sameness {
    fn of(path: &str, principal: Option<&Principal>, call: &HttpCall) -> Self {
        let mut hash = Sha256::new();
        // Each part comes after its length, so that none can pass for two.
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(call.method.as_bytes());
        add(path.as_bytes());
        add(call.query.as_ref().map_or("", |query| query).as_bytes());
        add(&[u8::from(call.query.is_some())]);
        // What one principal is told is not for another one.
        add(principal.map_or("", |principal| &principal.kind).as_bytes());
        add(principal.map_or("", |principal| &principal.name).as_bytes());
        // Any of them may be what a script lets its caller in by.
        let mut names: Vec<&str> = call.headers.keys().map(http::HeaderName::as_str).collect();
        names.retain(|name| !CHANGING.contains(name));
        names.sort_unstable();
        for name in names {
            let values = values(&call.headers, name);
            add(name.as_bytes());
            add(&(values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| add(value));
        }
        add(b"");
        add(&call.body);
        Self(hash.finalize().into())
    }

    fn fingerprint(&self) -> Digest256 {
        self.derived(b"picloud idempotency fingerprint", &[])
    }

    /// 128 bits as text.
    fn access_key(&self, salt: &[u8; 16]) -> String {
        to_key(&self.derived(b"picloud access to an answer", salt))
    }

    fn derived(&self, what: &[u8], salt: &[u8]) -> Digest256 {
        Sha256::new().chain_update(what).chain_update(salt).chain_update(self.0).finalize().into()
    }
}

/// The first 128 bits as text.
pub(super) fn to_key(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&bytes[..bytes.len().min(16)])
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn call(change: impl FnOnce(&mut HttpCall)) -> Digest256 {
        let mut call = HttpCall { method: "POST".into(), body: "b".into(), ..HttpCall::default() };
        change(&mut call);
        Sameness::of("/default/s", None, &call).fingerprint()
    }

    #[test]
    fn whatever_matters_changes_the_fingerprint_and_nothing_else_does() {
        let header = |name: &'static str, value: &'static str| {
            move |call: &mut HttpCall| {
                call.headers.append(name, HeaderValue::from_static(value));
            }
        };
        let ann = Principal { kind: "token".into(), name: "ann".into() };
        let post = HttpCall { method: "POST".into(), body: "b".into(), ..HttpCall::default() };
        let mut all = vec![
            call(|_| ()),
            call(|call| call.method = "PATCH".into()),
            call(|call| call.query = Some(String::new())),
            call(|call| call.query = Some("b".into())),
            call(|call| call.body = "c".into()),
            call(|call| call.body = "".into()),
            call(header("authorization", "b")),
            call(header("cookie", "b")),
            call(header("x-api-key", "b")),
            call(header("x-forwarded-user", "b")),
            Sameness::of("/default/s", Some(&ann), &post).fingerprint(),
            Sameness::of(
                "/default/t",
                None,
                &HttpCall { method: "POST".into(), body: "b".into(), ..HttpCall::default() },
            )
            .fingerprint(),
        ];
        let others = [
            call(header("user-agent", "b")),
            call(header("x-forwarded-for", "b")),
            call(|call| call.request_id = "r".into()),
        ];
        assert_eq!(others, [all[0]; 3]);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn the_key_to_the_answer_needs_the_request_and_the_salt() {
        let sameness = |body: &'static str| {
            Sameness::of("/", None, &HttpCall { body: body.into(), ..HttpCall::default() })
        };
        let key = sameness("a").access_key(&[1; 16]);
        assert_eq!((key.len(), sameness("a").access_key(&[1; 16])), (22, key.clone()));
        assert_ne!(sameness("b").access_key(&[1; 16]), key);
        assert_ne!(sameness("a").access_key(&[2; 16]), key);
    }
}
