//! The client against servers of the test's own, on the loopback address.

mod redirects;
mod server;
mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, StatusCode};
use picloud_sdk_wit::picloud::sdk::http::{Error, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::policy::HttpPolicy;
use super::{Allowance, Bounds, Outbound, Outgoing};
use crate::call::AppId;
use server::{Server, serve};

/// What a test sends: as a script would.
fn request(method: &str, url: impl Into<String>) -> Request {
    Request { method: method.into(), url: url.into(), headers: Vec::new(), body: None, timeout_ms: None }
}

/// A policy of one rule for each.
fn policy(rules: serde_json::Value) -> HttpPolicy {
    let policy: HttpPolicy = serde_json::from_value(serde_json::json!({ "rules": rules })).unwrap();
    policy.normalised().unwrap()
}

/// Everything at this address.
fn all_of(server: &Server) -> HttpPolicy {
    policy(serde_json::json!([
        { "hosts": ["127.0.0.1"], "schemes": ["http", "https"], "ports": [server.port()], "private": true },
    ]))
}

fn within(ms: u64, response_bytes: u64) -> Bounds {
    let allowance = Arc::new(Allowance::new(u64::MAX));
    let until = Instant::now() + Duration::from_millis(ms);
    Bounds { app: AppId(1), until, response_bytes, allowance }
}

async fn send(outbound: &Outbound, policy: &HttpPolicy, request: Request) -> Result<Response, Error> {
    send_within(outbound, policy, request, within(10_000, 1000)).await
}

async fn send_within(
    outbound: &Outbound,
    policy: &HttpPolicy,
    request: Request,
    bounds: Bounds,
) -> Result<Response, Error> {
    let admitted = Outgoing::parse(request, 1 << 20)?.admit(policy)?;
    outbound.send(admitted, policy, bounds).await
}

#[track_caller]
fn failed(result: Result<Response, Error>, expected: &str) {
    match result {
        Err(Error::Failed(reason)) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_asked_for() {
    let echo = async |method: Method, headers: HeaderMap, body: Bytes| {
        let names: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        (StatusCode::IM_A_TEAPOT, [("x-a", "b")], format!("{method} {} {}", names.join(" "), body.len()))
    };
    let server = serve(Router::new().route("/echo", any(echo))).await;
    let mut request = request("PATCH", server.url("/echo?a=b#c"));
    request.headers = vec![("X-Twice".into(), "1".into()), ("x-twice".into(), "2".into())];
    request.body = Some(vec![0; 7]);
    let response = send(&Outbound::default(), &all_of(&server), request).await.unwrap();
    assert_eq!((response.status, &*response.url), (418, &*server.url("/echo?a=b")));
    assert!(response.headers.contains(&("x-a".to_owned(), "b".to_owned())));
    let body = String::from_utf8(response.body).unwrap();
    let expected = format!(
        "PATCH x-twice=1 x-twice=2 accept=*/* user-agent=picloud/{} host=127.0.0.1:{} content-length=7 7",
        env!("CARGO_PKG_VERSION"),
        server.port()
    );
    assert_eq!(body.split(' ').collect::<std::collections::BTreeSet<_>>(), expected.split(' ').collect());
}

#[tokio::test]
async fn a_response_is_read_up_to_its_limit() {
    let endless =
        || async { Body::from_stream(stream::repeat(Ok::<_, Infallible>(Bytes::from_static(&[1; 100])))) };
    let pieces = || async {
        let pieces = stream::iter((0..10).map(|_| Ok::<_, Infallible>(Bytes::from_static(&[1; 100]))));
        Body::from_stream(pieces)
    };
    let router = Router::new()
        .route("/exact", get(|| async { vec![0; 1000] }))
        .route("/over", get(|| async { vec![0; 1001] }))
        .route("/pieces", get(pieces))
        .route("/endless", get(endless));
    let server = serve(router).await;
    let (outbound, policy) = (Outbound::default(), all_of(&server));
    for path in ["/exact", "/pieces"] {
        let response = send(&outbound, &policy, request("GET", server.url(path))).await.unwrap();
        assert_eq!(response.body.len(), 1000, "{path}");
    }
    for path in ["/over", "/endless"] {
        let result = send(&outbound, &policy, request("GET", server.url(path))).await;
        assert!(matches!(result, Err(Error::ResponseTooLarge(1000))), "{path}: {result:?}");
    }
    let head = send(&outbound, &policy, request("HEAD", server.url("/over"))).await.unwrap();
    assert!(head.body.is_empty() && head.headers.contains(&("content-length".into(), "1001".into())));
}

#[tokio::test]
async fn a_response_has_to_be_there_in_time() {
    let slow = || async {
        let first = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"a")) });
        Body::from_stream(first.chain(stream::pending()))
    };
    let router = Router::new().route("/silent", get(std::future::pending::<()>)).route("/slow", get(slow));
    let server = serve(router).await;
    for path in ["/silent", "/slow"] {
        let begun = Instant::now();
        let request = request("GET", server.url(path));
        let result = send_within(&Outbound::default(), &all_of(&server), request, within(50, 1000)).await;
        assert!(matches!(result, Err(Error::TimedOut)), "{path}: {result:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::at(listener.local_addr().unwrap());
    let (outbound, policy) = (Outbound::default(), all_of(&server));
    let request = request("GET", server.url("/"));
    let mut sending = Box::pin(send(&outbound, &policy, request));
    let (mut connection, mut head) = (None, [0; 1000]);
    tokio::select! {
        _ = &mut sending => panic!("nobody has answered"),
        _ = async {
            let mut accepted = listener.accept().await.unwrap().0;
            assert!(accepted.read(&mut head).await.unwrap() > 0);
            connection = Some(accepted);
        } => {}
    }
    drop(sending);
    let end = connection.as_mut().unwrap().read(&mut head);
    let read = tokio::time::timeout(Duration::from_secs(5), end).await.expect("the connection is closed");
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test]
async fn connections_are_used_again_but_not_across_permissions() {
    let server = serve(Router::new().route("/", get(|| async { "a" }))).await;
    let outbound = Outbound::default();
    let rule = |private: bool| {
        policy(serde_json::json!([
            { "hosts": ["localhost"], "schemes": ["http"], "ports": [server.port()], "private": private },
        ]))
    };
    let url = format!("http://localhost:{}/", server.port());
    for _ in 0..3 {
        assert!(send(&outbound, &rule(true), request("GET", &url)).await.is_ok());
    }
    assert_eq!(server.connections(), 1);
    let result = send(&outbound, &rule(false), request("GET", &url)).await;
    assert!(matches!(&result, Err(Error::AddressBlocked(host)) if host == "localhost"), "{result:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn why_there_is_no_response_is_said() {
    let outbound = Outbound::default();
    let answering = async |answer: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::at(listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut connection = listener.accept().await.unwrap().0;
            assert!(connection.read(&mut [0; 1000]).await.unwrap() > 0);
            connection.write_all(answer).await.unwrap();
        });
        send(&outbound, &all_of(&server), request("GET", server.url("/"))).await
    };
    failed(answering(b"").await, "127.0.0.1");
    failed(answering(b"SSH-2.0-OpenSSH\r\n").await, "no response from 127.0.0.1: ");
    failed(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12").await, "127.0.0.1");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::at(listener.local_addr().unwrap());
    drop(listener);
    failed(
        send(&outbound, &all_of(&server), request("GET", server.url("/"))).await,
        "127.0.0.1 refuses connections",
    );
    let invalid = policy(serde_json::json!([{ "hosts": ["nothing.invalid"] }]));
    let result = send(&outbound, &invalid, request("GET", "https://nothing.invalid/")).await;
    failed(result, "the name nothing.invalid cannot be resolved");
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::at(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut connection = listener.accept().await.unwrap().0;
        connection.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while connection.write_all(&[b"x: ", &[b'y'; 5000][..], b"\r\n"].concat()).await.is_ok() {}
    });
    failed(send(&Outbound::default(), &all_of(&server), request("GET", server.url("/"))).await, "127.0.0.1");
}
