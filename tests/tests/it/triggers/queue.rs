//! Queues: delay, dedupe key, attempts, how many at once.

use std::time::{Duration, Instant};

use picloud_tests::TestApp;
use serde_json::json;

use super::{RECORDER, events, trigger, values, wait_for, wait_for_events};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_once_each_and_no_more_at_once_than_the_queue_allows() {
    let app = TestApp::start().await;
    // A handler that waits would hold its claim; here each notes when it began and ended, by a clock that all share.
    app.deploy(
        "work",
        "fn on_event(event) {
            let begun = time::now();
            let n = 0;
            while time::now() < begun + 10 { n += 1; }
            kv::set(`done/${event.data}`, [begun, time::now()]);
        }",
    )
    .await;
    trigger(&app, "jobs", json!({"kind": "queue", "script": "work", "concurrency": 1})).await;
    app.deploy("submit", "for n in 0..12 { triggers::enqueue(\"jobs\", n); }").await;
    assert_eq!(app.get("/default/submit").await.status, 204);
    let mut spans: Vec<(i64, i64)> = wait_for(&app, "done/", 12)
        .await
        .iter()
        .map(|span| (span[0].as_i64().unwrap(), span[1].as_i64().unwrap()))
        .collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two ran at once: {spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_the_key_of_one_that_waits_is_not_added() {
    let app = TestApp::start().await;
    app.deploy("recorder", RECORDER).await;
    trigger(&app, "jobs", json!({"kind": "queue", "script": "recorder"})).await;
    app.deploy(
        "submit",
        "for n in 0..5 { triggers::enqueue(\"jobs\", n, #{dedupe_key: \"k\", delay_ms: 200}); }
         triggers::enqueue(\"jobs\", \"other\", #{dedupe_key: \"l\", delay_ms: 200})",
    )
    .await;
    app.get("/default/submit").await;
    app.get("/default/submit").await;
    let seen = wait_for(&app, "seen/", 2).await;
    let first = seen.iter().filter(|event| event["data"] == 0).count();
    assert_eq!(first, 1, "of those with one key the first stays: {seen:?}");
    // Once it is done, the key is free again.
    app.get("/default/submit").await;
    wait_for(&app, "seen/", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_is_waited_for() {
    let app = TestApp::start().await;
    app.deploy("recorder", "fn on_event(event) { kv::set(`seen/${event.data}`, time::now()) }").await;
    app.deploy(
        "submit",
        "triggers::enqueue(\"recorder\", \"late\", #{delay_ms: 300}); triggers::enqueue(\"recorder\", \"soon\");
         time::now()",
    )
    .await;
    let begun = Instant::now();
    let submitted: i64 = app.get("/default/submit").await.text().parse().unwrap();
    let waiting = events(&app, "&state=waiting").await;
    assert!(waiting.len() <= 2 && begun.elapsed() < Duration::from_secs(10));
    let seen = wait_for(&app, "seen/", 2).await;
    let at: Vec<i64> = seen.iter().map(|at| at.as_i64().unwrap()).collect();
    assert!(at[0] >= submitted + 300 && at[1] < at[0], "{submitted} {at:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_queued_is_an_error_that_a_script_can_catch() {
    let app = TestApp::start().await;
    app.deploy(
        "submit",
        "let attempt = |action| { try { action.call(); return \"none\"; } catch (e) { return e; } };
         [
             attempt.call(|| triggers::enqueue(\"nobody\", 1)),
             attempt.call(|| triggers::enqueue(ctx.script, 1, #{attempts: 0})),
             attempt.call(|| triggers::enqueue(ctx.script, 1, #{dedupe_key: \"\"})),
             attempt.call(|| triggers::emit(\"a/+\", 1)),
             attempt.call(|| triggers::cancel(\"x\")),
             attempt.call(|| { let big = \"\"; big.pad(300000, \"x\"); triggers::enqueue(ctx.script, big) }),
         ]",
    )
    .await;
    let reply = app.get("/default/submit").await;
    let problems = reply.json();
    for problem in problems.as_array().unwrap() {
        assert!(problem.as_str().is_some_and(|text| text.starts_with("triggers: ")), "{reply}");
    }
    app.deploy("flood", "for n in 0..101 { triggers::enqueue(ctx.script, n); }").await;
    let reply = app.get("/default/flood").await;
    assert_eq!(reply.problem_code(), "script-error");
    assert!(events(&app, "").await.is_empty(), "nothing of a call that failed is there");
    let refused =
        app.put_script("top", "const ID = triggers::enqueue(\"top\", 1); fn handle(req) { 1 }").await;
    refused.assert_problem(422, "top-level-failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_restart_and_is_counted() {
    let mut app = TestApp::start().await;
    app.deploy("recorder", RECORDER).await;
    trigger(&app, "jobs", json!({"kind": "queue", "script": "recorder", "concurrency": 3})).await;
    app.deploy(
        "submit",
        "for n in 0..10 { triggers::enqueue(\"jobs\", n, #{delay_ms: 1500}); }
         for n in 0..10 { triggers::enqueue(\"recorder\", n, #{delay_ms: 1500}); }",
    )
    .await;
    app.get("/default/submit").await;
    wait_for_events(&app, "waiting", 20).await;
    let queues = app.get("/api/v1/apps/default/queues").await.json();
    let counts: Vec<_> = queues["items"].as_array().unwrap().iter().map(|lane| &lane["waiting"]).collect();
    assert_eq!(counts, [10, 10]);
    app.restart().await;
    wait_for(&app, "seen/", 20).await;
    assert!(values(&app, "times/").await.iter().all(|times| *times == json!(1)));
}
