//! Nothing crosses apps: every operation of the API and every service, with the names and ids of another app.

use std::io::Read as _;
use std::time::Duration;

use flate2::read::GzDecoder;
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

use super::{create, deploy, put};

/// Everything that an app can own, under names that the other app does not have.
struct Owner {
    /// An execution of a call.
    execution: String,
    /// An execution whose answer is kept.
    kept: String,
    /// An event that waits.
    event: String,
}

const SCRIPT: &str = r#"
    fn handle(req) {
        kv::set("ann-key", "private");
        log::info("private");
        triggers::enqueue("ann-queue", "private", #{ delay_ms: 3600000 });
        "private"
    }
    fn on_event(event) { kv::incr("ann-events"); }
"#;

async fn fill(app: &TestApp) -> Owner {
    deploy(app, "ann", "ann-script", "1").await;
    deploy(app, "ann", "ann-script", SCRIPT).await;
    put(app, "ann/triggers/ann-queue", json!({ "kind": "queue", "script": "ann-script" })).await;
    put(app, "ann/triggers/ann-topic", json!({ "kind": "topic", "topic": "ann/#", "script": "ann-script" }))
        .await;
    put(app, "ann/triggers/ann-kv", json!({ "kind": "kv", "prefix": "shared/", "script": "ann-script" }))
        .await;
    put(app, "ann/config/ann-config", json!("private")).await;
    put(app, "ann/http-policy", json!({ "rules": [{ "hosts": ["ann.example"] }] })).await;
    put(app, "ann/routes/ann-route", json!({ "path": "/ann/x", "script": "ann-script" })).await;
    let secret =
        app.request("PUT", "/api/v1/apps/ann/secrets/ann-secret").header("content-type", "text/plain");
    assert!(Reply::of(secret.body("private secret")).await.is_success());
    let call = app.get("/ann/ann-script").await;
    assert_eq!(call.text(), "private");
    let later = app.request("POST", "/ann/ann-script").header("prefer", "respond-async");
    let later = Reply::of(later).await;
    assert_eq!(later.status, 202, "{later}");
    let kept = later.json()["execution_id"].as_str().unwrap().to_owned();
    let begun = std::time::Instant::now();
    while app.get(&format!("/api/v1/apps/ann/executions/{kept}/answer")).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the call does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let events = app.get("/api/v1/apps/ann/events").await.json();
    let event = events["items"][0]["id"].as_str().unwrap().to_owned();
    Owner { execution: call.execution_id().to_owned(), kept, event }
}

/// Everything that the API tells of the app `ann`.
async fn all_of_ann(app: &TestApp) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "",
        "/scripts",
        "/scripts/ann-script/versions",
        "/triggers",
        "/config",
        "/secrets",
        "/http-policy",
        "/routes",
        "/kv",
        "/events",
        "/queues",
        "/executions",
        "/logs",
    ] {
        let reply = app.get(&format!("/api/v1/apps/ann{path}")).await;
        assert_eq!(reply.status, 200, "{path}: {reply}");
        let mut told = reply.json();
        // Where to read on in the log is a number of the whole server: it grows with the records of every app.
        told.as_object_mut().unwrap().remove("next_after");
        all.push(told);
    }
    all
}

/// The path of an operation for an app, with the names and ids of what `ann` owns.
fn address(path: &str, owner: &str, ann: &Owner, id: &str) -> String {
    let collection = path.split('/').nth(5).unwrap_or_default();
    let name = match collection {
        "scripts" => "ann-script",
        "triggers" | "webhooks" => "ann-topic",
        "config" => "ann-config",
        "secrets" => "ann-secret",
        "routes" => "ann-route",
        _ => "ann-name",
    };
    path.replace("{app}", owner)
        .replace("{name}", name)
        .replace("{key}", "ann-key")
        .replace("{number}", "1")
        .replace("{root}", &ann.execution)
        .replace("{id}", id)
}

/// A body with which the operation would work for who may.
fn body_of(method: &str, path: &str) -> Option<(&'static str, String)> {
    let json = |body: Value| Some(("application/json", body.to_string()));
    match (method, path.split('/').nth(5).unwrap_or_default()) {
        ("PUT", "") => json(json!({})),
        ("PUT", "scripts") if path.ends_with("access") => json(json!({ "kind": "none" })),
        ("PUT", "scripts") => Some(("text/plain", "\"taken over\"".to_owned())),
        ("PUT", "triggers") => json(json!({ "kind": "topic", "topic": "bob", "script": "bob-script" })),
        ("PUT", "config" | "kv") => json(json!("taken over")),
        ("PUT", "secrets") => Some(("text/plain", "taken over by bob".to_owned())),
        ("PUT", "http-policy") => json(json!({ "rules": [] })),
        ("PUT", "routes") => json(json!({ "path": "/bob/y", "script": "bob-script" })),
        ("POST", "events") if path.ends_with("events") => json(json!("from bob")),
        _ => None,
    }
}

