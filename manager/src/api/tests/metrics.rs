//! What the calls of a script, and of all scripts of an app, cost.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use picloud_host::call::ScriptRef;
use picloud_host::ports::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::fixture::TestApi;
use crate::api::timestamp::timestamp;
use crate::telemetry::tests::{failed, succeeded};

const METRICS: &str = "/api/v1/apps/default/scripts/hello/metrics";

/// A full hour that is not long ago: what is older than a month is not kept.
fn hour() -> Timestamp {
    let now = Timestamp::now().as_second();
    Timestamp::from_second(now - now % 3600 - 86_400).unwrap()
}

#[tokio::test]
async fn calls_count_by_minute_by_version_and_in_total() {
    let api = TestApi::new().await;
    let at =
        |minute: i64, second: i64| (hour() + SignedDuration::from_secs(60 * minute + second)).to_string();
    let start = u64::try_from(hour().as_millisecond()).unwrap();
    for number in 0..100 {
        let mut record = if number < 10 { failed() } else { succeeded() };
        record.started_ms = start + if number < 40 { 0 } else { 119_999 };
        record.cost.sandbox_us = 1000 * (number + 1) - 40;
        let version = if number < 70 { 1 } else { 2 };
        record.script = Arc::new(ScriptRef { version, ..(*record.script).clone() });
        api.record(record);
    }
    let range = format!("from={}&to={}", at(0, 30), at(1, 1));
    let metrics = api.get(&format!("{METRICS}?{range}")).await.json();
    assert_eq!((&metrics["app"], &metrics["script"]), (&"default".into(), &"hello".into()));
    assert_eq!(metrics["from"], at(0, 0), "rounded to whole minutes");
    assert_eq!(metrics["to"], at(2, 0));
    let total = &metrics["total"];
    assert_eq!(
        (&total["calls"], &total["faults"]),
        (&100.into(), &json!({"script": 10, "limit": 0, "platform": 0}))
    );
    let fuel = json!({"p50": 12345, "p95": 12345, "p99": 12345, "max": 12345, "mean": 12345});
    assert_eq!(total["fuel"], fuel);
    let duration = &total["duration_us"];
    assert_eq!((&duration["max"], &duration["mean"]), (&100_000.into(), &50_500.into()));
    for (name, exact) in [("p50", 50_000), ("p95", 95_000), ("p99", 99_000)] {
        let found = duration[name].as_u64().unwrap();
        assert!((exact..exact + exact / 100).contains(&found), "{name}: {found}");
    }
    let counts = |list: &Value, key: &str| -> Vec<(Value, Value)> {
        list.as_array().unwrap().iter().map(|item| (item[key].clone(), item["calls"].clone())).collect()
    };
    assert_eq!(counts(&metrics["versions"], "version"), [(1.into(), 70.into()), (2.into(), 30.into())]);
    let minutes = [(at(0, 0), 40), (at(1, 0), 60)];
    assert_eq!(counts(&metrics["minutes"], "at"), minutes.map(|(at, calls)| (at.into(), calls.into())));

    let metrics = api.get(&format!("{METRICS}?{range}&step_minutes=5")).await.json();
    assert_eq!(counts(&metrics["minutes"], "at"), [(at(0, 0).into(), 100.into())]);
    let metrics = api.get(&format!("{METRICS}?from={}&to={}", at(1, 0), at(60, 0))).await.json();
    assert_eq!(metrics["total"]["calls"], 60);
}

#[tokio::test]
async fn the_current_minute_is_there_at_once() {
    let api = TestApi::new().await;
    let clock = &api.test.clock;
    // To the present: what is months old is not kept.
    clock.advance(SystemClock.now_ms() - clock.now_ms());
    for calls in 1..=3 {
        let mut record = succeeded();
        record.started_ms = clock.now_ms();
        api.record(record);
        assert_eq!(api.get(METRICS).await.json()["total"]["calls"], calls);
    }
}

#[tokio::test]
async fn without_a_range_it_is_the_last_hour_of_the_clock_of_the_server() {
    let api = TestApi::new().await;
    api.put("hello", "1").await;
    let range = async || {
        let metrics = api.get(METRICS).await.json();
        (metrics["from"].as_str().unwrap().to_owned(), metrics["to"].as_str().unwrap().to_owned())
    };
    assert_eq!(range().await, ("2023-11-14T21:14:00Z".into(), "2023-11-14T22:14:00Z".into()));
    api.test.clock.advance(40_000);
    let (_, to) = range().await;
    assert_eq!(to, "2023-11-14T22:15:00Z", "the minute that has just begun is in it");
}

#[tokio::test]
async fn as_many_steps_as_are_documented_can_be_asked_for() {
    let api = TestApi::new().await;
    api.put("hello", "1").await;
    let status = async |from: u64, minutes: u64, step: u64| {
        let at = |minute: u64| timestamp((28_000_000 + minute) * 60_000);
        let range = format!("from={}&to={}&step_minutes={step}", at(from), at(from + minutes));
        api.get(&format!("{METRICS}?{range}")).await.status
    };
    for (from, minutes, step, expected) in [
        (0, 1500, 1, 200),
        (0, 1501, 1, 400),
        (0, 3000, 2, 200),
        (0, 3001, 2, 400),
        // The first and the last step are half outside.
        (1, 3000, 2, 400),
        (1, 2999, 2, 200),
    ] {
        assert_eq!(status(from, minutes, step).await, expected, "{from} {minutes} {step}");
    }
}

