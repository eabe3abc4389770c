//! Requests for scripts: addresses, methods, bodies, and the headers that go with every answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream;
use picloud_tests::{Reply, TestApp};
use reqwest::Body;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_lead_nowhere_are_problems() {
    let app = TestApp::start().await;
    app.deploy("a", "1").await;
    let paths = [
        "/",
        "/default",
        "/default/",
        "/default/b",
        "/other/a",
        "/DEFAULT/a",
        "/default/a%20",
        "//default/a",
        "/_/x",
        "/api",
        "/api/v1/nothing",
        "/api/v2/apps",
        "/livez.",
        "/%",
        "/..%2fdefault/a",
        "/%00/a",
    ];
    for path in paths {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let reply = Reply::of(app.request(method, path)).await;
            let problem = reply.assert_problem(404, "route-not-found");
            assert_eq!(problem["instance"], path);
            assert_eq!(reply.header("picloud-execution-id"), None, "nothing was called");
        }
    }
    app.assert_healthy().await;
}

/// Paths are taken as they come. Most clients would resolve the dots, this one does not.
#[tokio::test(flavor = "multi_thread")]
async fn dots_in_a_path_are_nothing_special() {
    let app = TestApp::start().await;
    app.deploy("a", "req.path").await;
    for (path, answer) in [
        ("/default/../default/a", "404 Not Found"),
        ("/%2e%2e/default/a", "404 Not Found"),
        ("/default/a/../../b", "\r\n\r\n/../../b"),
        ("/default/a/%2e%2e%2f", "\r\n\r\n/%2e%2e%2f"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.contains(answer), "{path}: {reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_an_address_does_not_have_are_problems_with_those_it_has() {
    let app = TestApp::start().await;
    for (method, path, allowed) in [
        ("POST", "/api/v1/apps", "GET,HEAD"),
        ("PATCH", "/api/v1/apps/default/scripts/a", "DELETE,GET,HEAD,PUT"),
        ("GET", "/api/v1/apps/default/scripts/a/versions/1/activate", "POST"),
        ("DELETE", "/openapi.json", "GET,HEAD"),
        ("BREW", "/api/v1/apps/default/executions", "GET,HEAD"),
    ] {
        let reply = Reply::of(app.request(method, path)).await;
        reply.assert_problem(405, "method-not-allowed");
        let mut allow: Vec<_> = reply.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_every_method() {
    let app = TestApp::start().await;
    app.deploy("a", "req.method").await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "m-search"] {
        assert_eq!(Reply::of(app.request(method, "/default/a")).await.text(), method);
    }
    let head = Reply::of(app.request("HEAD", "/default/a")).await;
    assert_eq!((head.status, head.text()), (200, ""));
    assert!(head.fuel() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_up_to_the_limit() {
    let app = TestApp::builder().limits(|limits| limits.request_body_bytes = 100_000).start().await;
    app.deploy("a", "req.blob.len").await;
    assert_eq!(app.post("/default/a", vec![0; 100_000]).await.text(), "100000");
    app.post("/default/a", vec![0; 100_001]).await.assert_problem(413, "body-too-large");
    let chunks = |count: usize| {
        Body::wrap_stream(stream::iter((0..count).map(|_| Ok::<_, std::io::Error>(vec![0u8; 1000]))))
    };
    assert_eq!(app.post("/default/a", chunks(100)).await.text(), "100000");
    app.post("/default/a", chunks(101)).await.assert_problem(413, "body-too-large");
    app.assert_healthy().await;
}

/// A body that never ends is not read to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_end_is_refused() {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let app = TestApp::start().await;
    app.deploy("a", "req.blob.len").await;
    let endless = stream::repeat_with(|| {
        SENT.fetch_add(10_000, Ordering::Relaxed);
        Ok::<_, std::io::Error>(vec![0u8; 10_000])
    });
    // The server stops reading, so the client may fail to write before it sees the answer.
    if let Ok(reply) = Reply::try_of(app.request("POST", "/default/a").body(Body::wrap_stream(endless))).await
    {
        reply.assert_problem(413, "body-too-large");
    }
    assert!(SENT.load(Ordering::Relaxed) < 32 << 20, "it was read far beyond the limit");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_what_the_call_cost() {
    let app = TestApp::start().await;
    app.deploy("a", "if req.query.fail == \"1\" { throw \"x\" } kv::incr(\"n\")").await;
    for path in ["/default/a", "/default/a?fail=1"] {
        let reply = app.get(path).await;
        assert!(reply.fuel() > 1000, "{reply}");
        assert_eq!(reply.execution_id().len(), 36);
        assert_eq!(reply.execution_id().as_bytes()[14], b'7', "a UUIDv7");
        let timing = reply.header("server-timing").unwrap();
        let durations: Vec<(&str, f64)> = timing
            .split(", ")
            .map(|part| part.split_once(";dur=").unwrap())
            .map(|(name, ms)| (name, ms.parse().unwrap()))
            .collect();
        let names: Vec<_> = durations.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["queue", "sandbox", "commit"]);
        assert!(durations[1].1 > 0.0, "{timing}");
        assert_eq!(durations[2].1 > 0.0, !path.contains("fail"), "only what succeeds commits: {timing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_passed_on_and_a_harmful_one_is_replaced() {
    let app = TestApp::start().await;
    app.deploy("a", "req.id").await;
    let call = async |id: &[u8]| {
        let value = reqwest::header::HeaderValue::from_bytes(id).unwrap();
        Reply::of(app.request("GET", "/default/a").header("x-request-id", value)).await
    };
    let reply = call(b"order-7/retry.2").await;
    assert_eq!((reply.text(), reply.header("x-request-id")), ("order-7/retry.2", Some("order-7/retry.2")));
    for id in [&b""[..], b"a b", b"\xff", "é".as_bytes(), &[b'x'; 129]] {
        let reply = call(id).await;
        assert_eq!(
            (reply.text(), reply.header("x-request-id")),
            (reply.execution_id(), Some(reply.execution_id()))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traceparent_reaches_the_script() {
    let app = TestApp::start().await;
    app.deploy("a", "req.headers.traceparent").await;
    for text in ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "nonsense"] {
        assert_eq!(
            Reply::of(app.request("GET", "/default/a").header("traceparent", text)).await.text(),
            text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_where_and_whose_fault_it_was() {
    let app = TestApp::start().await;
    app.deploy("a", "let list = [];\n  list[3]").await;
    let reply = app.get("/default/a/below?x=1").await;
    let problem = reply.assert_problem(500, "script-error");
    assert_eq!(problem["position"], json!({"line": 2, "column": 8}));
    assert_eq!((&problem["fault"], &problem["retryable"]), (&json!("script"), &json!(false)));
    assert_eq!(problem["instance"], "/default/a/below");
    assert_eq!(problem["execution_id"], reply.execution_id());
    let page = app.get(problem["type"].as_str().unwrap()).await;
    assert!(page.text().starts_with("# script-error\n"), "{page}");
}
