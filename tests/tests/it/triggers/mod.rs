//! Things that happen without a caller: triggers, queues, timers, and what becomes of their events.

mod dead;
mod kv;
mod loops;
mod outside;
mod queue;
mod races;
mod schedule;
mod timer;
mod topic;
mod webhook;

use std::time::{Duration, Instant};

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use tokio::time::sleep;

/// How long something may take that is to happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what it is called for under `seen/` and the event's id.
const RECORDER: &str = "
fn on_event(event) {
    kv::incr(`times/${event.id}`);
    kv::set(`seen/${event.id}`, #{
        id: event.id, source: event.source, type: event.type, subject: event.subject, data: event.data,
        depth: ctx.trigger_depth, root: ctx.root_execution_id,
    });
}";

/// Make a trigger, or give it another form.
async fn put_trigger(app: &TestApp, name: &str, trigger: Value) -> Reply {
    let path = format!("/api/v1/apps/default/triggers/{name}");
    Reply::of(app.request("PUT", &path).json(&trigger)).await
}

pub(crate) async fn trigger(app: &TestApp, name: &str, trigger: Value) {
    let reply = put_trigger(app, name, trigger).await;
    assert!(reply.is_success(), "{reply}");
}

/// The values under a prefix, in the order of their keys.
pub(crate) async fn values(app: &TestApp, prefix: &str) -> Vec<Value> {
    let path = format!("/api/v1/apps/default/kv?limit=1000&prefix={prefix}");
    let mut reply = app.get(&path).await;
    // While handlers keep writing below the prefix, a list may not find one moment that it can show.
    while reply.problem_code() == "kv-conflict" {
        reply = app.get(&path).await;
    }
    let page = reply.json();
    assert_eq!(page["next_cursor"], Value::Null, "there are more than fit on one page");
    page["items"].as_array().unwrap().iter().map(|item| item["value"].clone()).collect()
}

/// Wait until there are so many values under a prefix, and no event is left.
async fn wait_for(app: &TestApp, prefix: &str, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        // In this order: what was done between the two is found.
        let left = events(app, "").await;
        let found = values(app, prefix).await;
        if found.len() == count && left.is_empty() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{} under {prefix}: {found:?}; left: {left:?}", found.len());
        sleep(Duration::from_millis(5)).await;
    }
}

/// The events that are stored, or those of them that a query such as `&state=dead` means.
pub(crate) async fn events(app: &TestApp, query: &str) -> Vec<Value> {
    let reply = app.get(&format!("/api/v1/apps/default/events?limit=1000{query}")).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.json()["items"].as_array().unwrap().clone()
}

