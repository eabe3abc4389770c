//! Keys and events.

use picloud_host::quota::Quotas;
use picloud_tests::{Reply, TestApp};

use super::{post_event, wait_for_value, with};

const KV: &str = "/api/v1/apps/default/kv";

/// Does as it is told: `POST /default/set/KEY` with the value, `POST /default/delete/KEY`.
const KEYS: &str = r#"
fn handle(req) {
    let parts = req.path.split("/");
    if parts[1] == "delete" { kv::delete(parts[2]); } else { kv::set(parts[2], req.body); }
    "done"
}"#;

async fn with_kv_bytes(most: u64) -> TestApp {
    let app = with(Quotas { kv_bytes: Some(most), ..Quotas::default() }).start().await;
    app.deploy("keys", KEYS).await;
    app
}

async fn with_queued_events(most: u64) -> TestApp {
    let app = with(Quotas { queued_events: Some(most), ..Quotas::default() }).start().await;
    app.deploy("never", "fn on_event(event) { throw \"no\" }").await;
    app.deploy(
        "submit",
        "fn handle(req) { triggers::enqueue(\"never\", 1, #{delay_ms: 60000, attempts: 1}); 1 }",
    )
    .await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_keys_and_values_more_than_their_quota_fails_and_leaves_nothing() {
    let app = with_kv_bytes(1000).await;
    // A text has two quotes in JSON.
    assert_eq!(app.post("/default/keys/set/a", "x".repeat(900)).await.status, 200);
    let refused = app.post("/default/keys/set/b", "x".repeat(200)).await;
    let problem = refused.assert_problem(507, "kv-quota-exceeded");
    assert_eq!((&problem["fault"], &problem["retryable"]), (&"limit".into(), &false.into()));
    assert!(
        problem["detail"].as_str().unwrap().contains("the 1000 bytes of its quota kv_bytes"),
        "{problem}"
    );
    assert!(problem["execution_id"].is_string(), "the call has run: {problem}");
    assert_eq!(app.get(&format!("{KV}/b")).await.status, 404);
    let put = app.request("PUT", &format!("{KV}/b")).header("content-type", "application/json");
    let refused = Reply::of(put.body(format!("\"{}\"", "x".repeat(200)))).await;
    refused.assert_problem(507, "kv-quota-exceeded");
    assert_eq!(app.post("/default/keys/set/a", "y".repeat(900)).await.status, 200, "no more than it was");
    assert_eq!(app.post("/default/keys/delete/a", "").await.status, 200);
    assert_eq!(app.post("/default/keys/set/b", "x".repeat(200)).await.status, 200, "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_there_after_a_restart() {
    let mut app = with_kv_bytes(1000).await;
    assert_eq!(app.post("/default/keys/set/a", "x".repeat(900)).await.status, 200);
    app.restart().await;
    app.post("/default/keys/set/b", "x".repeat(200)).await.assert_problem(507, "kv-quota-exceeded");
    assert_eq!(app.delete(&format!("{KV}/a")).await.status, 204);
    app.restart().await;
    assert_eq!(app.post("/default/keys/set/b", "x".repeat(200)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_a_quota_wherever_they_come_from() {
    let app = with_queued_events(3).await;
    for _ in 0..3 {
        assert_eq!(app.get("/default/submit").await.status, 200);
    }
    let problem = app.get("/default/submit").await.assert_problem(507, "events-quota-exceeded");
    assert_eq!((&problem["fault"], &problem["retryable"]), (&"limit".into(), &true.into()));
    post_event(&app, "default", "never", "1").await.assert_problem(507, "events-quota-exceeded");
    let later = app.anonymous("POST", "/default/submit").header("prefer", "respond-async");
    Reply::of(later).await.assert_problem(507, "events-quota-exceeded");
    let id =
        app.get("/api/v1/apps/default/events").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let removed = app.delete(&format!("/api/v1/apps/default/events/{id}")).await;
    assert!(removed.is_success(), "{removed}");
    assert_eq!(app.get("/default/submit").await.status, 200, "one is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_makes_room_for_what_follows_from_it() {
    let app = with_queued_events(1).await;
    app.deploy(
        "chain",
        "fn on_event(event) {
            if event.data < 5 { triggers::enqueue(\"chain\", event.data + 1); } else { kv::set(\"end\", event.data); }
        }",
    )
    .await;
    assert_eq!(post_event(&app, "default", "chain", "1").await.status, 202);
    wait_for_value(&app, "end", "5").await;
}
