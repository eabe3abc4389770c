//! Cancelling against ending: either a call was cancelled and has no effects, or it has ended and has all of them.

use std::time::Duration;

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{accepted, answer, value};

/// How many callers race with the server at the same time, and how many calls each of them makes.
const CALLERS: usize = 12;
const CALLS: usize = 25;

/// How long a caller waits at first before it cancels.
const FIRST_WAIT: Duration = Duration::from_millis(2);

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
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let app = app.clone();
        callers.spawn(async move {
            let (mut wait, mut ends) = (FIRST_WAIT, Vec::new());
            for number in caller * CALLS..(caller + 1) * CALLS {
                let cancelled = race(&app, number, wait).await;
                // Half of the calls end each way, however fast the machine is: who was too early waits longer.
                wait = if cancelled { wait * 5 / 4 } else { wait * 4 / 5 };
                ends.push((number, cancelled));
            }
            ends
        });
    }
    let ends = callers.join_all().await.concat();
    while !app.get("/api/v1/apps/default/events").await.json()["items"].as_array().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let cancelled = ends.iter().filter(|(_, cancelled)| *cancelled).count();
    println!("{cancelled} of {} were cancelled", ends.len());
    assert!(cancelled > 0 && cancelled < ends.len(), "{cancelled} of {}: that was no race", ends.len());
    for (number, cancelled) in ends {
        let expected = if cancelled { Value::Null } else { json!(1) };
        for kind in ["one", "two", "three"] {
            assert_eq!(value(&app, &format!("{kind}%2F{number}")).await, expected, "{kind}/{number}");
        }
    }
}

/// Make a call and cancel it after a while. Whether that was in time.
async fn race(app: &TestApp, number: usize, wait: Duration) -> bool {
    let location = accepted(app, "/default/race", &number.to_string()).await;
    tokio::time::sleep(wait).await;
    let cancelled = Reply::of(app.anonymous("DELETE", &location)).await;
    let answer = answer(app, &location).await;
    if cancelled.status == 204 {
        answer.assert_problem(410, "cancelled");
        return true;
    }
    cancelled.assert_problem(409, "not-cancellable");
    assert_eq!((answer.status, answer.text()), (200, "done"));
    false
}
