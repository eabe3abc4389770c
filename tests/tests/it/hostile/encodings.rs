//! Bytes that are no text, wherever a caller can send them.

use super::raw::{exchange, statuses};
use super::target;

const ECHO: &str = r#"
    fn handle(req) {
        let body = "";
        let json = "";
        try { req.body } catch (error) { body = "error: " + error; }
        try { req.json } catch (error) { json = "error: " + error; }
        #{path: req.path, segments: req.segments, query: req.query, header: req.headers["x-bytes"],
          body: body, json: json, blob: req.blob.len}
    }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_what_came_without_harm() {
    let app = target().await;
    app.deploy("echo", ECHO).await;
    let value = reqwest::header::HeaderValue::from_bytes(b"a\xff\xc3").unwrap();
    let request = app.request("POST", "/default/echo/%ff/a%2fb/%/%zz/%c3%28?k%ff=%ff%fe&%=%zz&a=%00");
    let reply =
        picloud_tests::Reply::of(request.header("x-bytes", value).body(vec![0xff, 0xfe, 0, b'"'])).await;
    assert_eq!(reply.status, 200, "{reply}");
    let seen = reply.json();
    assert_eq!(seen["path"], "/%ff/a%2fb/%/%zz/%c3%28");
    assert_eq!(seen["segments"], serde_json::json!(["%ff", "a/b", "%", "%zz", "%c3%28"]));
    assert_eq!(seen["query"], serde_json::json!({ "k\u{fffd}": "\u{fffd}\u{fffd}", "%": "%zz", "a": "\0" }));
    assert_eq!(seen["header"], "a\u{fffd}\u{fffd}");
    assert_eq!(seen["blob"], 4);
    for part in ["body", "json"] {
        assert!(seen[part].as_str().is_some_and(|text| text.starts_with("error: ")), "{seen}");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncaught_bad_body_is_an_error_of_the_script() {
    let app = target().await;
    for part in ["body", "json"] {
        app.deploy("hostile", format!("req.{part}")).await;
        let reply = app.post("/default/hostile", vec![0xc3, 0x28]).await;
        reply.assert_problem(500, "script-error");
    }
    app.deploy("hostile", "req.blob").await;
    assert_eq!(app.post("/default/hostile", vec![0xc3, 0x28]).await.body, [0xc3, 0x28]);
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_sources_must_be_text() {
    let app = target().await;
    let reply = app.put_script("hostile", vec![b'1', 0xff]).await;
    let problem = reply.assert_problem(422, "source-invalid");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("offset 1")), "{reply}");
    for path in
        ["/api/v1/apps/default/scripts/%ff", "/api/v1/apps/%ff/scripts/a", "/api/v1/apps/default/kv/%ff"]
    {
        app.get(path).await.assert_problem(400, "request-invalid");
    }
    for path in ["/api/v1/apps/default/scripts/%00", "/api/v1/apps/default/scripts/..%2f..%2fetc"] {
        app.get(path).await.assert_problem(400, "name-invalid");
    }
    for path in
        ["/%ff/%ff", "/default/%ff", "/default/neighbour%00", "/default%2fneighbour", "/DEFAULT/neighbour"]
    {
        app.get(path).await.assert_problem(404, "route-not-found");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_http_are_refused() {
    let app = target().await;
    let heads: [&[u8]; 9] = [
        b"GET /default/neighbour\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        b"G\xffT / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\0\0\0\0",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ];
    for head in heads {
        let answer = exchange(&app, head).await;
        let found = statuses(&answer);
        assert!(found.iter().all(|status| (400..500).contains(status)), "{head:?}: {answer}");
    }
    app.assert_healthy().await;
}
