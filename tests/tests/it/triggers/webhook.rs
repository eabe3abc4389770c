//! Webhooks: who knows the secret is believed, nobody else is, and what was accepted is not lost.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use picloud_tests::{Reply, TestApp};
use reqwest::Body;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{RECORDER, events, put_trigger, trigger, values, wait_for};

const PATH: &str = "/api/v1/apps/default/webhooks/hook";

/// From GitHub's documentation, "Validating webhook deliveries": this secret, body and signature.
const SECRET: &str = "It's a Secret to Everybody";
const BODY: &str = "Hello, World!";
const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

async fn secret(app: &TestApp, value: &str) {
    let request =
        app.request("PUT", "/api/v1/apps/default/secrets/shared").header("content-type", "text/plain");
    let reply = Reply::of(request.body(value.to_owned())).await;
    assert!(reply.is_success(), "{reply}");
}

/// A server with a webhook and a script that keeps what it sees.
async fn app_with(webhook: Value) -> TestApp {
    let app = TestApp::start().await;
    secret(&app, SECRET).await;
    let mut members = json!({ "kind": "webhook", "secret": "shared", "script": "recorder" });
    members.as_object_mut().unwrap().extend(webhook.as_object().unwrap().clone());
    trigger(&app, "hook", members).await;
    app.deploy("recorder", RECORDER).await;
    app
}

/// Deliver with these headers, as a stranger.
async fn deliver(app: &TestApp, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
    let request = headers
        .iter()
        .fold(app.anonymous("POST", PATH), |request, (name, value)| request.header(*name, *value));
    Reply::of(request.body(body)).await
}

