//! Schedules: the clock as a trigger. What they do about restarts, missed times and the changes of clocks is tested where
//! time can be set, in `manager/src/schedule`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use picloud_tests::TestApp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{PATIENCE, RECORDER, put_trigger, trigger, values, wait_for};

const PATH: &str = "/api/v1/apps/default/triggers";

/// Wait until there are so many values under `seen/` at least.
async fn seen(app: &TestApp, least: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found = values(app, "seen/").await;
        if found.len() >= least {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_time_is_one_event_also_across_a_restart() {
    let mut app = TestApp::start().await;
    app.deploy("recorder", RECORDER).await;
    let schedule = json!({
        "kind": "schedule", "script": "recorder", "cron": "* * * * * *", "missed": "all", "overlap": "queue",
        "data": {"n": 7},
    });
    trigger(&app, "tick", schedule).await;
    seen(&app, 2).await;
    app.restart().await;
    let before = seen(&app, 0).await.len();
    seen(&app, before + 2).await;
    assert_eq!(app.delete(&format!("{PATH}/tick")).await.status, 204);
    let begun = Instant::now();
    while !super::events(&app, "").await.is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        sleep(Duration::from_millis(5)).await;
    }
    let all = seen(&app, 4).await;
    assert!(values(&app, "times/").await.iter().all(|times| *times == json!(1)));
    let times: BTreeSet<&str> =
        all.iter().map(|event| event["data"]["scheduled_at"].as_str().unwrap()).collect();
    assert_eq!(times.len(), all.len(), "no time comes twice: {all:?}");
    let (first, last) = (times.first().unwrap(), times.last().unwrap());
    let span = last.parse::<jiff::Timestamp>().unwrap() - first.parse::<jiff::Timestamp>().unwrap();
    assert_eq!(
        span.total(jiff::Unit::Second).unwrap() as usize + 1,
        all.len(),
        "and none is left out: {times:?}"
    );
    assert!(all.iter().all(|event| event["data"]["data"] == json!({"n": 7}) && event["subject"] == "tick"));
    assert!(all.iter().all(|event| event["type"] == "picloud.schedule" && event["depth"] == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_times_are_shown_in_the_time_zone_that_was_asked_for() {
    let app = TestApp::start().await;
    let schedule =
        json!({"kind": "schedule", "script": "report", "cron": "0 7 * * 1-5", "timezone": "Europe/Berlin"});
    let shown = put_trigger(&app, "report", schedule).await.json();
    let runs = shown["next_runs"].as_array().unwrap();
    assert_eq!(runs.len(), 5, "{shown}");
    for run in runs {
        let at: jiff::Timestamp = run.as_str().unwrap().parse().unwrap();
        let local = at.in_tz("Europe/Berlin").unwrap();
        assert_eq!((local.hour(), local.minute(), local.second()), (7, 0, 0), "{run}");
        assert!(!matches!(local.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday));
    }
    let off = json!({"kind": "schedule", "script": "report", "cron": "0 7 * * *", "enabled": false});
    assert_eq!(put_trigger(&app, "off", off).await.json().get("next_runs"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_can_be_run_now_and_nothing_else_can() {
    let app = TestApp::start().await;
    app.deploy("recorder", RECORDER).await;
    trigger(&app, "yearly", json!({"kind": "schedule", "script": "recorder", "cron": "@yearly"})).await;
    trigger(&app, "jobs", json!({"kind": "queue", "script": "recorder"})).await;
    let next = app.get(&format!("{PATH}/yearly")).await.json()["next_runs"].clone();
    assert_eq!(app.post(&format!("{PATH}/yearly/run"), "").await.status, 202);
    let seen = wait_for(&app, "seen/", 1).await;
    assert_eq!(seen[0]["subject"], "yearly");
    assert_eq!(app.get(&format!("{PATH}/yearly")).await.json()["next_runs"], next);
    app.post(&format!("{PATH}/jobs/run"), "").await.assert_problem(404, "trigger-not-found");
    app.post(&format!("{PATH}/none/run"), "").await.assert_problem(404, "trigger-not-found");
}
