//! Messages from and for an MQTT broker: the real Mosquitto.

mod board;
mod broken;
mod lasting;
mod refused;

use std::time::{Duration, Instant};

use picloud_tests::{Broker, Reply, TestApp};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::triggers::{PATIENCE, events, trigger, values};

/// Keeps the data of each message under `seen/` and the event's id, whose order is that of arrival.
const RECORDER: &str = "fn on_event(event) { kv::set(`seen/${event.id}`, event.data); }";

/// A server that is connected to a broker.
async fn connected(broker: &Broker) -> TestApp {
    let app = start(broker).await;
    wait_until_connected(&app).await;
    app
}

async fn start(broker: &Broker) -> TestApp {
    let url = broker.url();
    TestApp::builder().config(|config| config.mqtt = Some(parse(&url))).start().await
}

fn parse(url: &str) -> picloud_host::mqtt::Broker {
    picloud_host::mqtt::Broker::parse(url).unwrap()
}

async fn wait_until_connected(app: &TestApp) {
    wait_for_metric(app, "picloud_mqtt_connected 1").await;
}

async fn wait_for_metric(app: &TestApp, line: &str) {
    let begun = Instant::now();
    while !app.get("/metrics").await.text().lines().any(|found| found == line) {
        assert!(begun.elapsed() < PATIENCE, "{}", app.get("/metrics").await.text());
        sleep(Duration::from_millis(5)).await;
    }
}

/// Subscribe a script, and wait until the broker knows.
async fn subscribe(app: &TestApp, broker: &Broker, filter: &str) {
    app.deploy("record", RECORDER).await;
    trigger(app, "heard", json!({"kind": "mqtt", "script": "record", "topic": filter})).await;
    wait_for_subscription(broker, filter).await;
}

async fn wait_for_subscription(broker: &Broker, filter: &str) {
    let begun = Instant::now();
    let line = format!("\t{filter} (QoS 1)");
    while !broker.log().lines().any(|found| found.ends_with(&line)) {
        assert!(begun.elapsed() < PATIENCE, "{}", broker.log());
        sleep(Duration::from_millis(10)).await;
    }
}

/// Wait until so many messages were seen.
async fn seen(app: &TestApp, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found = values(app, "seen/").await;
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:?}");
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{} seen; left: {:?}", found.len(), events(app, "").await);
        sleep(Duration::from_millis(10)).await;
    }
}

