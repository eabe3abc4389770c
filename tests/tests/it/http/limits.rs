//! What bounds requests and responses.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use picloud_tests::TestApp;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::remote::{FETCH, Remote, allow};
use super::run;

/// An app with small limits, and a remote that answers much or never.
async fn small() -> (TestApp, Remote) {
    let limits = TestApp::builder().limits(|limits| {
        limits.outbound_requests = 3;
        limits.outbound_request_bytes = 200;
        limits.outbound_response_bytes = 1000;
        limits.outbound_call_bytes = 2500;
        limits.outbound_timeout_ms = 200;
    });
    let (app, router) = (limits.start().await, Router::new());
    let remote = Remote::start(
        router
            .route("/", any(async || "ok"))
            .route("/large", get(async || "x".repeat(1001)))
            .route("/exact", get(async || "x".repeat(1000)))
            .route("/never", get(std::future::pending::<()>)),
    );
    let remote = remote.await;
    allow(&app, json!([remote.rule()])).await;
    (app, remote)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_sends_so_many_requests() {
    let (app, remote) = small().await;
    let source = r#"
        let all = http::all([#{url: "URL/"}, #{url: "URL/"}]);
        all += http::get("URL/");
        let last = "";
        try { http::get("URL/") } catch (e) { last = e }
        [all.map(|r| r.ok), last]"#;
    let expected = json!([[true, true, true], "http: a call may send at most 3 requests"]);
    assert_eq!(run(&app, &remote, source).await.json(), expected);
    let source = "http::all([1, 2, 3, 4, 5].map(|n| #{url: `URL/`})).map(|r| r.ok)";
    assert_eq!(run(&app, &remote, source).await.json(), json!([true, true, true, false, false]));
    assert_eq!(remote.hits(), 6);
    // Those that are refused cost no connection.
    let source = "let all = []; all.pad(2000, #{url: \"\"}); http::all(all).filter(|r| r.ok).len";
    assert_eq!(run(&app, &remote, source).await.text(), "0");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_responses_have_so_many_bytes() {
    let (app, remote) = small().await;
    let source = r#"
        let long = "";
        long.pad(200, 'x');
        let errors = [];
        for f in [
            || http::post("URL/", blob(200)),
            || http::get("URL/", #{headers: #{x: long}}),
            || http::get("URL/large"),
        ] {
            try { f.call(); errors += "none" } catch (e) { errors += e }
        }
        errors"#;
    let reply = run(&app, &remote, source).await;
    let too_much = "http: a request may have at most 200 bytes";
    let expected = json!([too_much, too_much, "http: a response may have at most 1000 bytes"]);
    assert_eq!(reply.json(), expected, "{reply}");
    assert_eq!(run(&app, &remote, "http::get(`URL/exact`).body.len").await.text(), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_so_long() {
    let (app, remote) = small().await;
    for options in ["#{}", "#{timeout_ms: 20}", "#{timeout_ms: 9999999}"] {
        let begun = Instant::now();
        let source = format!("try {{ http::get(\"URL/never\", {options}); }} catch (e) {{ return e; }}");
        let reply = run(&app, &remote, &source).await;
        assert_eq!(reply.text(), "http: the response did not come in time", "{options}: {reply}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{options}");
    }
}

/// The remote sees the connection close when the call is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_with_its_call() {
    let app = TestApp::builder().limits(|limits| limits.deadline_ms = 300).start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let rule = json!({ "hosts": ["127.0.0.1"], "schemes": ["http"], "ports": [port], "private": true });
    allow(&app, json!([rule])).await;
    app.deploy("fetch", "http::get(req.body); 1").await;
    let remote = async {
        let mut connection = listener.accept().await.unwrap().0;
        let mut sent = Vec::new();
        // What is answered before it was asked for is no answer.
        while !sent.ends_with(b"\r\n\r\n") {
            assert_ne!(connection.read_buf(&mut sent).await.unwrap(), 0);
        }
        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\nand so on").await.unwrap();
        // Until the end of the connection.
        _ = connection.read_to_end(&mut sent).await;
        sent
    };
    let call = app.post("/default/fetch", format!("http://127.0.0.1:{port}/"));
    let (reply, sent) = tokio::time::timeout(Duration::from_secs(5), async { tokio::join!(call, remote) })
        .await
        .expect("the connection is closed");
    reply.assert_problem(504, "deadline-exceeded");
    assert!(sent.starts_with(b"GET / HTTP/1.1\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_remote_sends_without_end_is_cut() {
    let (app, remote) = small().await;
    let endless = async || {
        let pieces = futures_util::stream::repeat_with(|| Ok::<_, Infallible>(vec![b'x'; 100]));
        Body::from_stream(pieces)
    };
    let router = Router::new().route("/", get(endless));
    let endless = Remote::start(router).await;
    allow(&app, json!([remote.rule(), endless.rule()])).await;
    app.deploy("fetch", FETCH).await;
    let reply = app.post("/default/fetch", endless.url("/")).await;
    assert_eq!(reply.text(), "caught: http: a response may have at most 1000 bytes");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_responses_of_a_call_have_so_many_bytes_together() {
    let (app, remote) = small().await;
    let too_much = "http: the responses of a call may have at most 2500 bytes together";
    let source = r#"
        let ok = http::get("URL/exact").body.len() + http::get("URL/exact").body.len();
        let last = "";
        try { http::get("URL/exact") } catch (e) { last = e }
        [ok, last]"#;
    assert_eq!(run(&app, &remote, source).await.json(), json!([2000, too_much]));
    let source =
        r#"http::all([1, 2, 3].map(|n| #{url: "URL/exact"})).map(|r| if r.ok { "ok" } else { r.error })"#;
    let mut together = run(&app, &remote, source).await.json();
    let together = together.as_array_mut().unwrap();
    together.retain(|result| result != "ok");
    assert!(!together.is_empty() && together.iter().all(|result| result == too_much), "{together:?}");
}
