//! Failures: attempts, dead letters, replaying and purging them.

use picloud_tests::TestApp;
use serde_json::{Value, json};

use super::{events, trigger, values, wait_for, wait_for_events};

const JOBS: &str = "/api/v1/apps/default/events";

async fn app(work: &str) -> TestApp {
    let app = TestApp::start().await;
    app.deploy("work", work.to_owned()).await;
    let queue = json!({"kind": "queue", "script": "work", "attempts": 3, "backoff_ms": 1});
    trigger(&app, "jobs", queue).await;
    app.deploy("submit", "triggers::enqueue(\"jobs\", req.query.data)").await;
    app
}

async fn executions(app: &TestApp, script: &str) -> Vec<Value> {
    let reply = app.get(&format!("/api/v1/apps/default/executions?script={script}&order=asc")).await;
    reply.json()["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_may_pass_is_tried_again_and_leaves_nothing_behind() {
    // What it reads may be another the next time.
    let app = app("fn on_event(event) {
            kv::set(\"half\", 1);
            if !kv::exists(\"ready\") { throw \"not yet\"; }
            kv::incr(\"done\");
        }")
    .await;
    app.get("/default/submit?data=a").await;
    let dead = wait_for_events(&app, "dead", 1).await;
    assert_eq!(dead[0]["attempt"], 3);
    assert_eq!(dead[0]["failure"]["code"], "script-threw");
    assert_eq!(dead[0]["failure"]["message"], "not yet");
    assert_eq!(dead[0]["queue"], "jobs");
    assert!(values(&app, "half").await.is_empty());
    let tried = executions(&app, "work").await;
    assert_eq!(tried.len(), 3);
    assert_eq!(dead[0]["failure"]["execution_id"], tried[2]["id"]);
    assert!(tried.iter().all(|execution| execution["trigger"] == "queue" && execution["status"] == 500));

    // Once the reason is gone, it can be replayed.
    app.request("PUT", "/api/v1/apps/default/kv/ready").json(&true).send().await.unwrap();
    let replay = format!("{JOBS}/{}/replay", dead[0]["id"].as_str().unwrap());
    assert_eq!(app.post(&replay, "").await.status, 202);
    let done = wait_for(&app, "done", 1).await;
    assert_eq!(done, [json!(1)]);
    app.post(&replay, "").await.assert_problem(404, "event-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_would_come_again_is_not_tried_again() {
    let app = app("fn on_event(event) {
            switch event.data {
                \"throw\" => throw \"always\",
                \"type\" => event.data - 1,
                \"fuel\" => loop { },
                _ => (),
            }
        }")
    .await;
    for data in ["throw", "type", "fuel"] {
        app.get(&format!("/default/submit?data={data}")).await;
    }
    let dead = wait_for_events(&app, "dead", 3).await;
    let mut codes: Vec<_> = dead.iter().map(|event| event["failure"]["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["fuel-exhausted", "script-error", "script-threw"]);
    assert!(dead.iter().all(|event| event["attempt"] == 1), "{dead:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_is_not_there_or_handles_no_events_can_be_uploaded_later() {
    let app = app("fn handle(req) { 1 }").await;
    trigger(&app, "none", json!({"kind": "queue", "script": "none", "attempts": 100, "backoff_ms": 20}))
        .await;
    app.deploy("both", "triggers::enqueue(\"none\", 1); triggers::enqueue(\"jobs\", 2)").await;
    app.get("/default/both").await;
    let waits = async |code: &str| loop {
        let waiting = events(&app, "").await;
        if waiting.iter().any(|event| event["failure"]["code"] == code) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    waits("script-not-found").await;
    waits("handler-missing").await;
    app.deploy("none", "fn on_event(event) { kv::set(\"none\", event.data) }").await;
    let begun = std::time::Instant::now();
    while values(&app, "none").await != [json!(1)] {
        assert!(begun.elapsed() < super::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_replayed_and_purged_together() {
    let app =
        app("fn on_event(event) { if !kv::exists(\"ready\") { throw \"not yet\" } kv::incr(\"done\") }")
            .await;
    for n in 0..7 {
        app.get(&format!("/default/submit?data={n}")).await;
    }
    wait_for_events(&app, "dead", 7).await;
    let page = app.get(&format!("{JOBS}?state=dead&limit=5")).await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 5);
    let next = format!("{JOBS}?state=dead&limit=5&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(app.get(&next).await.json()["items"].as_array().unwrap().len(), 2);

    let one = format!("{JOBS}/{}", page["items"][0]["id"].as_str().unwrap());
    assert_eq!(app.delete(&one).await.status, 204);
    app.request("PUT", "/api/v1/apps/default/kv/ready").json(&true).send().await.unwrap();
    assert_eq!(app.post(&format!("{JOBS}/replay?queue=none"), "").await.json(), json!({"events": 0}));
    assert_eq!(app.post(&format!("{JOBS}/replay?queue=jobs"), "").await.json(), json!({"events": 6}));
    assert_eq!(wait_for(&app, "done", 1).await, [json!(6)]);

    app.delete("/api/v1/apps/default/kv/ready").await;
    app.get("/default/submit?data=x").await;
    wait_for_events(&app, "dead", 1).await;
    app.delete(JOBS).await.assert_problem(400, "query-invalid");
    assert_eq!(app.delete(&format!("{JOBS}?state=dead")).await.json(), json!({"events": 1}));
    assert!(events(&app, "").await.is_empty());
}
