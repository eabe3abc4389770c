//! Canaries: a new version gets some of the calls, and gets none any more when it does worse.

use std::time::Duration;

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

const CANARY: &str = "/api/v1/apps/default/scripts/order/canary";

/// A script with two versions, of which the first is active.
async fn two_versions(first: &str, second: &str) -> TestApp {
    let app = TestApp::start().await;
    app.deploy("order", first.to_owned()).await;
    let path = "/api/v1/apps/default/scripts/order/versions";
    let body = json!({ "source": second, "activate": false });
    assert_eq!(Reply::of(app.request("POST", path).json(&body)).await.status, 201);
    app
}

async fn put(app: &TestApp, body: Value) -> Reply {
    Reply::of(app.request("PUT", CANARY).json(&body)).await
}

/// Call the script until its canary has ended; how often each of the answers came.
async fn call_until_it_ends(app: &TestApp) -> (Value, usize) {
    let mut failed = 0;
    for _ in 0..2000 {
        failed += usize::from(app.get("/default/order").await.status == 500);
        let canary = app.get(CANARY).await.json();
        if canary["state"] != "running" {
            return (canary, failed);
        }
    }
    panic!("the canary goes on: {}", app.get(CANARY).await.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_calls_as_should_go_to_the_canary_whatever_they_are() {
    let version = |number: u32| {
        format!(
            "fn handle(req) {{ \"{number}\" }}
             fn on_event(event) {{ kv::incr(\"events-{number}\") }}"
        )
    };
    let app = two_versions(&version(1), &version(2)).await;
    let started = put(&app, json!({ "version": 2, "percent": 50, "max_fuel_percent": null })).await;
    assert_eq!((started.status, started.header("location")), (201, Some(CANARY)));
    let mut seconds = 0;
    for _ in 0..200 {
        seconds += usize::from(app.get("/default/order").await.text() == "2");
    }
    // Five times the standard deviation.
    assert!(seconds.abs_diff(100) < 36, "{seconds}");
    let canary = app.get(CANARY).await.json();
    assert_eq!((&canary["state"], &canary["canary_calls"]["calls"]), (&json!("running"), &json!(seconds)));
    assert_eq!(canary["active_calls"]["calls"], 200 - seconds);

    app.deploy("asks", "fn handle(req) { scripts::invoke(\"order\").body }").await;
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..40 {
        asked.insert(app.get("/default/asks").await.text().to_owned());
    }
    assert_eq!(asked.len(), 2, "{asked:?}");

    let event = "/api/v1/apps/default/events?script=order";
    for _ in 0..100 {
        let sent = Reply::of(app.request("POST", event).json(&json!(1))).await;
        assert!(sent.is_success(), "{sent}");
    }
    let count = async |number: u32| {
        app.get(&format!("/api/v1/apps/default/kv/events-{number}")).await.text().parse().unwrap_or(0)
    };
    let all = async {
        loop {
            let (first, second) = (count(1).await, count(2).await);
            if first + second == 100_u32 {
                return (first, second);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (first, second) = tokio::time::timeout(Duration::from_secs(60), all).await.expect("all are handled");
    assert!(first > 20 && second > 20, "{first} {second}");

    // Another share for the same version is no new canary.
    assert_eq!(put(&app, json!({ "version": 2, "percent": 99 })).await.status, 200);
    let changed = app.get(CANARY).await.json();
    assert_eq!(changed["started_at"], canary["started_at"]);
    assert!(changed["canary_calls"]["calls"].as_u64() >= canary["canary_calls"]["calls"].as_u64());
    let versions = app.get("/api/v1/apps/default/scripts/order/versions").await.json();
    assert_eq!(versions["items"][0]["canary_percent"], 99);
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_gets_no_calls_any_more() {
    let app = two_versions("fn handle(req) { \"fine\" }", "fn handle(req) { nothing + 1 }").await;
    assert_eq!(put(&app, json!({ "version": 2, "percent": 20 })).await.status, 201);
    let (canary, failed) = call_until_it_ends(&app).await;
    assert_eq!((&canary["state"], &canary["reason"]), (&json!("rolled-back"), &json!("faults")));
    assert_eq!(
        (&canary["canary_calls"]["failed"], &canary["active_calls"]["failed"]),
        (&json!(20), &json!(0))
    );
    // It took 20 failures to be sure, and what was asked about it between them took some time.
    assert!((20..30).contains(&failed), "{failed}");
    // It is written down when what was decided holds.
    let written = async {
        loop {
            let audit = app.get("/api/v1/audit?limit=5").await.json();
            let entries = audit["items"].as_array().unwrap();
            if entries.iter().any(|entry| entry["path"] == CANARY && entry["kind"] == "server") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.expect("it is written down");
    for _ in 0..50 {
        assert_eq!(app.get("/default/order").await.text(), "fine");
    }
    app.delete(CANARY).await.assert_problem(404, "canary-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_takes_more_fuel_gets_no_calls_any_more() {
    let work = |rounds: u32| format!("fn handle(req) {{ let n = 0; for i in 0..{rounds} {{ n += i; }} n }}");
    let app = two_versions(&work(1000), &work(1500)).await;
    assert_eq!(put(&app, json!({ "version": 2, "percent": 50, "max_fuel_percent": 20 })).await.status, 201);
    let (canary, failed) = call_until_it_ends(&app).await;
    assert_eq!((failed, &canary["reason"]), (0, &json!("fuel")));
    let fuel = |side: &str| canary[side]["typical_fuel"].as_f64().unwrap();
    let more = fuel("canary_calls") / fuel("active_calls");
    assert!((1.2..1.5).contains(&more), "{canary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_on_after_a_restart_until_somebody_ends_it() {
    let mut app = two_versions("\"1\"", "\"2\"").await;
    let start = json!({ "version": 2, "percent": 99 });
    put(&app, start.clone()).await;
    app.restart().await;
    assert_eq!(app.get(CANARY).await.json()["state"], "running");
    let answers = async || {
        let mut all = std::collections::BTreeSet::new();
        for _ in 0..40 {
            all.insert(app.get("/default/order").await.text().to_owned());
        }
        all.into_iter().collect::<String>()
    };
    assert!(answers().await.contains('2'));
    assert_eq!(app.delete(CANARY).await.status, 204);
    assert_eq!(answers().await, "1");
    let stopped = app.get(CANARY).await.json();
    assert_eq!(stopped["state"], "stopped");
    assert!(stopped["canary_calls"]["calls"].as_u64() > Some(20), "{stopped}");

    put(&app, start.clone()).await;
    assert!(app.post("/api/v1/apps/default/scripts/order/versions/2/activate", "").await.is_success());
    assert_eq!(answers().await, "2");
    assert_eq!(app.get(CANARY).await.json()["state"], "promoted");
    put(&app, start).await.assert_problem(422, "canary-invalid");
    // Going back leads to what was active, not to what was a canary.
    assert_eq!(app.post("/api/v1/apps/default/scripts/order/rollback", "").await.json()["version"], 1);
}
