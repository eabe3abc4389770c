//! `picloud invoke`, and what a hostile server can do to it.

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use serde_json::json;

use super::server::{FakeServer, json as answer, problem, with_type};
use super::{picloud, picloud_in};
use crate::exit::Exit;

fn ran(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("picloud-execution-id", HeaderValue::from_static("0192-1"));
    headers.insert("picloud-fuel-used", HeaderValue::from_static("69026"));
    headers
        .insert("server-timing", HeaderValue::from_static("queue;dur=0.01, sandbox;dur=0.305, commit;dur=0"));
    response
}

#[tokio::test]
async fn the_answer_and_its_cost_go_to_different_outputs() {
    let server = FakeServer::start(|_| ran(answer(201, &json!({ "a": 1 })))).await;
    let words = ["invoke", "hello", "/x y?q=1", "-d", "-", "-H", "x-a: b", "-X", "put"];
    let done = picloud(&server.url, &words).await.expect(Exit::Ok);
    assert_eq!(done.out, r#"{"a":1}"#);
    assert_eq!(
        done.err,
        "201 Created  fuel 69 026  queue 0.01 ms  sandbox 0.30 ms  commit 0.00 ms  execution 0192-1\n"
    );
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "PUT /default/hello/x%20y?q=1");
    assert_eq!(seen.body, "[1]");
    assert_eq!(seen.headers["x-a"], "b");
    assert_eq!(seen.headers["content-type"], "application/json");
}

