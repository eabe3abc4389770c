//! One-off timers.

use picloud_tests::TestApp;
use serde_json::json;

use super::{events, values, wait_for, wait_for_events};

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_fires_at_its_time_or_not_at_all_when_it_is_cancelled() {
    let app = TestApp::start().await;
    app.deploy("ring", "fn on_event(event) { kv::set(`rang/${event.data}`, [time::now(), event.type]) }")
        .await;
    app.deploy(
        "set",
        "let now = time::now();
         let a = triggers::schedule(\"ring\", now + 250, \"a\");
         let b = triggers::schedule(\"ring\", now + 250, \"b\");
         let past = triggers::schedule(\"ring\", 0, \"past\");
         #{now: now, b: b}",
    )
    .await;
    app.deploy("cancel", "triggers::cancel(req.query.id)").await;
    let set = app.get("/default/set").await.json();
    let cancel = format!("/default/cancel?id={}", set["b"].as_str().unwrap());
    assert_eq!(app.get(&cancel).await.text(), "true");
    assert_eq!(app.get(&cancel).await.text(), "false", "it has gone already");
    let rang = wait_for(&app, "rang/", 2).await;
    let (a, past) = (rang[0][0].as_i64().unwrap(), rang[1][0].as_i64().unwrap());
    assert!(a >= set["now"].as_i64().unwrap() + 250 && past < a, "{rang:?}");
    assert_eq!(rang[0][1], "picloud.timer");
    assert_eq!(app.get(&cancel).await.text(), "false");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_is_part_of_the_transaction() {
    let app = TestApp::start().await;
    app.deploy("ring", "fn on_event(event) { kv::set(`rang/${event.data}`, 1) }").await;
    app.deploy("set", "triggers::schedule(\"ring\", time::now() + 400, \"a\")").await;
    app.deploy("fail", "let gone = triggers::cancel(req.query.id); throw #{status: 400, message: `${gone}`}")
        .await;
    app.deploy(
        "own",
        "let id = triggers::schedule(\"ring\", 0, \"b\"); [triggers::cancel(id), triggers::cancel(id)]",
    )
    .await;
    let id = app.get("/default/set").await.text().to_owned();
    let failed = app.get(&format!("/default/fail?id={id}")).await;
    assert_eq!(failed.json()["detail"], "true");
    assert_eq!(app.get("/default/own").await.json(), json!([true, false]));
    let rang = wait_for(&app, "rang/", 1).await;
    assert_eq!(rang.len(), 1, "what failed has cancelled nothing, and what was never made does not ring");
    assert_eq!(values(&app, "rang/b").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_what_is_no_id_counts_like_other_cancelling() {
    let app = TestApp::builder().limits(|limits| limits.events = 10).start().await;
    let source = "let n = 0;
        loop { try { triggers::cancel(\"no id\"); } catch (e) { n += 1; if n == 11 { return e; } } }";
    app.deploy("cancel", source).await;
    let told = app.get("/default/cancel").await;
    assert_eq!(
        told.text(),
        "triggers: a call may make at most 10 events; each cancel and each list counts as one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_can_be_set_seen_and_taken_back_over_rest() {
    let app = TestApp::start().await;
    app.deploy("ring", "fn on_event(event) { kv::set(\"rang\", event.data) }").await;
    app.deploy("list", "triggers::list(\"ring\").map(|event| event.id)").await;
    let path = "/api/v1/apps/default/events?script=ring&at=2099-01-01T00:00:00Z";
    let accepted = app.request("POST", path).json(&json!({"n": 1}));
    let accepted = picloud_tests::Reply::of(accepted).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let id = accepted.json()["ids"][0].as_str().unwrap().to_owned();
    let waiting = wait_for_events(&app, "waiting", 1).await;
    assert_eq!(waiting[0]["kind"], "timer");
    assert_eq!(waiting[0]["due_at"], "2099-01-01T00:00:00Z");
    assert_eq!(app.get("/default/list").await.json(), json!([id]));
    let event = format!("/api/v1/apps/default/events/{id}");
    assert_eq!(app.get(&event).await.json()["event"]["data"], json!({"n": 1}));
    assert_eq!(app.delete(&event).await.status, 204);
    app.get(&event).await.assert_problem(404, "event-not-found");
    app.delete(&event).await.assert_problem(404, "event-not-found");
    assert!(events(&app, "").await.is_empty());
}
