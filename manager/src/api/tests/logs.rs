//! Reading and following the log.

use std::time::{Duration, Instant};

use picloud_host::call::LogLevel::{Debug, Error, Info, Warn};
use serde_json::Value;

use super::fixture::TestApi;
use crate::telemetry::tests::{failed, logged, named, succeeded};

const LOGS: &str = "/api/v1/apps/default/logs";

impl TestApi {
    /// The messages of a page, and where the next one begins.
    async fn messages(&self, query: &str) -> (Vec<String>, String) {
        let page = self.get(&format!("{LOGS}?{query}")).await.json();
        let message = |item: &Value| item["message"].as_str().unwrap().to_owned();
        let messages = page["items"].as_array().unwrap().iter().map(message).collect();
        (messages, page["next_after"].as_str().unwrap().to_owned())
    }
}

#[tokio::test]
async fn lines_of_all_executions_come_by_time() {
    let api = TestApi::new().await;
    api.record(logged(&[(0, Info, "a"), (20_000, Info, "c")]));
    api.record(logged(&[(10_000, Info, "b"), (30_000, Info, "d")]));
    api.record(succeeded());
    assert_eq!(api.messages("").await.0, ["a", "b", "c", "d"]);
    assert_eq!(api.messages("limit=1").await.0, ["d"], "the newest without a place to start from");
}

#[tokio::test]
async fn failures_are_lines() {
    let api = TestApi::new().await;
    let mut record = failed();
    record.log = logged(&[(0, Debug, "before")]).log;
    let id = api.record(record);
    let page = api.get(&format!("{LOGS}?level=error")).await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    let line = &page["items"][0];
    assert_eq!((&line["level"], &line["code"]), (&"error".into(), &"script-error".into()));
    assert_eq!((&line["message"], &line["position"]["line"]), (&"Variable not found: x".into(), &3.into()));
    assert_eq!(line["execution_id"], id.to_string());
    assert_eq!(api.messages("").await.0, ["before", "Variable not found: x"]);
}

#[tokio::test]
async fn filters_choose() {
    let api = TestApi::new().await;
    api.record(logged(&[(0, Debug, "debug"), (1, Info, "info"), (2, Warn, "warn"), (3, Error, "error")]));
    let mut other = named("default", "other");
    other.log = logged(&[(9, Info, "other")]).log;
    api.record(other);
    for (query, expected) in [
        ("level=warn", &["warn", "error"][..]),
        ("level=info&script=hello", &["info", "warn", "error"]),
        ("script=other", &["other"]),
        ("script=nobody", &[]),
    ] {
        assert_eq!(api.messages(query).await.0, expected, "{query}");
        assert_eq!(api.messages(&format!("{query}&after=0-0")).await.0, expected, "{query} after");
    }
}

#[tokio::test]
async fn reading_on_misses_nothing_and_repeats_nothing() {
    let api = TestApi::new().await;
    let (none, mut after) = api.messages("").await;
    assert_eq!(none, [""; 0]);
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for round in 0..12 {
        // Later executions started earlier: the order of recording counts, not that of ids.
        let texts: Vec<String> = (0..5).map(|line| format!("{round}-{line}")).collect();
        let lines: Vec<_> =
            texts.iter().enumerate().map(|(at, text)| (at as u64, Info, text.as_str())).collect();
        let mut record = logged(&lines);
        let mut id = *record.execution_id.as_bytes();
        id[0] = 100 - round;
        record.execution_id = uuid::Uuid::from_bytes(id);
        api.record(record);
        api.record(succeeded());
        expected.extend(texts);
        let (messages, next) = api.messages(&format!("after={after}&limit=3")).await;
        seen.extend(messages);
        after = next;
    }
    loop {
        let (messages, next) = api.messages(&format!("after={after}&limit=7")).await;
        after = next;
        if messages.is_empty() {
            break;
        }
        seen.extend(messages);
    }
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn following_waits_for_the_next_line() {
    let api = TestApi::new().await;
    let (_, after) = api.messages("").await;
    let started = Instant::now();
    let follow = format!("after={after}&wait_ms=20000&script=hello");
    let (found, ()) = tokio::join!(api.messages(&follow), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut other = named("default", "other");
        other.log = logged(&[(0, Info, "not this")]).log;
        api.record(other);
        tokio::time::sleep(Duration::from_millis(400)).await;
        api.record(logged(&[(0, Info, "this")]));
    });
    assert_eq!(found.0, ["this"]);
    assert!(started.elapsed() < Duration::from_secs(10));

    let started = Instant::now();
    let follow = format!("after={}&wait_ms=200", found.1);
    assert_eq!(api.messages(&follow).await.0, [""; 0]);
    assert!((200..5000).contains(&started.elapsed().as_millis()));

    let follow = format!("after={}&wait_ms=30000", found.1);
    let started = Instant::now();
    let (page, ()) = tokio::join!(api.messages(&follow), async { api.telemetry.closing.cancel() });
    assert_eq!(page.0, [""; 0]);
    assert!(started.elapsed() < Duration::from_secs(10), "a server that stops lets go");
    api.record(logged(&[(0, Info, "the last words")]));
    assert_eq!(api.messages(&follow).await.0, ["the last words"], "the writer goes on until the last call");
}

#[tokio::test]
async fn hostile_parameters_are_refused_by_name() {
    let api = TestApi::new().await;
    for (query, named) in [
        ("after=", "after"),
        ("after=1", "after"),
        ("after=-1-0", "after"),
        ("after=+1-0", "after"),
        ("after=9223372036854775808-0", "after"),
        ("after=1-4294967296", "after"),
        ("after=1-2-3", "after"),
        ("limit=1001", "limit"),
        ("limit=0", "limit"),
        ("wait_ms=30001", "wait_ms"),
        ("wait_ms=-1", "wait_ms"),
        ("level=all", "level"),
        ("script=A%20B", "script"),
        ("follow=1", "follow"),
    ] {
        let problem = api.get(&format!("{LOGS}?{query}")).await.problem(400, "query-invalid");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{query}: {problem}");
    }
    assert_eq!(api.messages("after=9223372036854775807-4294967295").await.0, [""; 0]);
}