/// Wait until so many events are in a state.
async fn wait_for_events(app: &TestApp, query: &str, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found = events(app, query).await;
        if found.len() == count {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}", events(app, "").await);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_calls_the_scripts_that_subscribe_to_its_topic() {
    let broker = Broker::open().await;
    let app = connected(&broker).await;
    subscribe(&app, &broker, "home/+/temperature").await;
    broker.publish("home/kitchen/temperature", b"21.5", &["-q", "1"]).await;
    broker.publish("home/kitchen/humidity", b"40", &["-q", "1"]).await;
    broker.publish("home/ä/temperature", &[0xff, 0x00], &["-q", "1"]).await;
    broker.publish("home/attic/temperature", b"", &["-q", "0"]).await;
    let seen = seen(&app, 3).await;
    assert_eq!(
        seen,
        [
            json!({"topic": "home/kitchen/temperature", "payload": "21.5", "json": 21.5, "qos": 1, "retain": false}),
            json!({
                "topic": "home/ä/temperature", "payload": {"base64": "/wA="}, "json": null, "qos": 1, "retain": false,
            }),
            json!({"topic": "home/attic/temperature", "payload": "", "json": null, "qos": 0, "retain": false}),
        ]
    );
    let executions = app.get("/api/v1/apps/default/executions?trigger=mqtt").await.json();
    assert_eq!(executions["items"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_arrives_in_its_order_once_the_call_has_succeeded() {
    let broker = Broker::open().await;
    let app = connected(&broker).await;
    let mut heard = broker.subscribe("out/#", "%t %q %r %p").await;
    app.deploy(
        "say",
        r#"fn handle(req) {
            for n in 0..40 { mqtt::publish(`out/${n}`, n); }
            mqtt::publish("out/text", "on", #{ qos: 0 });
            mqtt::publish("out/map", #{ a: 1 }, #{ expiry_seconds: 60 });
            mqtt::publish("out/blob", "é".to_blob(), #{ retain: true });
            if req.query.fail == "1" { throw "no"; }
        }"#,
    )
    .await;
    assert_eq!(app.get("/default/say?fail=1").await.status, 500);
    assert_eq!(app.get("/default/say").await.status, 204);
    for n in 0..40 {
        assert_eq!(heard.next().await, format!("out/{n} 1 0 {n}"));
    }
    assert_eq!(heard.next().await, "out/text 0 0 on");
    assert_eq!(heard.next().await, r#"out/map 1 0 {"a":1}"#);
    assert_eq!(heard.next().await, "out/blob 1 0 é");
    assert!(heard.is_silent().await, "the call that failed has published nothing");
    wait_for_events(&app, "", 0).await;
    subscribe(&app, &broker, "out/#").await;
    let kept = seen(&app, 1).await;
    assert_eq!((&kept[0]["payload"], &kept[0]["retain"]), (&json!("é"), &json!(true)), "one was to be kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_keeps_comes_with_the_first_subscription_only() {
    let broker = Broker::open().await;
    let mut app = connected(&broker).await;
    broker.publish("lamp", b"on", &["-q", "1", "-r"]).await;
    subscribe(&app, &broker, "lamp").await;
    let kept = seen(&app, 1).await;
    assert_eq!((&kept[0]["payload"], &kept[0]["retain"]), (&json!("on"), &json!(true)));
    app.restart().await;
    wait_until_connected(&app).await;
    broker.publish("lamp", b"off", &["-q", "1"]).await;
    let both = seen(&app, 2).await;
    assert_eq!((&both[1]["payload"], &both[1]["retain"]), (&json!("off"), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_its_trigger() {
    let broker = Broker::open().await;
    let app = connected(&broker).await;
    subscribe(&app, &broker, "a").await;
    app.delete("/api/v1/apps/default/triggers/heard").await;
    let begun = Instant::now();
    while !broker.log().contains("Received UNSUBSCRIBE") {
        assert!(begun.elapsed() < PATIENCE, "{}", broker.log());
        sleep(Duration::from_millis(10)).await;
    }
    broker.publish("a", b"1", &["-q", "1"]).await;
    trigger(&app, "heard", json!({"kind": "mqtt", "script": "record", "topic": "b"})).await;
    wait_for_subscription(&broker, "b").await;
    broker.publish("b", b"2", &["-q", "1"]).await;
    assert_eq!(seen(&app, 1).await[0]["topic"], "b");
}

/// A script that answers its own messages goes round through the broker, which knows nothing of depths.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_through_the_broker_ends_at_the_depth_limit() {
    let broker = Broker::open().await;
    let app = connected(&broker).await;
    app.deploy(
        "echo",
        r#"
        fn handle(req) { mqtt::publish("loop", 0); ctx.root_execution_id }
        fn on_event(event) { kv::incr("rounds"); mqtt::publish("loop", event.data.json + 1); }
        "#,
    )
    .await;
    trigger(&app, "loop", json!({"kind": "mqtt", "script": "echo", "topic": "loop"})).await;
    wait_for_subscription(&broker, "loop").await;
    let root = app.post("/default/echo", "").await.text().to_owned();
    let dead = wait_for_events(&app, "&state=dead", 1).await;
    assert_eq!(dead[0]["failure"]["code"], "depth-exceeded", "{dead:?}");
    assert_eq!(app.get("/api/v1/apps/default/kv/rounds").await.text(), "16");
    let trace = app.get(&format!("/api/v1/apps/default/traces/{root}")).await.json();
    // The request, 16 rounds, and what was too deep, each below the one before.
    let (mut depth, mut below) = (0, &trace["roots"]);
    while let Some(node) = below.get(0) {
        (depth, below) = (depth + 1, &node["children"]);
    }
    assert!(depth >= 18, "{trace}");
}