#[tokio::test]
async fn one_document_has_it_all() {
    let server = FakeServer::start(|_| ran(answer(200, &json!({ "a": [1.5] })))).await;
    let document = picloud(&server.url, &["invoke", "hello", "-o", "json"]).await.expect(Exit::Ok).json();
    assert_eq!(document["status"], 200);
    assert_eq!(document["fuel"], 69026);
    assert_eq!(document["execution_id"], "0192-1");
    assert_eq!(document["timing_ms"], json!({ "queue": 0.01, "sandbox": 0.305, "commit": 0.0 }));
    assert_eq!(document["body"], r#"{"a":[1.5]}"#);
    assert_eq!(document["json"], json!({ "a": [1.5] }));
    assert_eq!(document["headers"]["content-type"], json!(["application/json"]));
    let server = FakeServer::start(|_| ran(with_type(200, "application/octet-stream", vec![0xff, 0]))).await;
    let document = picloud(&server.url, &["invoke", "hello", "-o", "json"]).await.expect(Exit::Ok).json();
    assert_eq!((&document["body_base64"], &document["body"]), (&json!("/wA="), &json!(null)));
}

#[tokio::test]
async fn the_status_decides_the_exit_code() {
    for (status, exit) in
        [(204, Exit::Ok), (302, Exit::Ok), (404, Exit::Failed), (401, Exit::Failed), (500, Exit::Failed)]
    {
        let server = FakeServer::start(move |_| ran(with_type(status, "text/plain", "said"))).await;
        let done = picloud(&server.url, &["invoke", "hello"]).await.expect(exit);
        assert_eq!(done.out, if status == 204 { "" } else { "said" });
        assert!(done.err.starts_with(&status.to_string()), "{}", done.err);
    }
}

#[tokio::test]
async fn a_failed_call_is_explained() {
    let failure = || {
        let members = json!({
            "title": "The script stopped with an error.", "detail": "Function not found: foo", "fault": "script",
            "execution_id": "0192-1", "position": { "line": 3, "column": 5 }, "retryable": false
        });
        ran(problem(500, "script-error", members))
    };
    let server = FakeServer::start(move |_| failure()).await;
    let done = picloud(&server.url, &["invoke", "hello"]).await.expect(Exit::Failed);
    assert_eq!(done.out, "");
    let (cost, explanation) = done.err.split_once('\n').unwrap();
    assert!(cost.starts_with("500 Internal Server Error  fuel 69 026"), "{cost}");
    assert_eq!(
        explanation,
        "error[script-error]: Function not found: foo\n \
         --> hello:3:5\n  \
         = note: The script stopped with an error.\n  \
         = execution: picloud executions show 0192-1\n  \
         = read: picloud explain script-error\n"
    );
    let done = picloud(&server.url, &["invoke", "hello", "-o", "json"]).await.expect(Exit::Failed);
    assert_eq!(done.json()["problem"]["code"], "script-error");
    assert_eq!(done.error()["position"], json!({ "line": 3, "column": 5 }));
}

#[tokio::test]
async fn no_such_script_is_1_and_no_such_server_is_3() {
    let server = FakeServer::start(|_| {
        problem(404, "script-not-found", json!({ "title": "There is no such script." }))
    })
    .await;
    let done = picloud(&server.url, &["invoke", "hello"]).await.expect(Exit::Failed);
    assert!(done.err.contains("error[script-not-found]: There is no such script."), "{}", done.err);
    let server = FakeServer::start(|_| problem(421, "host-forbidden", json!({}))).await;
    picloud(&server.url, &["invoke", "hello"]).await.expect(Exit::Unreachable);
    let server = FakeServer::start(|_| with_type(502, "text/html", "<h1>Bad Gateway\u{1b}[2J</h1>")).await;
    let done = picloud(&server.url, &["invoke", "hello"]).await.expect(Exit::Unreachable);
    assert!(
        done.err.contains("does not seem to be PiCloud: status 502 with `<h1>Bad Gateway\\u{1b}"),
        "{}",
        done.err
    );
}

#[tokio::test]
async fn a_script_gets_the_token_only_when_told_so() {
    let server = FakeServer::start(|_| ran(with_type(200, "text/plain", ""))).await;
    picloud(&server.url, &["invoke", "hello"]).await.expect(Exit::Ok);
    picloud(&server.url, &["invoke", "hello", "--with-token"]).await.expect(Exit::Ok);
    let seen = server.seen();
    assert!(!seen[0].headers.contains_key("authorization"));
    assert_eq!(seen[1].headers["authorization"], "Bearer pct_secret");
}

#[tokio::test]
async fn a_script_is_called_where_the_server_says_that_it_is() {
    let scripts = FakeServer::start(|_| {
        let mut response = ran(answer(202, &json!({})));
        let headers = response.headers_mut();
        headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
        headers.insert("location", HeaderValue::from_static("/api/v1/apps/default/executions/1?key=k"));
        response
    })
    .await;
    let api =
        FakeServer::start_apart(json!(format!("{}/", scripts.url)), |_| problem(500, "internal", json!({})))
            .await;
    let done = picloud(&api.url, &["invoke", "hello", "--async", "--with-token"]).await.expect(Exit::Ok);
    assert_eq!(done.out, format!("{}/api/v1/apps/default/executions/1?key=k\n", scripts.url));
    assert_eq!(scripts.lines(), ["GET /default/hello"]);
    assert_eq!(scripts.seen()[0].headers["authorization"], "Bearer pct_secret");
    assert!(api.lines().is_empty());
    // Where nobody has said that they are, they get no token.
    let unsaid = FakeServer::start(|_| ran(with_type(200, "text/plain", "said"))).await;
    let api = FakeServer::start_about(json!({ "public_url": null, "listener_url": unsaid.url }), |_| {
        problem(500, "internal", json!({}))
    })
    .await;
    assert_eq!(picloud(&api.url, &["invoke", "hello"]).await.expect(Exit::Ok).out, "said");
    let done = picloud(&api.url, &["invoke", "hello", "--with-token"]).await.expect(Exit::Usage);
    assert!(done.err.contains("the token is not sent there"), "{}", done.err);
    assert_eq!(unsaid.lines().len(), 1);
    // What says no URL is no PiCloud, and what says nothing has all in one place.
    let odd = FakeServer::start_apart(json!("file:///etc"), |_| answer(200, &json!({}))).await;
    picloud(&odd.url, &["invoke", "hello"]).await.expect(Exit::Unreachable);
    let silent = FakeServer::start_apart(json!(7), |_| ran(with_type(200, "text/plain", "said"))).await;
    assert_eq!(picloud(&silent.url, &["invoke", "hello"]).await.expect(Exit::Ok).out, "said");
}

#[tokio::test]
async fn a_redirect_takes_the_token_nowhere() {
    let other = FakeServer::start(|_| answer(200, &json!({ "items": [] }))).await;
    let location = HeaderValue::try_from(format!("{}/stolen", other.url)).unwrap();
    let server = FakeServer::start(move |_| {
        let mut response = with_type(307, "text/plain", "");
        response.headers_mut().insert("location", location.clone());
        response
    })
    .await;
    let done = picloud(&server.url, &["scripts"]).await.expect(Exit::Unreachable);
    assert!(done.err.contains("redirects to") && done.err.contains("/stolen"), "{}", done.err);
    assert!(other.lines().is_empty());
    picloud(&server.url, &["invoke", "hello", "--with-token"]).await.expect(Exit::Ok);
    assert!(other.lines().is_empty());
}

#[tokio::test]
async fn a_token_for_another_server_is_not_sent() {
    let server = FakeServer::start(|_| answer(200, &json!({ "items": [] }))).await;
    let env = [("PICLOUD_SERVER", "http://other.example"), ("PICLOUD_TOKEN", "pct_secret")];
    picloud_in(&env, &["scripts", "--server", &server.url]).await.expect(Exit::Ok);
    picloud_in(&env, &["scripts", "--server", &server.url, "--token", "pct_flag"]).await.expect(Exit::Ok);
    let seen = server.seen();
    assert!(!seen[0].headers.contains_key("authorization"));
    assert_eq!(seen[1].headers["authorization"], "Bearer pct_flag");
}

/// A body without an end, in pieces.
fn endless() -> Body {
    let pieces = futures_util::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b'x'; 1 << 16]))
    });
    Body::from_stream(pieces)
}