/// `(method, path)` of every operation about an app.
async fn operations(app: &TestApp) -> Vec<(String, String)> {
    let document = app.get("/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|_| path.contains("{app}")) {
            operations.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(operations.len() > 40, "{}", operations.len());
    operations
}

/// What an answer says, also one that is compressed.
fn unpacked(reply: &Reply) -> String {
    let mut text = Vec::new();
    match reply.header("content-type") {
        Some("application/gzip") => drop(GzDecoder::new(&*reply.body).read_to_end(&mut text).unwrap()),
        _ => text.clone_from(&reply.body),
    }
    String::from_utf8(text).expect("what is told is text")
}

async fn bob(app: &TestApp) -> String {
    let body = json!({ "name": "bob", "scopes": ["app:bob:admin"] });
    let made = Reply::of(app.request("POST", "/api/v1/tokens").json(&body)).await;
    made.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_reaches_what_another_app_owns() {
    let app = TestApp::builder().dev(false).start().await;
    create(&app, "ann").await;
    create(&app, "bob").await;
    let ann = fill(&app).await;
    let token = bob(&app).await;
    let before = all_of_ann(&app).await;
    for (method, path) in operations(&app).await {
        let open = path.contains("/webhooks/");
        for id in [&ann.execution, &ann.kept, &ann.event] {
            let send = async |owner: &str| {
                let request = app.anonymous(&method, &address(&path, owner, &ann, id)).bearer_auth(&token);
                match body_of(&method, &path) {
                    Some((kind, body)) => Reply::of(request.header("content-type", kind).body(body)).await,
                    None => Reply::of(request).await,
                }
            };
            let theirs = send("ann").await;
            if !open {
                theirs.assert_problem(403, "forbidden");
            }
            // Under bob's own name the same names and ids are nothing, or something new of bob's.
            let own = send("bob").await;
            assert!(own.status < 500, "{method} {path}: {own}");
            let told = unpacked(&own);
            assert!(!told.contains("private"), "{method} {path} tells what is ann's: {told}");
            let by_id = path.contains("{id}") || path.contains("{root}");
            assert!(!by_id || own.status == 404, "{method} {path} of bob finds what is ann's: {own}");
            if !path.contains("{id}") {
                break;
            }
        }
    }
    assert_eq!(all_of_ann(&app).await, before, "bob has changed what is ann's");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_service_reaches_what_another_app_owns() {
    let app = TestApp::builder().dev(false).start().await;
    create(&app, "ann").await;
    create(&app, "bob").await;
    let ann = fill(&app).await;
    let before = all_of_ann(&app).await;
    let source = r#"
        fn attempt(action) { try { action.call() } catch (error) { `refused: ${error}` } }
        fn handle(req) {
            let event = req.body;
            let found = [];
            found.push(kv::get("ann-key"));
            found.push(kv::exists("ann-key"));
            found.push(kv::list("").entries);
            found.push(attempt(|| scripts::invoke("ann-script")));
            found.push(attempt(|| scripts::invoke("ann/ann-script")));
            found.push(attempt(|| scripts::invoke("../ann/ann-script")));
            found.push(attempt(|| secrets::get("ann-secret")));
            found.push(attempt(|| config::get("ann-config")));
            found.push(attempt(|| triggers::enqueue("ann-queue", 1)));
            found.push(attempt(|| triggers::enqueue("ann-script", 1)));
            found.push(attempt(|| triggers::cancel(event)));
            found.push(attempt(|| http::get("http://ann.example/")));
            triggers::emit("ann/told", "by bob");
            kv::set("shared/a", 1);
            found
        }
    "#;
    deploy(&app, "bob", "spy", source).await;
    let spied = Reply::of(app.request("POST", "/bob/spy").body(ann.event.clone())).await;
    assert_eq!(spied.status, 200, "{spied}");
    assert!(!spied.text().contains("private"), "{spied}");
    let found = spied.json();
    assert_eq!((&found[0], &found[1]), (&Value::Null, &json!(false)), "{found}");
    // Each of these is refused, or is nothing; what the functions answer when there is nothing is theirs.
    for (index, answer) in found.as_array().unwrap().iter().enumerate().skip(2) {
        let text = answer.to_string();
        let nothing = text.contains("refused: ") || matches!(&*text, "null" | "false" | "[]");
        assert!(nothing, "{index}: {text}");
    }
    // Neither bob's message nor bob's key is an event for ann.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(all_of_ann(&app).await, before);
    // Nor are the numbers of one those of another.
    let metrics = app.get("/metrics").await;
    let line = |owner: &str| {
        let calls = metrics.text().lines().filter(|line| line.starts_with("picloud_calls_total"));
        calls.filter(|line| line.contains(&format!("app=\"{owner}\""))).count()
    };
    assert!(line("ann") > 0 && line("bob") > 0);
    app.get("/api/v1/apps/bob/scripts/ann-script/metrics").await.assert_problem(404, "script-not-found");
}
