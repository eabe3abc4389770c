//! Publishing and subscribing.

use picloud_tests::TestApp;
use serde_json::{Value, json};

use super::{RECORDER, trigger, values, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_subscribes_gets_an_event() {
    let app = TestApp::start().await;
    app.deploy("recorder", RECORDER).await;
    app.deploy("other", "fn on_event(event) { kv::incr(`other/${event.subject}`) }").await;
    trigger(&app, "all", json!({"kind": "topic", "script": "recorder", "topic": "home/#"})).await;
    trigger(&app, "temperature", json!({"kind": "topic", "script": "other", "topic": "home/+/celsius"}))
        .await;
    app.deploy(
        "publish",
        "[triggers::emit(\"home/kitchen/celsius\", \"reading\", #{value: 21.5}), triggers::emit(\"home/door\", true),
          triggers::emit(\"garden\", ())]",
    )
    .await;
    let reply = app.get("/default/publish").await;
    assert_eq!(reply.json(), json!([2, 1, 0]));
    let mut seen = wait_for(&app, "seen/", 2).await;
    seen.sort_by_key(|event| event["subject"].to_string());
    assert_eq!((&seen[0]["data"], &seen[0]["type"]), (&json!(true), &json!("picloud.topic")));
    assert_eq!((&seen[1]["data"], &seen[1]["type"]), (&json!({"value": 21.5}), &json!("reading")));
    assert_eq!(seen[1]["source"], "/default/publish");
    assert_eq!(seen[0]["root"], seen[1]["root"]);
    assert_eq!(seen[0]["root"].as_str(), Some(reply.execution_id()));
    assert_eq!(values(&app, "other/").await, [Value::from(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_is_off_or_gone_hears_nothing() {
    let app = TestApp::start().await;
    app.deploy("recorder", RECORDER).await;
    let off = json!({"kind": "topic", "script": "recorder", "topic": "#", "enabled": false});
    trigger(&app, "off", off).await;
    trigger(&app, "gone", json!({"kind": "topic", "script": "recorder", "topic": "#"})).await;
    app.deploy("publish", "triggers::emit(\"a\", 1)").await;
    assert_eq!(app.get("/default/publish").await.text(), "1");
    wait_for(&app, "seen/", 1).await;
    app.delete("/api/v1/apps/default/triggers/gone").await;
    assert_eq!(app.get("/default/publish").await.text(), "0");
}
