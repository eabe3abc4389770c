//! Answers that cannot be sent, that would break the connection, or that claim to be the server's.

use super::{attack, check_calls, target};

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_sent_are_refused() {
    check_calls(&[
        ("let s = \"x\"; for i in 0..23 { s += s } s", 500, "answer-too-large"),
        ("blob(4194305)", 500, "answer-too-large"),
        ("let s = \"\\x00\"; for i in 0..20 { s += s } [s]", 500, "answer-too-large"),
        ("|x| x", 500, "answer-invalid"),
        ("[0.0 / 0.0]", 500, "answer-invalid"),
        ("1.0 / 0.0", 500, "answer-invalid"),
        ("#{a: regex::compile(\"a\")}", 500, "answer-invalid"),
        ("#{a: response(200, \"x\")}", 500, "answer-invalid"),
        ("[req]", 500, "answer-invalid"),
        (
            "let a = []; for i in 0..100 { a.push(`${i}`) } response(200, \"\", #{\"x-a\": a})",
            500,
            "answer-invalid",
        ),
        (
            "let s = \"x\"; for i in 0..15 { s += s } response(200, \"\", #{\"x-a\": s})",
            500,
            "answer-invalid",
        ),
        ("response(99, \"\")", 500, "script-error"),
        ("response(101, \"\")", 500, "script-error"),
        ("response(600, \"\")", 500, "script-error"),
        ("response(-200, \"\")", 500, "script-error"),
        ("response(200.0, \"\")", 500, "script-error"),
        ("redirect(200, \"/\")", 500, "script-error"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_answer_is_sent() {
    let app = target().await;
    let reply = attack(&app, "blob(4194304, 7)").await;
    assert_eq!((reply.status, reply.body.len()), (200, 4 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_can_be_smuggled_in() {
    check_calls(&[
        (r#"response(200, "", #{"x-a": "a\r\nset-cookie: b=c"})"#, 500, "script-error"),
        (r#"response(200, "", #{"x-a": "a\nb"})"#, 500, "script-error"),
        (r#"response(200, "", #{"x-a": "a\x00b"})"#, 500, "script-error"),
        (r#"response(200, "", #{"x-a\r\nset-cookie": "b"})"#, 500, "script-error"),
        (r#"response(200, "", #{"x a": "b"})"#, 500, "script-error"),
        (r#"response(200, "", #{"x:a": "b"})"#, 500, "script-error"),
        (r#"response(200, "", #{"": "b"})"#, 500, "script-error"),
        (r#"response(200, "", #{"ä": "b"})"#, 500, "script-error"),
        (r#"redirect(302, "http://x/\r\nset-cookie: a=b")"#, 500, "script-error"),
        (r#"response(200, "").header("x-a", "a\r\nb: c")"#, 500, "script-error"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_server_are_its_own() {
    let app = target().await;
    let reply = attack(
        &app,
        r#"response(200, "body", #{
            "content-length": "1", "transfer-encoding": "chunked", "connection": "close", "date": "never",
            "picloud-fuel-used": "0", "picloud-execution-id": "evil", "server-timing": "evil", "x-request-id": "evil",
            "upgrade": "h2c", "keep-alive": "timeout=1", "x-mine": ["1", "2"],
        })"#,
    )
    .await;
    assert_eq!((reply.status, reply.text()), (200, "body"));
    assert!(reply.fuel() > 0);
    assert!(!format!("{:?}", reply.headers).contains("evil"), "{reply}");
    for name in ["transfer-encoding", "connection", "upgrade", "keep-alive"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.headers.get_all("x-mine").iter().count(), 2);
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thrown_status_must_be_an_error() {
    check_calls(&[
        ("throw #{status: 404, message: \"no\"}", 404, "script-threw"),
        ("throw #{status: 599, message: \"no\"}", 599, "script-threw"),
        ("throw #{status: 200, message: \"no\"}", 500, "script-threw"),
        ("throw #{status: 101}", 500, "script-threw"),
        ("throw #{status: 600}", 500, "script-threw"),
        ("throw #{status: -1}", 500, "script-threw"),
        ("throw #{status: 9223372036854775807}", 500, "script-threw"),
        ("throw #{status: \"404\"}", 500, "script-threw"),
        ("throw #{status: 404.0}", 500, "script-threw"),
        ("throw", 500, "script-threw"),
        ("throw || 1", 500, "script-threw"),
        ("throw 0.0 / 0.0", 500, "script-threw"),
        ("throw req", 500, "script-threw"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_thrown_value_is_cut() {
    let app = target().await;
    let reply = attack(&app, "let s = \"ä\"; for i in 0..21 { s += s } throw s").await;
    let problem = reply.assert_problem(500, "script-threw");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.len() < 5000 && detail.ends_with("ä…"), "{} bytes", detail.len());
    app.assert_healthy().await;
}
