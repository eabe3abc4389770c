//! Reading records of executions.

use std::collections::BTreeSet;
use std::sync::Arc;

use picloud_host::call::{AppId, Fault, LogLevel, ScriptRef};
use picloud_host::ports::{ExecutionLog as _, ExecutionRecord};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fixture::TestApi;
use crate::telemetry::tests::{failed, logged, succeeded};

/// Where the executions of the app `default` are.
const EXECUTIONS: &str = "/api/v1/apps/default/executions";

impl TestApi {
    /// Record a call of a script of the app `default`.
    pub(super) fn record(&self, mut record: ExecutionRecord) -> Uuid {
        let id = record.execution_id;
        record.script = Arc::new(ScriptRef { app_id: self.test.app, ..(*record.script).clone() });
        self.telemetry.telemetry.record(record);
        id
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let page = self.get(&format!("{EXECUTIONS}?{query}")).await.json();
        page["items"].as_array().unwrap().iter().map(id_of).collect()
    }
}

fn id_of(item: &Value) -> String {
    item["id"].as_str().unwrap().to_owned()
}

/// The record of another script, version, trigger and so on.
fn changed(change: impl FnOnce(&mut ExecutionRecord, &mut ScriptRef)) -> ExecutionRecord {
    let mut record = succeeded();
    let mut script = (*record.script).clone();
    change(&mut record, &mut script);
    record.script = Arc::new(script);
    record
}

#[tokio::test]
async fn an_execution_is_shown_whole() {
    let api = TestApi::new().await;
    let mut record = failed();
    record.started_ms = 1_769_860_800_123;
    record.log = logged(&[(5, LogLevel::Warn, "careful")]).log;
    record.log[0].at_ms = record.started_ms + 5;
    let id = api.record(record);
    let mut expected = json!({
        "id": id, "root_id": id, "parent_id": null, "trigger_depth": 0, "app": "default", "script": "hello", "version": 1,
        "trigger": "http", "started_at": "2026-01-31T12:00:00.123Z", "status": 500, "fault": "script",
        "code": "script-error", "message": "Variable not found: x", "position": {"line": 3, "column": 9},
        "fuel": 12345, "memory_bytes": 1_048_576, "queue_us": 10, "sandbox_us": 200, "commit_us": 30, "reruns": 0,
        "method": "GET", "path": "/default/hello", "request_id": "request", "log_dropped": 0,
    });
    assert_eq!(api.get(EXECUTIONS).await.json(), json!({"items": [expected], "next_cursor": null}));
    expected["state"] = json!("done");
    expected["log"] = json!([{"at": "2026-01-31T12:00:00.128Z", "level": "warn", "message": "careful"}]);
    assert_eq!(api.get(&format!("{EXECUTIONS}/{id}")).await.json(), expected);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let api = TestApi::new().await;
    let mut foreign = succeeded();
    foreign.script = Arc::new(ScriptRef { app_id: AppId(99), ..(*foreign.script).clone() });
    let of_another_app = foreign.execution_id.to_string();
    api.telemetry.telemetry.record(foreign);
    for id in [&of_another_app, &Uuid::now_v7().to_string(), "x", "%20", "..%2f..", "%00"] {
        api.get(&format!("{EXECUTIONS}/{id}")).await.problem(404, "execution-not-found");
    }
    assert_eq!(api.ids("").await, [""; 0]);
    api.get("/api/v1/apps/nobody/executions").await.problem(404, "app-not-found");
    api.get("/api/v1/apps/NO!/executions").await.problem(400, "name-invalid");
    let id = Uuid::now_v7();
    api.get(&format!("/api/v1/apps/nobody/executions/{id}")).await.problem(404, "app-not-found");
    api.get(&format!("/api/v1/apps/NO!/executions/{id}")).await.problem(400, "name-invalid");
    api.get(&format!("{EXECUTIONS}/%FF")).await.problem(400, "request-invalid");
}

