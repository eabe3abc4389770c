//! Cancelling against ending: either a call was cancelled and has no effects, or it has ended and has all of them.

use std::time::Duration;

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{accepted, answer, value};

/// How many calls are raced.
const CALLS: usize = 300;

/// Two keys, and an event whose handler makes a third one.
const EFFECTS: &str = r#"
fn handle(req) {
    kv::set(`one/${req.body}`, 1);
    kv::incr(`two/${req.body}`);
    triggers::enqueue("race", req.body);
    "done"
}
fn on_event(event) { kv::incr(`three/${event.data}`); }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_cancelled_or_done_and_never_both() {
    let app = std::sync::Arc::new(TestApp::start().await);
    app.deploy("race", EFFECTS).await;
    let mut races = JoinSet::new();
    for number in 0..CALLS {
        let app = app.clone();
        races.spawn(async move {
            let location = accepted(&app, "/default/race", &number.to_string()).await;
            // From before it is claimed until after it has ended.
            tokio::time::sleep(Duration::from_micros((number as u64 * 397) % 12_000)).await;
            let cancelled = Reply::of(app.anonymous("DELETE", &location)).await;
            let answer = answer(&app, &location).await;
            match cancelled.status {
                204 => drop(answer.assert_problem(410, "cancelled")),
                _ => {
                    cancelled.assert_problem(409, "not-cancellable");
                    assert_eq!((answer.status, answer.text()), (200, "done"));
                }
            }
            (number, cancelled.status == 204)
        });
        if races.len() == 24 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let ends = races.join_all().await;
    while !app.get("/api/v1/apps/default/events").await.json()["items"].as_array().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let cancelled = ends.iter().filter(|(_, cancelled)| *cancelled).count();
    println!("{cancelled} of {CALLS} were cancelled");
    assert!(cancelled > 0 && cancelled < CALLS, "{cancelled} of {CALLS}: that was no race");
    for (number, cancelled) in ends {
        let expected = if cancelled { Value::Null } else { json!(1) };
        for kind in ["one", "two", "three"] {
            assert_eq!(value(&app, &format!("{kind}%2F{number}")).await, expected, "{kind}/{number}");
        }
    }
}
