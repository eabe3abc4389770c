//! Loops end, and a trace shows them.

use std::time::{Duration, Instant};

use picloud_tests::TestApp;
use serde_json::{Value, json};

use super::{trigger, values, wait_for_events};

/// The executions of a trace that is a chain, from the root on, and the event at its end.
fn chain(trace: &Value) -> (Vec<&Value>, Option<&Value>) {
    let (mut executions, mut nodes) = (Vec::new(), &trace["roots"]);
    loop {
        let nodes_here = nodes.as_array().unwrap();
        let Some(node) = nodes_here.iter().find(|node| node.get("execution").is_some()) else {
            return (executions, nodes_here.first().map(|node| &node["event"]));
        };
        executions.push(&node["execution"]);
        nodes = &node["children"];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_scripts_that_trigger_each_other_stop_at_the_depth_limit() {
    let app = TestApp::start().await;
    app.deploy("ping", "fn handle(req) { kv::incr(\"ping\") } fn on_event(event) { kv::incr(\"ping\") }")
        .await;
    app.deploy("pong", "fn on_event(event) { kv::incr(\"pong\") }").await;
    trigger(&app, "a", json!({"kind": "kv", "script": "pong", "prefix": "ping"})).await;
    trigger(&app, "b", json!({"kind": "kv", "script": "ping", "prefix": "pong"})).await;
    let root = app.get("/default/ping").await.execution_id().to_owned();
    let dead = wait_for_events(&app, "dead", 1).await;
    assert_eq!(dead[0]["failure"]["code"], "depth-exceeded");
    assert_eq!((&dead[0]["trigger_depth"], &dead[0]["attempt"]), (&json!(17), &json!(1)));
    let steps: i64 = values(&app, "p").await.iter().map(|count| count.as_i64().unwrap()).sum();
    assert_eq!(steps, 17, "the call and sixteen triggers");

    let trace = app.get(&format!("/api/v1/apps/default/traces/{root}")).await;
    assert_eq!(trace.status, 200, "{trace}");
    let trace = trace.json();
    let (executions, _) = chain(&trace);
    let scripts: Vec<_> = executions.iter().map(|execution| execution["script"].as_str().unwrap()).collect();
    let expected: Vec<_> = ["ping", "pong"].into_iter().cycle().take(18).collect();
    assert_eq!(scripts, expected);
    let depths: Vec<_> =
        executions.iter().map(|execution| execution["trigger_depth"].as_i64().unwrap()).collect();
    assert_eq!(depths, (0..18).collect::<Vec<_>>());
    assert_eq!(executions[17]["code"], "depth-exceeded");
    assert_eq!(executions[17]["fuel"], 0);
    assert!(executions.iter().all(|execution| execution["root_id"] == root.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_shows_a_fan_out_and_what_is_still_to_come() {
    let app = TestApp::start().await;
    app.deploy(
        "start",
        "triggers::enqueue(\"leaf\", 1); triggers::enqueue(\"leaf\", 2);
         triggers::schedule(\"leaf\", time::now() + 3600000, 3); ()",
    )
    .await;
    app.deploy("leaf", "fn on_event(event) { kv::incr(\"leaves\") }").await;
    let root = app.get("/default/start").await.execution_id().to_owned();
    // Both jobs are done, and what is written down of them a little later.
    let begun = Instant::now();
    let trace = loop {
        let trace = app.get(&format!("/api/v1/apps/default/traces/{root}")).await.json();
        let children = trace["roots"][0]["children"].as_array().map(Vec::as_slice).unwrap_or_default();
        if children.iter().filter(|node| node.get("execution").is_some()).count() == 2 {
            break trace;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{trace}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let roots = trace["roots"].as_array().unwrap();
    assert_eq!((roots.len(), &trace["truncated"]), (1, &json!(false)));
    assert_eq!(roots[0]["execution"]["id"], root.as_str());
    let children = roots[0]["children"].as_array().unwrap();
    let ran: Vec<_> = children.iter().filter(|node| node.get("execution").is_some()).collect();
    assert_eq!((ran.len(), children.len()), (2, 3), "{trace}");
    assert!(ran.iter().all(|node| node["execution"]["parent_id"] == root.as_str()));
    let waits = children.iter().find(|node| node.get("event").is_some()).unwrap();
    assert_eq!((&waits["event"]["kind"], &waits["event"]["parent_id"]), (&json!("timer"), &json!(root)));

    let unknown = "01981a3c-5f7e-7c3a-9b1d-2f6e8a4c0d17";
    let missing = app.get(&format!("/api/v1/apps/default/traces/{unknown}")).await;
    missing.assert_problem(404, "execution-not-found");
    app.get("/api/v1/apps/default/traces/x").await.assert_problem(404, "execution-not-found");
}
