//! Events from outside, as CloudEvents.

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

use super::{RECORDER, events, trigger, wait_for};

const EVENTS: &str = "/api/v1/apps/default/events";

async fn app() -> TestApp {
    let app = TestApp::start().await;
    app.deploy("recorder", RECORDER).await;
    trigger(&app, "all", json!({"kind": "topic", "script": "recorder", "topic": "#"})).await;
    trigger(&app, "jobs", json!({"kind": "queue", "script": "recorder"})).await;
    app
}

async fn send(app: &TestApp, query: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let request = app.request("POST", &format!("{EVENTS}{query}")).body(body.to_owned());
    Reply::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_reach_the_script_as_the_same_event() {
    let app = app().await;
    let whole = json!({
        "specversion": "1.0", "id": "e-1", "source": "/sensors/7", "type": "reading", "subject": "kitchen",
        "time": "2026-01-31T12:00:00Z", "data": {"celsius": 21.5}, "comexampleextension": "x",
    });
    let reply = send(&app, "?topic=home/kitchen", &[STRUCTURED], &whole.to_string()).await;
    assert_eq!((reply.status, reply.json()["ids"].as_array().unwrap().len()), (202, 1), "{reply}");
    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "e-2"),
        ("ce-source", "/sensors/7"),
        ("ce-type", "reading"),
        ("ce-subject", "kitchen"),
        ("ce-time", "2026-01-31T12:00:00Z"),
    ];
    assert_eq!(send(&app, "?queue=jobs", &binary, "{\"celsius\": 21.5}").await.status, 202);
    let mut seen = wait_for(&app, "seen/", 2).await;
    for event in &mut seen {
        for name in ["id", "root"] {
            event[name] = Value::Null;
        }
    }
    assert_eq!(seen[0]["data"], json!({"celsius": 21.5}));
    assert_eq!((&seen[0]["subject"], &seen[0]["source"]), (&json!("kitchen"), &json!("/sensors/7")));
    // A queue is the subject of what comes through it.
    assert_eq!(seen[1]["subject"], "jobs");
    seen[1]["subject"] = json!("kitchen");
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_need_not_be_json_and_the_type_is_the_topic_unless_one_is_given() {
    let app = app().await;
    assert_eq!(send(&app, "", &[("content-type", "text/plain")], "hello").await.status, 202);
    assert_eq!(send(&app, "", &[("content-type", "image/png")], "\u{1}").await.status, 202);
    assert_eq!(send(&app, "", &[], "").await.status, 202);
    let seen = wait_for(&app, "seen/", 3).await;
    let mut data: Vec<String> = seen.iter().map(|event| event["data"].to_string()).collect();
    data.sort_unstable();
    assert_eq!(data, ["\"hello\"", "null", "{\"base64\":\"AQ==\"}"]);
    assert!(seen.iter().all(|event| event["type"] == "picloud.event" && event["subject"] == "picloud.event"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_refused_with_the_reason() {
    let app = app().await;
    let json_type = ("content-type", "application/json");
    for (query, headers, body, status, code, reason) in [
        ("", vec![STRUCTURED], "{", 422, "event-invalid", "CloudEvent"),
        (
            "",
            vec![STRUCTURED],
            r#"{"specversion":"1.0","id":"1","source":"/"}"#,
            422,
            "event-invalid",
            "type",
        ),
        (
            "",
            vec![STRUCTURED],
            r#"{"specversion":"0.3","id":"1","source":"/","type":"t"}"#,
            422,
            "event-invalid",
            "0.3",
        ),
        (
            "",
            vec![STRUCTURED],
            r#"{"specversion":"1.0","id":"1","source":"/","type":"t","data_base64":"*"}"#,
            422,
            "event-invalid",
            "data_base64",
        ),
        ("", vec![json_type], "{", 422, "event-invalid", "JSON"),
        ("", vec![json_type, ("ce-specversion", "1.0")], "1", 422, "event-invalid", "ce-id"),
        ("?topic=a/%2B", vec![json_type], "1", 422, "event-invalid", "topic"),
        ("?queue=none", vec![json_type], "1", 422, "event-invalid", "queue"),
        ("?script=none", vec![json_type], "1", 422, "event-invalid", "script"),
        ("?queue=jobs&script=a", vec![json_type], "1", 400, "query-invalid", "only one"),
        ("?topic=a&delay_ms=1", vec![json_type], "1", 400, "query-invalid", "delay_ms"),
        (
            "?queue=jobs&delay_ms=1&at=2099-01-01T00:00:00Z",
            vec![json_type],
            "1",
            400,
            "query-invalid",
            "only one",
        ),
        (
            "?queue=jobs&delay_ms=999999999999999",
            vec![json_type],
            "1",
            400,
            "query-invalid",
            "a hundred years",
        ),
        ("?queue=jobs&attempts=101", vec![json_type], "1", 400, "query-invalid", "attempts"),
        ("?que=jobs", vec![json_type], "1", 400, "query-invalid", "que"),
        (
            "",
            vec![("content-type", "application/cloudevents-batch+json")],
            "[]",
            415,
            "media-type-unsupported",
            "one",
        ),
    ] {
        let problem = send(&app, query, &headers, body).await.assert_problem(status, code);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{query} {body}: {detail}");
    }
    assert!(events(&app, "").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_by_itself_and_for_many() {
    let app = app().await;
    let json_type = ("content-type", "application/json");
    let large = format!("\"{}\"", "x".repeat(300_000));
    send(&app, "", &[json_type], &large).await.assert_problem(413, "event-too-large");
    // Each subscriber gets an event of its own: 40 times 250 000 bytes are too much together.
    for n in 0..40 {
        trigger(&app, &format!("many-{n}"), json!({"kind": "topic", "script": "recorder", "topic": "many"}))
            .await;
    }
    let large = format!("\"{}\"", "x".repeat(250_000));
    send(&app, "?topic=many", &[json_type], &large).await.assert_problem(413, "event-too-large");
    assert!(events(&app, "").await.is_empty());
}
