//! Changes of keys.

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

use super::{RECORDER, trigger, values, wait_for};

fn sorted(mut seen: Vec<Value>) -> Vec<Value> {
    seen.sort_by_key(|event| event["id"].as_str().unwrap().to_owned());
    seen
}

async fn app() -> TestApp {
    let app = TestApp::start().await;
    app.deploy("recorder", RECORDER).await;
    trigger(&app, "stock", json!({"kind": "kv", "script": "recorder", "prefix": "stock/"})).await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_one_event_with_the_values_of_before_and_after() {
    let app = app().await;
    app.deploy("write", "kv::set(\"stock/a\", #{n: 1}); kv::set(\"other\", 1)").await;
    app.deploy("blob", "kv::set(\"stock/a\", blob(2, 0xff))").await;
    app.deploy("drop", "kv::delete(\"stock/a\"); kv::delete(\"stock/none\")").await;
    for script in ["write", "blob", "drop"] {
        assert!(app.get(&format!("/default/{script}")).await.is_success());
    }
    let seen = sorted(wait_for(&app, "seen/", 3).await);
    let data: Vec<_> = seen.iter().map(|event| event["data"].clone()).collect();
    assert_eq!(
        data,
        [
            json!({"change": "set", "key": "stock/a", "before": null, "after": {"n": 1}}),
            json!({"change": "set", "key": "stock/a", "before": {"n": 1}, "after": {"base64": "//8="}}),
            json!({"change": "delete", "key": "stock/a", "before": {"base64": "//8="}, "after": null}),
        ]
    );
    let first = &seen[0];
    assert_eq!(first["source"], "/default/kv");
    assert_eq!(first["type"], "picloud.kv.set");
    assert_eq!(first["subject"], "stock/a");
    assert_eq!(first["depth"], 1);
    assert!(values(&app, "times/").await.iter().all(|times| *times == json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_changes_nothing_so_nothing_happens() {
    let app = app().await;
    app.deploy("fail", "kv::set(\"stock/a\", 1); throw \"no\"").await;
    assert_eq!(app.get("/default/fail").await.status, 500);
    app.deploy("write", "kv::set(\"stock/b\", 1)").await;
    app.get("/default/write").await;
    let seen = wait_for(&app, "seen/", 1).await;
    assert_eq!(seen[0]["subject"], "stock/b");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_over_rest_and_the_end_of_a_time_to_live_count_too() {
    let app = app().await;
    let key = "/api/v1/apps/default/kv/stock%2Fmilk";
    let put = app.request("PUT", &format!("{key}?ttl_ms=80")).json(&json!(3));
    assert_eq!(Reply::of(put).await.status, 201);
    let seen = sorted(wait_for(&app, "seen/", 2).await);
    assert_eq!(seen[1]["data"], json!({"change": "expire", "key": "stock/milk", "before": 3, "after": null}));
    assert_eq!(seen[1]["type"], "picloud.kv.expire");
    assert_ne!(seen[0]["root"], seen[1]["root"], "they have nothing to do with one another");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_over_what_has_expired_tells_both() {
    let app = app().await;
    app.deploy("short", "kv::set(\"stock/a\", 1, 1)").await;
    app.deploy("again", "kv::set(\"stock/a\", 2)").await;
    app.get("/default/short").await;
    // The reaper may be faster, and then it is the one that tells.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    app.get("/default/again").await;
    let seen = sorted(wait_for(&app, "seen/", 3).await);
    let mut changes: Vec<_> = seen.iter().map(|event| event["data"]["change"].as_str().unwrap()).collect();
    changes.sort_unstable();
    assert_eq!(changes, ["expire", "set", "set"]);
    let last = seen.iter().find(|event| event["data"]["after"] == 2).unwrap();
    assert_eq!(last["data"]["before"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_changes_that_were_asked_for_count_and_every_trigger_gets_its_own() {
    let app = app().await;
    trigger(&app, "gone", json!({"kind": "kv", "script": "recorder", "prefix": "", "on": ["delete"]})).await;
    app.deploy("write", "kv::set(\"stock/a\", 1); kv::set(\"b\", 1)").await;
    app.deploy("drop", "kv::delete(\"stock/a\"); kv::delete(\"b\")").await;
    app.get("/default/write").await;
    app.get("/default/drop").await;
    // Of stock/a the first trigger sees both changes, the other one the second; of b the other one the second.
    let seen = wait_for(&app, "seen/", 4).await;
    let deletes = seen.iter().filter(|event| event["type"] == "picloud.kv.delete").count();
    assert_eq!(deletes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_before_is_right_however_many_write_at_the_same_time() {
    let app = app().await;
    // Blind writes: the call itself does not know what it overwrites.
    app.deploy("write", "kv::set(\"stock/a\", req.query.n)").await;
    let paths: Vec<String> = (0..40).map(|n| format!("/default/write?n={n}")).collect();
    let replies = futures_util::future::join_all(paths.iter().map(|path| app.get(path))).await;
    assert!(replies.iter().all(|reply| reply.status == 204));
    let seen = wait_for(&app, "seen/", 40).await;
    // The changes are a chain: each value but the last one is what exactly one other change found.
    let mut old: Vec<String> = seen.iter().map(|event| event["data"]["before"].to_string()).collect();
    let mut new: Vec<String> = seen.iter().map(|event| event["data"]["after"].to_string()).collect();
    let last = app.get("/api/v1/apps/default/kv/stock%2Fa").await.text().to_owned();
    new.retain(|value| *value != last);
    old.retain(|value| value != "null");
    old.sort_unstable();
    new.sort_unstable();
    assert_eq!(old, new);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_events_than_one_call_may_cause_undo_it() {
    let app = TestApp::builder().limits(|limits| limits.kv_operations = 20_000).start().await;
    trigger(&app, "all", json!({"kind": "kv", "script": "nobody"})).await;
    app.deploy("flood", "let m = #{}; for n in 0..10001 { m[`${n}`] = 1; } kv::set_many(m)").await;
    let problem = app.get("/default/flood").await.assert_problem(500, "too-many-events");
    assert_eq!(problem["fault"], "limit");
    assert!(values(&app, "").await.is_empty());
    app.assert_healthy().await;
}