fn hmac(key: &str, message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_githubs_documentation_becomes_an_event() {
    let app = app_with(json!({ "scheme": "github" })).await;
    let headers = [
        ("X-Hub-Signature-256", SIGNATURE),
        ("X-GitHub-Event", "ping"),
        ("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("Content-Type", "text/plain"),
        ("Authorization", "Bearer not-for-scripts"),
        ("Cookie", "a=not-for-scripts"),
        ("X-Twice", "1"),
        ("X-Twice", "2"),
    ];
    let reply = deliver(&app, &headers, BODY).await;
    assert_eq!(reply.status, 202, "{reply}");
    assert_eq!(reply.json()["ids"].as_array().unwrap().len(), 1);
    let seen = wait_for(&app, "seen/", 1).await.remove(0);
    assert_eq!(seen["id"], "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    assert_eq!(
        (&seen["type"], &seen["source"]),
        (&json!("picloud.webhook"), &json!("/default/webhooks/hook"))
    );
    assert_eq!((&seen["subject"], &seen["depth"]), (&json!("hook"), &json!(1)));
    assert_eq!(seen["data"]["body"], BODY);
    assert_eq!(seen["data"]["headers"]["x-github-event"], "ping");
    assert_eq!(seen["data"]["headers"]["x-twice"], "1, 2");
    for hidden in ["x-hub-signature-256", "authorization", "cookie"] {
        assert_eq!(seen["data"]["headers"][hidden], Value::Null, "{hidden}");
    }
    assert!(!seen.to_string().contains("not-for-scripts"));
    let executions = app.get("/api/v1/apps/default/executions?trigger=webhook").await.json();
    assert_eq!(executions["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_as_what_they_are() {
    let app = app_with(json!({ "scheme": "header", "header": "X-Signature", "id_header": "X-Id" })).await;
    for (id, media_type, body, expected) in [
        (
            "1",
            "application/json; charset=utf-8",
            " {\"a\": 1.50, \"n\": 9007199254740993} ",
            json!({"a": 1.5, "n": 9_007_199_254_740_993_u64}),
        ),
        ("2", "application/vnd.github+json", "[]", json!([])),
        ("3", "application/x-www-form-urlencoded", "payload=%7B%7D", json!("payload=%7B%7D")),
        ("4", "text/plain", "", json!(null)),
        ("5", "", "é", json!("é")),
    ] {
        let signature = hex(&hmac(SECRET, body));
        let headers = [("x-signature", &*signature), ("x-id", id), ("content-type", media_type)];
        let reply = deliver(&app, &headers, body).await;
        assert_eq!(reply.status, 202, "{body}: {reply}");
        wait_for(&app, "seen/", id.parse().unwrap()).await;
        let seen = app.get(&format!("/api/v1/apps/default/kv/seen%2F{id}")).await.json();
        assert_eq!(seen["data"]["body"], expected, "{body}");
    }
    let signature = hex(&hmac(SECRET, "{"));
    let headers = [("x-signature", &*signature), ("content-type", "application/json")];
    deliver(&app, &headers, "{").await.assert_problem(422, "event-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_secret_is_refused() {
    let app = app_with(json!({ "scheme": "github" })).await;
    let other = format!("sha256={}", hex(&hmac("another secret", BODY)));
    for (headers, body) in [
        (&[("x-hub-signature-256", SIGNATURE)][..], "Hello, World?"),
        (&[("x-hub-signature-256", &other)], BODY),
        (&[("x-hub-signature-256", "sha256=")], BODY),
        (&[("x-hub-signature-256", "sha256=\u{e9}")], BODY),
        (&[("x-hub-signature-256", SIGNATURE), ("x-hub-signature-256", SIGNATURE)], BODY),
        (&[("x-hub-signature", SIGNATURE)], BODY),
        (&[("stripe-signature", SIGNATURE)], BODY),
        (&[], BODY),
    ] {
        let reply = deliver(&app, headers, body).await;
        reply.assert_problem(401, "signature-invalid");
        assert_eq!(reply.header("www-authenticate"), Some("Signature realm=\"picloud\""));
        assert!(!reply.text().contains("Everybody"), "{reply}");
    }
    // A token does not stand for a signature.
    let with_token = app.request("POST", PATH).header("authorization", "Bearer x").body(BODY);
    Reply::of(with_token).await.assert_problem(401, "signature-invalid");
    assert_eq!(app.get(PATH).await.status, 405);
    let elsewhere =
        |path: &str| app.anonymous("POST", path).header("x-hub-signature-256", SIGNATURE).body(BODY);
    let unknown = Reply::of(elsewhere("/api/v1/apps/default/webhooks/none")).await;
    unknown.assert_problem(404, "webhook-not-found");
    Reply::of(elsewhere("/api/v1/apps/none/webhooks/hook")).await.assert_problem(404, "app-not-found");
    assert!(events(&app, "").await.is_empty() && values(&app, "seen/").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stripe_signature_is_good_for_five_minutes() {
    let app = app_with(json!({ "scheme": "stripe" })).await;
    let body = json!({ "id": "evt_1", "type": "charge.succeeded" }).to_string();
    let at = async |seconds: u64| {
        let signed = hex(&hmac(SECRET, &format!("{seconds}.{body}")));
        let old = hex(&hmac("the secret before", &format!("{seconds}.{body}")));
        let header = format!("t={seconds},v1={old},v1={signed},v0=00");
        deliver(&app, &[("stripe-signature", &header), ("content-type", "application/json")], body.clone())
            .await
    };
    let now = now_seconds();
    at(now - 330).await.assert_problem(401, "signature-invalid");
    at(now + 330).await.assert_problem(401, "signature-invalid");
    assert_eq!(at(now - 270).await.status, 202);
    let seen = wait_for(&app, "seen/", 1).await.remove(0);
    assert_eq!((&seen["id"], &seen["data"]["body"]["type"]), (&json!("evt_1"), &json!("charge.succeeded")));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_header_and_either_encoding_will_do() {
    let webhook =
        json!({ "scheme": "header", "header": "X-Signature", "prefix": "v1=", "encoding": "base64" });
    let app = app_with(webhook).await;
    let signature = format!("v1={}", STANDARD.encode(hmac(SECRET, BODY)));
    assert_eq!(deliver(&app, &[("x-signature", &signature)], BODY).await.status, 202);
    let reply = deliver(&app, &[("x-signature", &signature)], BODY).await;
    // Without an id of the sender's, each delivery is an event of its own.
    let seen = wait_for(&app, "seen/", 2).await;
    assert!(seen.iter().any(|event| event["id"] == reply.json()["ids"][0]), "{seen:?}");
    deliver(&app, &[("x-signature", &signature[3..])], BODY).await.assert_problem(401, "signature-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_the_same_thing_at_once_are_one_event() {
    let app = TestApp::start().await;
    secret(&app, SECRET).await;
    let webhook = json!({ "kind": "webhook", "scheme": "github", "secret": "shared", "script": "late" });
    trigger(&app, "hook", webhook).await;
    // There is no script yet, so what was delivered waits.
    let headers = [("x-hub-signature-256", SIGNATURE), ("x-github-delivery", "d-1")];
    let replies = join_all((0..20).map(|_| deliver(&app, &headers, BODY))).await;
    assert!(replies.iter().all(|reply| reply.status == 202), "{replies:?}");
    let other = [("x-hub-signature-256", SIGNATURE), ("x-github-delivery", "d-2")];
    deliver(&app, &other, BODY).await;
    let stored = events(&app, "&kind=webhook").await;
    let mut ids: Vec<_> = stored.iter().map(|event| event["event"]["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["d-1", "d-2"]);
    app.deploy("late", RECORDER).await;
    wait_for(&app, "seen/", 2).await;
    assert_eq!(values(&app, "times/").await, [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_whether_or_not_it_says_so() {
    let app = app_with(json!({ "scheme": "github" })).await;
    let large = "x".repeat((256 << 10) + 1);
    let signature = format!("sha256={}", hex(&hmac(SECRET, &large)));
    let headers = [("x-hub-signature-256", &*signature)];
    deliver(&app, &headers, large.clone()).await.assert_problem(413, "event-too-large");
    let pieces = large.as_bytes().chunks(4096).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let stream = Body::wrap_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    deliver(&app, &headers, stream).await.assert_problem(413, "event-too-large");
    // It fits, but not with its headers.
    let full = "x".repeat((256 << 10) - 10);
    let signature = format!("sha256={}", hex(&hmac(SECRET, &full)));
    deliver(&app, &[("x-hub-signature-256", &*signature)], full).await.assert_problem(413, "event-too-large");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_secret_nothing_is_believed_and_nothing_refused_for_good() {
    let mut app = app_with(json!({ "scheme": "github" })).await;
    let headers = [("x-hub-signature-256", SIGNATURE)];
    assert_eq!(app.delete("/api/v1/apps/default/secrets/shared").await.status, 204);
    let reply = deliver(&app, &headers, BODY).await;
    reply.assert_problem(503, "webhook-unavailable");
    assert_eq!(reply.header("retry-after"), Some("60"));
    secret(&app, SECRET).await;
    assert_eq!(deliver(&app, &headers, BODY).await.status, 202);
    app.restart().await;
    assert_eq!(deliver(&app, &headers, BODY).await.status, 202);
    std::fs::write(app.data_dir().join("secret.key"), [1; 32]).unwrap();
    app.restart().await;
    deliver(&app, &headers, BODY).await.assert_problem(503, "webhook-unavailable");
    let again = json!({ "kind": "webhook", "scheme": "github", "secret": "shared", "script": "other" });
    let problem = put_trigger(&app, "hook", again).await.assert_problem(422, "trigger-invalid");
    assert_eq!(problem["detail"], "The app has not a readable secret \"shared\": set it first.");
    secret(&app, SECRET).await;
    let disabled = json!({ "kind": "webhook", "scheme": "github", "secret": "shared", "script": "recorder", "enabled": false });
    trigger(&app, "hook", disabled).await;
    deliver(&app, &headers, BODY).await.assert_problem(404, "webhook-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_needs_no_token_and_may_come_through_a_tunnel() {
    let app = TestApp::builder().dev(false).start().await;
    secret(&app, SECRET).await;
    let members = json!({ "kind": "webhook", "scheme": "github", "secret": "shared", "script": "recorder" });
    trigger(&app, "hook", members.clone()).await;
    let shown = app.get("/api/v1/apps/default/triggers/hook").await;
    assert_eq!(shown.json()["secret"], "shared");
    assert!(!shown.text().contains("Everybody"));
    let headers = [("x-hub-signature-256", SIGNATURE), ("host", "tunnel.example")];
    assert_eq!(deliver(&app, &headers, BODY).await.status, 202);
    let dev = app_with(json!({ "scheme": "github" })).await;
    let from_page =
        [headers[0], headers[1], ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(deliver(&dev, &from_page, BODY).await.status, 202);
    deliver(&dev, &from_page[1..], BODY).await.assert_problem(401, "signature-invalid");
}
