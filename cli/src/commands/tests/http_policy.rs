//! `picloud http-policy`, against a server that plays the API.

use axum::response::Response;
use http::HeaderValue;
use serde_json::{Value, json};

use super::picloud;
use super::server::{FakeServer, json as answer, problem};
use crate::exit::Exit;

fn policy() -> Value {
    json!({ "rules": [{
        "hosts": ["a.example", "*.b.example"], "schemes": ["http", "https"], "ports": [8080, 8443], "methods": [],
        "private": true,
    }] })
}

fn with_tag(mut response: Response) -> Response {
    response.headers_mut().insert("etag", HeaderValue::from_static("\"7\""));
    response
}

#[tokio::test]
async fn the_policy_is_a_table_or_the_document() {
    let server = FakeServer::start(|_| with_tag(answer(200, &policy()))).await;
    for words in [&["http-policy"][..], &["http-policy", "show"]] {
        let ran = picloud(&server.url, words).await.expect(Exit::Ok);
        let rows: Vec<&str> = ran.out.lines().collect();
        assert_eq!(rows[0], "SCHEMES      PORTS       METHODS  PRIVATE  CALLBACKS  HOSTS");
        assert_eq!(rows[1], "http, https  8080, 8443  all      yes      no         a.example, *.b.example");
    }
    let ran = picloud(&server.url, &["http-policy", "--app", "shop", "-o", "json"]).await.expect(Exit::Ok);
    assert_eq!(ran.json(), policy());
    assert_eq!(server.lines().last().unwrap(), "GET /api/v1/apps/shop/http-policy");
    let server = FakeServer::start(|_| answer(200, &json!({ "rules": [] }))).await;
    let ran = picloud(&server.url, &["http-policy"]).await.expect(Exit::Ok);
    assert_eq!((&*ran.out, &*ran.err), ("", "the app default may send no requests to other servers\n"));
}

#[tokio::test]
async fn a_policy_is_replaced_as_a_whole() {
    let server = FakeServer::start(|seen| match seen.body.as_str() {
        "[1]" => problem(422, "policy-invalid", json!({ "detail": "It is no object." })),
        _ => answer(200, &policy()),
    })
    .await;
    let ran = picloud(&server.url, &["http-policy", "set", "{\"rules\": []}"]).await.expect(Exit::Ok);
    assert!(ran.out.contains("a.example"), "what applies now is shown: {}", ran.out);
    let seen = server.seen().pop().unwrap();
    assert_eq!((&*seen.line, &*seen.body), ("PUT /api/v1/apps/default/http-policy", "{\"rules\": []}"));
    assert_eq!(seen.headers["content-type"], "application/json");
    assert!(!seen.headers.contains_key("if-match"));
    // From standard input.
    let ran = picloud(&server.url, &["http-policy", "set", "-"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("error[policy-invalid]: It is no object."), "{}", ran.err);
}

#[tokio::test]
async fn a_rule_is_added_to_those_that_there_are() {
    let server = FakeServer::start(|_| with_tag(answer(200, &policy()))).await;
    let words = ["http-policy", "allow", "c.example", "d.example", "--method", "GET", "--method", "POST"];
    picloud(&server.url, &words).await.expect(Exit::Ok);
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.line, "PUT /api/v1/apps/default/http-policy");
    assert_eq!(seen.headers["if-match"], "\"7\"");
    let sent: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(sent["rules"][0], policy()["rules"][0]);
    let added = json!({
        "hosts": ["c.example", "d.example"], "schemes": ["https"], "ports": [], "methods": ["GET", "POST"],
        "private": false, "callbacks": false,
    });
    assert_eq!(sent["rules"][1], added);
    let words = ["http-policy", "allow", "stock.lan", "--scheme", "http", "--port", "8080", "--private"];
    picloud(&server.url, &words).await.expect(Exit::Ok);
    let sent: Value = serde_json::from_str(&server.seen().pop().unwrap().body).unwrap();
    let added = json!({
        "hosts": ["stock.lan"], "schemes": ["http"], "ports": [8080], "methods": [], "private": true, "callbacks": false,
    });
    assert_eq!(sent["rules"][1], added);
    for wrong in [&["allow"][..], &["allow", "a", "--scheme", "ftp"], &["allow", "a", "--port", "0"]] {
        picloud(&server.url, &[&["http-policy"], wrong].concat()).await.expect(Exit::Usage);
    }
}

#[tokio::test]
async fn what_somebody_else_has_changed_meanwhile_is_not_overwritten() {
    let server = FakeServer::start(|seen| match seen.headers.get("if-match") {
        Some(_) => problem(412, "precondition-failed", json!({ "title": "It has changed." })),
        None => with_tag(answer(200, &policy())),
    })
    .await;
    let ran = picloud(&server.url, &["http-policy", "allow", "c.example"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("precondition-failed"), "{}", ran.err);
}
