//! Callbacks: a URL is told of the answer, once it is durable, signed, and only where the app allows it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, StatusCode, header};
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{SLOW, answer, one_at_a_time, until, value, wait_for_state};
use crate::http::remote::{Remote, allow};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const EVENTS: &str = "/api/v1/apps/default/events";

/// What the other side got, in order.
type Got = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A server that keeps what it gets, and answers with these statuses, then with the last one.
async fn receiver(statuses: &'static [u16]) -> (Remote, Got) {
    let got = Got::default();
    let kept = got.clone();
    let receive = move |headers: HeaderMap, body: Bytes| {
        let mut got = kept.lock().unwrap();
        let status = statuses[got.len().min(statuses.len() - 1)];
        got.push((headers, body));
        let status = StatusCode::from_u16(status).unwrap();
        async move { (status, [(header::LOCATION, "/elsewhere")]) }
    };
    let remote = Remote::start(Router::new().route("/told", post(receive))).await;
    (remote, got)
}

async fn set_secret(app: &TestApp, value: &'static str) {
    let request = app.request("PUT", "/api/v1/apps/default/secrets/callback");
    let reply = Reply::of(request.header("content-type", "text/plain").body(value)).await;
    assert!(reply.is_success(), "{reply}");
}

/// A rule that allows to tell this server.
fn rule(remote: &Remote) -> Value {
    let mut rule = remote.rule();
    rule["callbacks"] = json!(true);
    rule
}

/// An app that may tell a server of answers.
async fn app_for(remote: &Remote) -> TestApp {
    let app = TestApp::start().await;
    allow(&app, json!([rule(remote)])).await;
    set_secret(&app, SECRET).await;
    app
}

async fn send(app: &TestApp, script: &str, body: &str, url: &str) -> Reply {
    let request = app.anonymous("POST", &format!("/default/{script}")).header("prefer", "respond-async");
    Reply::of(request.header("picloud-callback", url).body(body.to_owned())).await
}

async fn accepted(app: &TestApp, script: &str, body: &str, url: &str) -> String {
    let reply = send(app, script, body, url).await;
    assert_eq!(reply.status, 202, "{reply}");
    reply.header("location").unwrap().to_owned()
}

async fn events(app: &TestApp) -> Vec<Value> {
    app.get(&format!("{EVENTS}?kind=callback")).await.json()["items"].as_array().unwrap().clone()
}

/// Wait until so many were told, and nobody waits to be.
async fn wait_for(app: &TestApp, got: &Got, count: usize) -> Vec<(HeaderMap, Bytes)> {
    until(|| async {
        let now = got.lock().unwrap().clone();
        let left = events(app).await;
        if now.len() >= count && left.is_empty() {
            assert_eq!(now.len(), count);
            return Ok(now);
        }
        Err(format!("{} were told, {left:?}", now.len()))
    })
    .await
}