#[tokio::test]
async fn filters_choose() {
    let api = TestApi::new().await;
    let plain = api.record(succeeded());
    let broken = api.record(failed());
    let other = api.record(changed(|_, script| (script.script, script.version) = ("other".into(), 4)));
    let missing = api.record(changed(|record, _| record.status = 404));
    let event = api.record(changed(|record, _| {
        record.trigger = "event";
        record.root_execution_id = plain;
        record.trigger_depth = 2;
    }));
    let limit = api.record(changed(|record, _| {
        record.error.clone_from(&failed().error);
        record.error.as_mut().unwrap().fault = Some(Fault::Limit);
    }));
    let old = api.record(changed(|record, _| {
        // 2020-09-13T12:26:40Z, with the id that was made then.
        record.started_ms = 1_600_000_000_000;
        let mut id = *record.execution_id.as_bytes();
        id[..6].copy_from_slice(&record.started_ms.to_be_bytes()[2..]);
        record.execution_id = Uuid::from_bytes(id);
    }));

    let cases: &[(String, &[Uuid])] = &[
        ("script=other".into(), &[other]),
        ("script=nobody".into(), &[]),
        ("version=4".into(), &[other]),
        ("status=404".into(), &[missing]),
        ("status=4xx".into(), &[missing]),
        ("status=5xx".into(), &[broken]),
        ("fault=any".into(), &[broken, limit]),
        ("fault=limit".into(), &[limit]),
        ("fault=none&script=hello&trigger=http&status=2xx&from=2021-01-01T00:00:00Z".into(), &[plain]),
        ("code=script-error".into(), &[broken, limit]),
        ("trigger=event".into(), &[event]),
        (format!("root={plain}"), &[plain, event]),
        (format!("root={other}"), &[other]),
        ("to=2020-09-13T12:26:41Z".into(), &[old]),
        ("from=2020-09-13T14:26:40%2B02:00&to=2020-09-13T12:26:41Z".into(), &[old]),
        ("from=2020-09-13T12:26:41Z&to=2021-01-01T00:00:00Z".into(), &[]),
    ];
    for (query, expected) in cases {
        let expected: BTreeSet<_> = expected.iter().map(Uuid::to_string).collect();
        assert_eq!(api.ids(query).await.into_iter().collect::<BTreeSet<_>>(), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_have_no_gaps_and_no_duplicates() {
    let api = TestApi::new().await;
    let mut all: BTreeSet<_> = (0..57).map(|_| api.record(succeeded()).to_string()).collect();
    for order in ["desc", "asc"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = api.get(&format!("{EXECUTIONS}?order={order}&limit=10{cursor}")).await.json();
            seen.extend(page["items"].as_array().unwrap().iter().map(id_of));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            // What comes in between is newer than everything seen on the way down, and comes last on the way up.
            if order == "asc" && seen.len() < 30 {
                all.insert(api.record(succeeded()).to_string());
            } else if order == "desc" {
                api.record(changed(|_, script| script.script = "other".into()));
            }
        }
        if order == "desc" {
            seen.reverse();
        }
        let of_hello: Vec<_> = if order == "asc" {
            let others: BTreeSet<_> = api.ids("script=other&limit=200").await.into_iter().collect();
            seen.into_iter().filter(|id| !others.contains(id)).collect()
        } else {
            seen
        };
        assert_eq!(of_hello, all.iter().cloned().collect::<Vec<_>>(), "{order}");
    }
}

#[tokio::test]
async fn hostile_parameters_are_refused_by_name() {
    let api = TestApi::new().await;
    let too_long = format!("cursor={}", "0".repeat(33));
    for (query, named) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e3", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("cursor=%27%20or%201=1", "cursor"),
        ("cursor={0198}1a3c5f7e7c3a9b1d2f6e8a4c0d", "cursor"),
        (&too_long, "cursor"),
        ("script=", "script"),
        ("script=%25", "script"),
        ("script=%ff", "script"),
        ("status=", "status"),
        ("status=6xx", "status"),
        ("status=+200", "status"),
        ("status=99", "status"),
        ("status=xx", "status"),
        ("fault=everyone", "fault"),
        ("code=x", "code"),
        ("version=-1", "version"),
        ("trigger=%00", "trigger"),
        ("root=1", "root"),
        ("from=yesterday", "from"),
        ("to=2026-02-30T00:00:00Z", "to"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ("order=random", "order"),
        ("limti=5", "limti"),
        ("limit=1&limit=2", "limit"),
    ] {
        let problem = api.get(&format!("{EXECUTIONS}?{query}")).await.problem(400, "query-invalid");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{query}: {problem}");
    }
    for query in
        ["from=0001-01-01T00:00:00Z", "to=9999-12-30T00:00:00Z", "cursor=00000000000000000000000000000000"]
    {
        assert_eq!(api.get(&format!("{EXECUTIONS}?{query}")).await.status, 200, "{query}");
    }
}