#[tokio::test]
async fn an_endless_answer_ends() {
    let server = FakeServer::start(|_| ran(with_type(200, "text/plain", endless()))).await;
    let done = picloud(&server.url, &["invoke", "hello"]).await.expect(Exit::Failed);
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("", "error: the answer is longer than 67108864 bytes\n")
    );
    let done = picloud(&server.url, &["kv", "get", "x"]).await.expect(Exit::Failed);
    assert!(done.err.contains("longer than 33554432 bytes"), "{}", done.err);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let done = picloud(&url, &["scripts", "--timeout", "1"]).await.expect(Exit::Unreachable);
    assert!(done.err.contains("did not answer within 1 s"), "{}", done.err);
}

#[tokio::test]
async fn an_answer_that_is_no_http_or_no_tls_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail \x1b[2J ESMTP\r\n\r\n").await;
        }
    });
    for scheme in ["http", "https"] {
        let done = picloud(&format!("{scheme}://{address}"), &["scripts"]).await.expect(Exit::Unreachable);
        assert!(!done.err.contains('\u{1b}') && done.err.lines().count() == 1, "{}", done.err);
    }
}

#[tokio::test]
async fn an_asynchronous_call_prints_where_its_answer_will_be() {
    let accepted = || {
        let mut response = ran(answer(202, &json!({})));
        let headers = response.headers_mut();
        headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
        headers.insert("location", HeaderValue::from_static("/api/v1/apps/default/executions/0192-1?key=k"));
        response
    };
    let server = FakeServer::start(move |_| accepted()).await;
    let words = ["invoke", "hello", "-d", "1", "--async", "--idempotency-key", "a \"b\""];
    let done = picloud(&server.url, &words).await.expect(Exit::Ok);
    assert_eq!(done.out, format!("{}/api/v1/apps/default/executions/0192-1?key=k\n", server.url));
    assert_eq!(done.err, "accepted  execution 0192-1\n");
    let seen = &server.seen()[0];
    assert_eq!(seen.headers["prefer"], "respond-async");
    assert_eq!(seen.headers["idempotency-key"], r#""a \"b\"""#);
    picloud(&server.url, &["invoke", "hello", "--wait"]).await.expect(Exit::Usage);
}

#[tokio::test]
async fn waiting_ends_with_the_answer() {
    let server = FakeServer::start(|seen| match seen.line.as_str() {
        "GET /default/hello" => {
            let mut response = ran(answer(202, &json!({})));
            let headers = response.headers_mut();
            headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
            headers.insert("location", HeaderValue::from_static("/api/v1/apps/default/executions/1?key=k"));
            response
        }
        "GET /api/v1/apps/default/executions/1?key=k" => {
            assert_eq!(seen.headers["accept"], "text/event-stream");
            assert!(!seen.headers.contains_key("authorization"));
            with_type(200, "text/event-stream", "event: done\ndata: {}\n\n")
        }
        _ => ran(with_type(201, "text/plain", "said")),
    })
    .await;
    let done = picloud(&server.url, &["invoke", "hello", "--async", "--wait"]).await.expect(Exit::Ok);
    assert_eq!(done.out, "said");
    assert!(done.err.starts_with("201 Created"), "{}", done.err);
    assert_eq!(server.lines()[2], "GET /api/v1/apps/default/executions/1/answer?key=k");
}

#[tokio::test]
async fn a_location_of_a_script_is_not_followed() {
    let server = FakeServer::start(|_| {
        let mut response = ran(with_type(202, "text/plain", "mine"));
        let headers = response.headers_mut();
        headers.insert("preference-applied", HeaderValue::from_static("respond-async"));
        headers.insert("location", HeaderValue::from_static("//elsewhere/api/v1/apps/x/executions/1"));
        response
    })
    .await;
    let done = picloud(&server.url, &["invoke", "hello", "--async", "--wait"]).await.expect(Exit::Ok);
    assert_eq!((done.out.as_str(), server.lines().len()), ("mine", 1));
}
