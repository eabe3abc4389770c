//! Apps: nothing of one is there for another, and nothing is left of one that was deleted.

mod archive;
mod crossing;
mod deletion;

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

/// Make an app.
async fn create(app: &TestApp, name: &str) {
    let made = Reply::of(app.request("PUT", &format!("/api/v1/apps/{name}")).json(&json!({}))).await;
    assert_eq!(made.status, 201, "{made}");
}

/// Put a JSON document below an app, which must succeed.
async fn put(app: &TestApp, path: &str, body: Value) -> Reply {
    let reply = Reply::of(app.request("PUT", &format!("/api/v1/apps/{path}")).json(&body)).await;
    assert!(reply.is_success(), "{path}: {reply}");
    reply
}

/// Upload a script to an app, which must succeed.
async fn deploy(app: &TestApp, owner: &str, name: &str, source: &str) {
    let path = format!("/api/v1/apps/{owner}/scripts/{name}");
    let reply = app.put(&path, source.to_owned()).await;
    assert!(reply.is_success(), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_have_scripts_of_the_same_name_and_limits_of_their_own() {
    let mut app = TestApp::start().await;
    for name in ["ann", "bob"] {
        create(&app, name).await;
        deploy(&app, name, "who", &format!("fn handle(req) {{ kv::incr(\"n\"); `{name} ${{ctx.app}}` }}"))
            .await;
    }
    put(&app, "bob", json!({ "limits": { "fuel": 5000 } })).await;
    assert_eq!(app.get("/ann/who").await.text(), "ann ann");
    app.get("/bob/who").await.assert_problem(500, "fuel-exhausted");
    app.restart().await;
    app.get("/bob/who").await.assert_problem(500, "fuel-exhausted");
    put(&app, "bob", json!({})).await;
    assert_eq!(app.get("/bob/who").await.text(), "bob bob");
    for (name, count) in [("ann", "1"), ("bob", "1")] {
        assert_eq!(app.get(&format!("/api/v1/apps/{name}/kv/n")).await.text(), count);
    }
    // What may be uploaded is bounded, too.
    put(&app, "bob", json!({ "limits": { "source_bytes": 10 } })).await;
    let long = app.put("/api/v1/apps/bob/scripts/long", "1 + 1 + 1 + 1").await;
    long.assert_problem(413, "source-too-large");
}