#[tokio::test]
async fn a_script_without_calls_has_metrics_and_no_script_has_none() {
    let api = TestApi::new().await;
    api.get(METRICS).await.problem(404, "script-not-found");
    api.put("hello", "1").await;
    let metrics = api.get(METRICS).await.json();
    assert_eq!((&metrics["total"]["calls"], &metrics["minutes"]), (&0.into(), &json!([])));
    assert_eq!(metrics["total"]["fuel"], json!({"p50": 0, "p95": 0, "p99": 0, "max": 0, "mean": 0}));
    api.get("/api/v1/apps/nobody/scripts/hello/metrics").await.problem(404, "app-not-found");
}

#[tokio::test]
async fn hostile_parameters_are_refused_by_name() {
    let api = TestApi::new().await;
    for (query, named) in [
        ("from=x", "from"),
        ("to=", "to"),
        ("from=2026-01-31T12:00:00Z&to=2026-01-31T12:00:00Z", "from"),
        ("from=2025-01-01T00:00:00Z&to=2026-01-01T00:00:00Z&step_minutes=1440", "31 days"),
        ("from=2026-01-01T00:00:00Z&to=2026-01-03T00:00:00Z", "step_minutes"),
        ("to=1969-12-31T00:00:00Z", "from"),
        ("from=9999-01-01T00:00:00Z", "from"),
        ("step_minutes=0", "step_minutes"),
        ("step_minutes=1441", "step_minutes"),
        ("step_minutes=-5", "step_minutes"),
        ("step=1", "step"),
    ] {
        let problem = api.get(&format!("{METRICS}?{query}")).await.problem(400, "query-invalid");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{query}: {problem}");
    }
}

const APP_METRICS: &str = "/api/v1/apps/default/metrics";

/// Calls of three scripts in the last minutes, the later ones with more fuel.
async fn called() -> TestApi {
    let api = TestApi::new().await;
    let clock = &api.test.clock;
    clock.advance(SystemClock.now_ms() - clock.now_ms());
    for (name, calls, fuel) in [("a", 5, 10), ("b", 3, 1000), ("c", 4, 10), ("c", 1, 10)] {
        for _ in 0..calls {
            let mut record = if name == "b" { failed() } else { succeeded() };
            record.started_ms = clock.now_ms() - 600_000;
            record.cost.fuel = fuel;
            record.script = Arc::new(ScriptRef { script: name.into(), ..(*record.script).clone() });
            api.record(record);
        }
    }
    api
}

#[tokio::test]
async fn the_scripts_of_an_app_stand_in_the_order_of_their_fuel() {
    let api = called().await;
    let metrics = api.get(APP_METRICS).await.json();
    let rows: Vec<_> = metrics["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["script"].clone(), item["calls"].clone(), item["fuel_total"].clone()))
        .collect();
    let row = |script: &str, calls: u64, fuel: u64| (script.into(), calls.into(), fuel.into());
    assert_eq!(rows, [row("b", 3, 3000), row("a", 5, 50), row("c", 5, 50)]);
    assert_eq!(metrics["items"][0]["faults"], json!({"script": 3, "limit": 0, "platform": 0}));
    assert_eq!(metrics["items"][0]["fuel"]["p50"], 1000);
    assert_eq!((&metrics["total"]["calls"], &metrics["total"]["fuel_total"]), (&13.into(), &3100.into()));
    assert_eq!((&metrics["app"], &metrics["scripts"]), (&"default".into(), &3.into()));

    let first = api.get(&format!("{APP_METRICS}?limit=1")).await.json();
    assert_eq!((first["items"].as_array().unwrap().len(), &first["scripts"]), (1, &3.into()));
    assert_eq!(first["total"], metrics["total"]);
}

#[tokio::test]
async fn only_the_calls_of_the_chosen_time_and_of_this_app_count() {
    let api = called().await;
    let ago = |seconds: i64| (Timestamp::now() - SignedDuration::from_secs(seconds)).to_string();
    let calls = async |range: String| {
        api.get(&format!("{APP_METRICS}{range}")).await.json()["total"]["calls"].clone()
    };
    assert_eq!(calls(format!("?from={}", ago(60))).await, 0);
    assert_eq!(calls(format!("?to={}", ago(1200))).await, 0);
    assert_eq!(calls(format!("?from={}&to={}", ago(720), ago(500))).await, 13);
    api.get("/api/v1/apps/nobody/metrics").await.problem(404, "app-not-found");
    for (query, named) in
        [("limit=0", "limit"), ("limit=1001", "limit"), ("step_minutes=1", "step"), ("from=x", "from")]
    {
        let problem = api.get(&format!("{APP_METRICS}?{query}")).await.problem(400, "query-invalid");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{query}: {problem}");
    }
}
