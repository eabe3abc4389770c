//! Cancelling asynchronous calls.

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

use super::{ECHO, SLOW, accepted, answer, answer_of, look, one_at_a_time, value, wait_for_state};

async fn cancel(app: &TestApp, location: &str) -> Reply {
    Reply::of(app.anonymous("DELETE", location)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_never_runs() {
    let app = one_at_a_time().start().await;
    app.deploy("echo", ECHO).await;
    app.deploy("slow", SLOW).await;
    let blocker = accepted(&app, "/default/slow", "400").await;
    wait_for_state(&app, &blocker, "running").await;
    let waits = accepted(&app, "/default/echo", "").await;
    assert_eq!(cancel(&app, &waits).await.status, 204);
    let cancelled = look(&app, &waits).await.json();
    assert_eq!((&cancelled["state"], &cancelled["status"]), (&json!("done"), &json!(410)), "{cancelled}");
    let problem = look(&app, &answer_of(&waits)).await.assert_problem(410, "cancelled");
    assert!(waits.contains(problem["execution_id"].as_str().unwrap()));
    cancel(&app, &waits).await.assert_problem(409, "not-cancellable");
    assert_eq!(answer(&app, &blocker).await.status, 200);
    assert_eq!(value(&app, "calls").await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs_ends_at_once_and_has_no_effects() {
    let app = TestApp::builder().limits(|limits| limits.fuel = 1_000_000_000_000).start().await;
    app.deploy("slow", r#"fn handle(req) { kv::set("x", 1); triggers::enqueue("slow", 1); loop {} }"#).await;
    let location = accepted(&app, "/default/slow", "").await;
    wait_for_state(&app, &location, "running").await;
    assert_eq!(cancel(&app, &location).await.status, 204);
    look(&app, &answer_of(&location)).await.assert_problem(410, "cancelled");
    let path = location.split('?').next().unwrap();
    let begun = std::time::Instant::now();
    loop {
        let record = app.get(path).await.json();
        if record["code"] == "cancelled" {
            assert_eq!((&record["fault"], &record["status"]), (&Value::Null, &json!(410)), "{record}");
            break;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "it runs on: {record}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(value(&app, "x").await, Value::Null);
    assert!(app.get("/api/v1/apps/default/events").await.json()["items"].as_array().unwrap().is_empty());
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_or_was_waited_for_cannot_be_cancelled() {
    let app = TestApp::start().await;
    app.deploy("echo", ECHO).await;
    let done = accepted(&app, "/default/echo", "").await;
    assert_eq!(answer(&app, &done).await.status, 201);
    cancel(&app, &done).await.assert_problem(409, "not-cancellable");
    assert_eq!(look(&app, &answer_of(&done)).await.status, 201, "the answer stays");
    let waited = app.post("/default/echo", "").await;
    let path = |id: &str| format!("/api/v1/apps/default/executions/{id}");
    app.delete(&path(waited.execution_id())).await.assert_problem(409, "not-cancellable");
    let unknown = path(&uuid::Uuid::now_v7().to_string());
    app.delete(&unknown).await.assert_problem(404, "execution-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_event_is_taken_back_is_cancelled() {
    let app = one_at_a_time().start().await;
    app.deploy("echo", ECHO).await;
    app.deploy("slow", SLOW).await;
    let blocker = accepted(&app, "/default/slow", "400").await;
    wait_for_state(&app, &blocker, "running").await;
    let waits = accepted(&app, "/default/echo", "").await;
    let gone = app.delete("/api/v1/apps/default/events?state=waiting&kind=http").await;
    assert_eq!(gone.json()["events"], 1, "{gone}");
    look(&app, &answer_of(&waits)).await.assert_problem(410, "cancelled");
    assert_eq!(look(&app, &waits).await.json()["state"], "done");
    assert_eq!(answer(&app, &blocker).await.status, 200);
    assert_eq!(value(&app, "calls").await, Value::Null);
}
