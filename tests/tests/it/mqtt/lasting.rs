//! Brokers and servers that go away: nothing is lost.

use super::*;

/// A board restarts more often than its broker. What came meanwhile waits in the session.
#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_while_the_server_is_away() {
    let broker = Broker::open().await;
    let mut app = connected(&broker).await;
    subscribe(&app, &broker, "door").await;
    broker.publish("door", b"1", &["-q", "1"]).await;
    seen(&app, 1).await;
    let url = broker.url();
    app.restart_with(|config| config.mqtt = None).await;
    for n in 2..=30 {
        broker.publish("door", n.to_string().as_bytes(), &["-q", "1"]).await;
    }
    app.restart_with(|config| config.mqtt = Some(parse(&url))).await;
    let all: Vec<i64> = seen(&app, 30).await.iter().map(|data| data["json"].as_i64().unwrap()).collect();
    assert_eq!(all, (1..=30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_waits_while_the_broker_is_away() {
    let mut broker = Broker::open().await;
    let app = connected(&broker).await;
    app.deploy("say", r#"fn handle(req) { mqtt::publish("out", req.query.n); }"#).await;
    broker.stop();
    wait_for_metric(&app, "picloud_mqtt_connected 0").await;
    for n in 0..5 {
        assert_eq!(app.get(&format!("/default/say?n={n}")).await.status, 200);
    }
    let waiting = wait_for_events(&app, "&state=waiting&kind=publish", 5).await;
    assert!(waiting.iter().all(|event| event["attempt"] == 0), "an outage costs no attempt: {waiting:?}");
    let queues = app.get("/api/v1/apps/default/queues").await.json();
    assert_eq!((&queues["items"][0]["lane"], &queues["items"][0]["waiting"]), (&json!("mqtt"), &json!(5)));
    broker.start().await;
    let mut heard = broker.subscribe("out", "%p").await;
    // The server comes back when its wait is over, which is longer than the subscriber takes.
    let mut next = Vec::new();
    for _ in 0..5 {
        next.push(heard.next().await);
    }
    assert_eq!(next, ["0", "1", "2", "3", "4"]);
    wait_for_events(&app, "", 0).await;
}

/// The connection breaks again and again while messages go both ways: each of them arrives, once or more.
#[tokio::test(flavor = "multi_thread")]
async fn every_message_arrives_although_the_broker_keeps_breaking_off() {
    const MESSAGES: usize = 200;
    let mut broker = Broker::open().await;
    let app = connected(&broker).await;
    // What goes out comes in again, and is counted.
    app.deploy(
        "round",
        r#"
        fn handle(req) { mqtt::publish("round", req.query.n); }
        fn on_event(event) { kv::incr(`seen/${event.data.payload}`); }
        "#,
    )
    .await;
    trigger(&app, "round", json!({"kind": "mqtt", "script": "round", "topic": "round"})).await;
    wait_for_subscription(&broker, "round").await;
    for n in 0..MESSAGES {
        assert_eq!(app.get(&format!("/default/round?n={n}")).await.status, 200);
        if n % 50 == 25 {
            broker.stop();
            broker.start().await;
        }
    }
    let begun = Instant::now();
    while values(&app, "seen/").await.len() < MESSAGES || !events(&app, "").await.is_empty() {
        assert!(
            begun.elapsed() < 3 * PATIENCE,
            "{:?} {:?}",
            values(&app, "seen/").await,
            events(&app, "").await
        );
        sleep(Duration::from_millis(50)).await;
    }
}