/// Wait until so many events are stored with this state, and none with another.
async fn wait_for_events(app: &TestApp, state: &str, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found = events(app, "").await;
        if found.len() == count && found.iter().all(|event| event["state"] == state) {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_are_made_changed_listed_and_deleted() {
    let app = TestApp::start().await;
    let path = "/api/v1/apps/default/triggers";
    let made =
        put_trigger(&app, "stock", json!({"kind": "kv", "script": "reorder", "prefix": "stock/"})).await;
    assert_eq!(made.status, 201, "{made}");
    assert_eq!(made.header("location"), Some("/api/v1/apps/default/triggers/stock"));
    let trigger = made.json();
    assert_eq!(trigger["on"], json!(["set", "delete", "expire"]));
    assert_eq!((&trigger["attempts"], &trigger["enabled"]), (&json!(5), &json!(true)));

    let again =
        put_trigger(&app, "stock", json!({"kind": "kv", "script": "reorder", "prefix": "stock/"})).await;
    assert_eq!((again.status, again.header("etag")), (200, made.header("etag")), "nothing has changed");
    let changed =
        put_trigger(&app, "stock", json!({"kind": "kv", "script": "other", "on": ["delete"]})).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), made.header("etag"));
    assert_eq!(app.get(&format!("{path}/stock")).await.json(), changed.json());
    put_trigger(&app, "jobs", json!({"kind": "queue", "script": "work", "concurrency": 2})).await;
    let list = app.get(path).await.json();
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["jobs", "stock"]);
    let stale = app.request("PUT", &format!("{path}/stock")).header("if-match", made.header("etag").unwrap());
    let stale = Reply::of(stale.json(&json!({"kind": "kv", "script": "x"}))).await;
    stale.assert_problem(412, "precondition-failed");
    assert_eq!(app.delete(&format!("{path}/stock")).await.status, 204);
    app.get(&format!("{path}/stock")).await.assert_problem(404, "trigger-not-found");
    app.delete(&format!("{path}/stock")).await.assert_problem(404, "trigger-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_make_no_sense_are_refused_with_the_reason() {
    let app = TestApp::start().await;
    for (trigger, reason) in [
        (json!({}), "kind"),
        (json!({"kind": "moon", "script": "a"}), "moon"),
        (json!({"kind": "kv"}), "script"),
        (json!({"kind": "kv", "script": "A B"}), "script"),
        (json!({"kind": "kv", "script": "a", "on": []}), "on"),
        (json!({"kind": "kv", "script": "a", "on": ["read"]}), "read"),
        (json!({"kind": "kv", "script": "a", "prefx": "b"}), "prefx"),
        (json!({"kind": "kv", "script": "a", "prefix": "x".repeat(513)}), "prefix"),
        (json!({"kind": "kv", "script": "a", "attempts": 0}), "attempts"),
        (json!({"kind": "topic", "script": "a"}), "topic"),
        (json!({"kind": "topic", "script": "a", "topic": "a/#/b"}), "topic"),
        (json!({"kind": "queue", "script": "a", "concurrency": 0}), "concurrency"),
        (json!({"kind": "queue", "script": "a", "concurrency": 65}), "concurrency"),
        (json!({"kind": "schedule", "script": "a"}), "cron"),
        (json!({"kind": "schedule", "script": "a", "cron": "61 * * * *"}), "minute"),
        (json!({"kind": "schedule", "script": "a", "cron": "0 0 30 2 *"}), "never"),
        (json!({"kind": "schedule", "script": "a", "cron": "@daily", "timezone": "Mars/Base"}), "Mars/Base"),
        (json!({"kind": "schedule", "script": "a", "cron": "@daily", "missed": "some"}), "some"),
        (json!({"kind": "webhook", "script": "a", "scheme": "github"}), "secret"),
        (json!({"kind": "webhook", "script": "a", "scheme": "gitlab", "secret": "s"}), "gitlab"),
        (
            json!({"kind": "webhook", "script": "a", "scheme": "github", "secret": "It's a secret"}),
            "the name of a secret",
        ),
        (json!({"kind": "webhook", "script": "a", "scheme": "github", "secret": "none"}), "set it first"),
        (
            json!({"kind": "webhook", "script": "a", "scheme": "github", "secret": "s", "header": "x"}),
            "header only",
        ),
        (json!({"kind": "webhook", "script": "a", "scheme": "header", "secret": "s"}), "`header` must be"),
        (
            json!({"kind": "webhook", "script": "a", "scheme": "header", "secret": "s", "header": "a b"}),
            "`header` must",
        ),
        (
            json!({"kind": "webhook", "script": "a", "scheme": "header", "secret": "s", "header": "cookie"}),
            "`header`",
        ),
        (
            json!({"kind": "webhook", "script": "a", "scheme": "header", "secret": "s", "header": "x", "id_header": "X"}),
            "another header",
        ),
        (
            json!({"kind": "webhook", "script": "a", "scheme": "header", "secret": "s", "header": "x", "encoding": "rot"}),
            "rot",
        ),
        (json!([]), "object"),
    ] {
        let problem = put_trigger(&app, "t", trigger.clone()).await.assert_problem(422, "trigger-invalid");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{trigger}: {detail}");
    }
    put_trigger(&app, "T", json!({"kind": "kv", "script": "a"})).await.assert_problem(400, "name-invalid");
    assert!(app.get("/api/v1/apps/default/triggers").await.json()["items"].as_array().unwrap().is_empty());
}