/// Wait until the only callback has failed once, and show it.
async fn wait_for_failure(app: &TestApp) -> Value {
    until(|| async {
        match events(app).await.as_slice() {
            [one] if !one["failure"].is_null() => Ok(one.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

/// Check the signature as Standard Webhooks describe it, and read the message.
fn verified(headers: &HeaderMap, body: &[u8]) -> Value {
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let (id, time) = (text(headers, "webhook-id"), text(headers, "webhook-timestamp"));
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(body);
    let signature = STANDARD.decode(text(headers, "webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    mac.verify_slice(&signature).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(time.parse().unwrap()) < 60, "{time}");
    let message: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(message["id"], id);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_is_told_of_the_answer() {
    let (remote, got) = receiver(&[204]).await;
    let app = app_for(&remote).await;
    app.deploy("hello", r#"fn handle(req) { response(201, "hello " + req.body).header("x-a", "b") }"#).await;
    let location = accepted(&app, "hello", "you", &remote.url("/told?for=me")).await;
    let (headers, body) = wait_for(&app, &got, 1).await.remove(0);
    let message = verified(&headers, &body);
    let id = location.split(['/', '?']).nth(6).unwrap();
    assert_eq!(text(&headers, "content-type"), "application/cloudevents+json");
    assert_eq!(
        ["specversion", "source", "type", "subject"].map(|name| message[name].as_str().unwrap()),
        ["1.0", "/default/hello", "picloud.execution.done", id]
    );
    let data = &message["data"];
    assert_eq!(
        (&data["execution_id"], &data["status"], &data["body"]),
        (&json!(id), &json!(201), &json!("hello you"))
    );
    let told = data["headers"].as_array().unwrap();
    assert!(
        told.contains(&json!(["x-a", "b"])) && told.contains(&json!(["picloud-execution-id", id])),
        "{data}"
    );
    assert_eq!(answer(&app, &location).await.text(), "hello you", "it can be fetched all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_told_whatever_it_is() {
    let (remote, got) = receiver(&[200]).await;
    let app = one_at_a_time().start().await;
    allow(&app, json!([rule(&remote)])).await;
    set_secret(&app, SECRET).await;
    app.deploy("fails", r#"fn handle(req) { kv::set("x", 1); throw "no" }"#).await;
    app.deploy("slow", SLOW).await;
    accepted(&app, "fails", "", &remote.url("/told")).await;
    let (headers, body) = wait_for(&app, &got, 1).await.remove(0);
    let data = verified(&headers, &body)["data"].take();
    let problem: Value = serde_json::from_str(data["body"].as_str().unwrap()).unwrap();
    assert_eq!((&data["status"], &problem["code"]), (&json!(500), &json!("script-threw")));
    assert_eq!(value(&app, "x").await, Value::Null);

    // One is cancelled while it runs, and one while it waits for that.
    let runs = accepted(&app, "slow", "60000", &remote.url("/told")).await;
    wait_for_state(&app, &runs, "running").await;
    let waits = accepted(&app, "slow", "1", &remote.url("/told")).await;
    for location in [&waits, &runs] {
        assert_eq!(Reply::of(app.anonymous("DELETE", location)).await.status, 204);
    }
    for (headers, body) in &wait_for(&app, &got, 3).await[1..] {
        let message = verified(headers, body);
        assert_eq!(message["data"]["status"], 410, "{message}");
        assert!(message["data"]["body"].as_str().unwrap().contains("\"cancelled\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_refused_before_anything_happens() {
    let (remote, got) = receiver(&[200]).await;
    let app = TestApp::start().await;
    app.deploy("count", r#"fn handle(req) { kv::incr("count") }"#).await;
    let refused = async |url: &str, reason: &str| {
        let problem = send(&app, "count", "", url).await.assert_problem(400, "callback-refused");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{url}: {detail}");
    };
    let url = remote.url("/told");
    refused(&url, "no secret callback").await;
    set_secret(&app, SECRET).await;
    refused(&url, "No rule for callbacks of the app's HTTP policy allows POST http://127.0.0.1").await;
    // What scripts may do is not for callers.
    allow(&app, json!([remote.rule()])).await;
    refused(&url, "allows POST").await;
    let mut rule = rule(&remote);
    rule["methods"] = json!(["GET"]);
    allow(&app, json!([rule])).await;
    refused(&url, "allows POST").await;
    rule["methods"] = json!(["POST"]);
    rule["private"] = json!(false);
    allow(&app, json!([rule])).await;
    let port = remote.port();
    for host in ["127.0.0.1", "127.1", "2130706433", "0177.0.0.1", "0x7f000001", "[::ffff:127.0.0.1]"] {
        // Only the first form is in the policy, and each of them is held against it.
        let reason = if host.starts_with('[') { "allows POST" } else { "no address" };
        refused(&format!("http://{host}:{port}/told"), reason).await;
    }
    rule["private"] = json!(true);
    allow(&app, json!([rule])).await;
    for url in ["", "nonsense", "/told", "ftp://a/", &format!("http://me:pw@127.0.0.1:{port}/told")] {
        refused(url, "no URL").await;
    }
    set_secret(&app, "whsec_half of a key").await;
    refused(&url, "whsec_").await;
    set_secret(&app, "whsec_c2hvcnQ=").await;
    refused(&url, "shorter than 16 bytes").await;
    set_secret(&app, SECRET).await;
    let waits = app.anonymous("POST", "/default/count").header("picloud-callback", &url);
    Reply::of(waits).await.assert_problem(400, "callback-refused");
    let twice = app.anonymous("POST", "/default/count").header("prefer", "respond-async");
    let twice = twice.header("picloud-callback", &url).header("picloud-callback", &url);
    Reply::of(twice).await.assert_problem(400, "callback-refused");
    assert_eq!((value(&app, "count").await, remote.hits()), (Value::Null, 0));
    accepted(&app, "count", "", &url).await;
    wait_for(&app, &got, 1).await;
    assert_eq!(value(&app, "count").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_it_is_told_again_and_knows_it_again() {
    let (remote, got) = receiver(&[500, 302, 200]).await;
    let app = app_for(&remote).await;
    app.deploy("hello", "\"hello\"").await;
    accepted(&app, "hello", "", &remote.url("/told?key=hidden")).await;
    let seen = wait_for_failure(&app).await;
    assert_eq!((&seen["kind"], &seen["failure"]["code"]), (&json!("callback"), &json!("callback-failed")));
    assert_eq!(seen["event"]["data"]["url"], remote.url("/told"), "what is behind the path may be a key");
    let all = wait_for(&app, &got, 3).await;
    let messages: Vec<Value> = all.iter().map(|(headers, body)| verified(headers, body)).collect();
    assert!(messages.windows(2).all(|two| two[0] == two[1]), "{messages:?}");
    assert_eq!(remote.hits(), 3, "the redirect was not followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_more_is_not_told_again() {
    let (remote, got) = receiver(&[410, 200]).await;
    let app = app_for(&remote).await;
    app.deploy("hello", "\"hello\"").await;
    accepted(&app, "hello", "", &remote.url("/told")).await;
    let dead = wait_for_failure(&app).await;
    assert_eq!((&dead["state"], &dead["attempt"]), (&json!("dead"), &json!(1)), "{dead}");
    let replay = format!("{EVENTS}/{}/replay", dead["id"].as_str().unwrap());
    assert_eq!(app.post(&replay, "").await.status, 202);
    wait_for(&app, &got, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_inside_is_not_followed_and_a_policy_that_has_changed_holds() {
    let (remote, got) = receiver(&[200]).await;
    let app = app_for(&remote).await;
    let mut rule = rule(&remote);
    rule["hosts"] = json!(["localhost"]);
    rule["private"] = json!(false);
    allow(&app, json!([rule])).await;
    app.deploy("hello", "\"hello\"").await;
    let url = format!("http://localhost:{}/told", remote.port());
    accepted(&app, "hello", "", &url).await;
    let failed = wait_for_failure(&app).await;
    let message = failed["failure"]["message"].as_str().unwrap();
    assert!(message.contains("localhost has no address"), "{message}");
    assert_eq!(remote.hits(), 0);
    rule["private"] = json!(true);
    allow(&app, json!([rule])).await;
    wait_for(&app, &got, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_told_of_once() {
    let (remote, got) = receiver(&[200]).await;
    let app = app_for(&remote).await;
    app.deploy("count", r#"fn handle(req) { kv::incr("count") }"#).await;
    let mut locations = Vec::new();
    for _ in 0..3 {
        let request = app.anonymous("POST", "/default/count").header("prefer", "respond-async");
        let request = request.header("picloud-callback", remote.url("/told")).header("idempotency-key", "a");
        let reply = Reply::of(request).await;
        assert_eq!(reply.status, 202, "{reply}");
        locations.push(reply.header("location").unwrap().to_owned());
        wait_for(&app, &got, 1).await;
    }
    locations.dedup();
    assert_eq!((locations.len(), value(&app, "count").await), (1, json!(1)));
}

/// More hosts than are told at the same time, none of which ever answers.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_keeps_nobody_from_anything_else() {
    let (remote, got) = receiver(&[200]).await;
    let app = one_at_a_time().start().await;
    set_secret(&app, SECRET).await;
    let mut rules = vec![rule(&remote)];
    let mut silent = Vec::new();
    for _ in 0..5 {
        let other = Remote::start(Router::new().route("/told", post(std::future::pending::<()>))).await;
        rules.push(rule(&other));
        silent.push(other);
    }
    allow(&app, Value::Array(rules)).await;
    let source = r#"fn handle(req) { triggers::enqueue("hello", 1); "hello" } fn on_event(event) { kv::incr("done") }"#;
    app.deploy("hello", source).await;
    for other in &silent {
        for _ in 0..3 {
            accepted(&app, "hello", "", &other.url("/told")).await;
        }
    }
    until(|| async {
        let (told, done) =
            (silent.iter().filter(|other| other.hits() > 0).count(), value(&app, "done").await);
        if told >= 3 && done == 15 { Ok(()) } else { Err(format!("{told} were told, {done} are done")) }
    })
    .await;
    let hits: Vec<usize> = silent.iter().map(Remote::hits).collect();
    assert!(hits.iter().all(|hits| *hits <= 2) && hits.iter().sum::<usize>() <= 6, "{hits:?}");
    // Another asynchronous call is made and can be fetched, although its own callback has to wait.
    let location = accepted(&app, "hello", "", &remote.url("/told")).await;
    assert_eq!(answer(&app, &location).await.text(), "hello");
    assert_eq!(got.lock().unwrap().len(), 0, "three hosts are told at the same time");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_secret_it_waits_and_says_why() {
    let (remote, got) = receiver(&[500, 200]).await;
    let app = app_for(&remote).await;
    app.deploy("hello", "\"hello\"").await;
    accepted(&app, "hello", "", &remote.url("/told")).await;
    wait_for_failure(&app).await;
    assert!(app.delete("/api/v1/apps/default/secrets/callback").await.is_success());
    until(|| async {
        let failed = wait_for_failure(&app).await;
        let why = failed["failure"]["message"].as_str().unwrap();
        if why.contains("no secret callback") { Ok(()) } else { Err(why.to_owned()) }
    })
    .await;
    set_secret(&app, SECRET).await;
    wait_for(&app, &got, 2).await;
}
