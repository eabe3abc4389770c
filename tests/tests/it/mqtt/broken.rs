//! Scripts and senders that do their worst.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_is_an_error_that_a_script_can_catch() {
    let broker = Broker::open().await;
    let app = TestApp::builder()
        .limits(|limits| (limits.event_bytes, limits.event_call_bytes, limits.events) = (10_000, 30_000, 20))
        .config(|config| config.mqtt = Some(parse(&broker.url())))
        .start()
        .await;
    app.deploy(
        "say",
        r#"
        fn tell(topic, payload, options) {
            try { mqtt::publish(topic, payload, options); } catch (e) { return e; }
            "sent"
        }
        fn handle(req) {
            let long = "x"; long.pad(2000, "x");
            let large = "x"; large.pad(9000, "x");
            let huge = "x"; huge.pad(20000, "x");
            let told = [
                tell("", 1, #{}), tell("a/+", 1, #{}), tell("$SYS/a", 1, #{}), tell("a\u0000", 1, #{}),
                tell(long, 1, #{}), tell("a", 1, #{ qos: 2 }), tell("a", huge, #{}),
                tell("a", large, #{}), tell("a", large, #{}), tell("a", large, #{}), tell("a", large, #{}),
            ];
            for n in 0..20 { told.push(tell("b", n, #{})); }
            told
        }"#,
    )
    .await;
    let told = app.get("/default/say").await.json();
    let told: Vec<&str> = told.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(told[..5].iter().all(|text| text.starts_with("mqtt: a topic must have")), "{told:?}");
    assert_eq!(told[5], "mqtt: `qos` must be 0 or 1");
    assert_eq!(told[6], "mqtt: a message may have at most 10000 bytes, as it is stored");
    assert_eq!(told[7..10], ["sent"; 3]);
    assert_eq!(told[10], "mqtt: the events and messages of a call may have at most 30000 bytes of data");
    assert!(told[11..].iter().filter(|text| **text == "sent").count() <= 20, "{told:?}");
    assert_eq!(*told.last().unwrap(), "mqtt: a call may make at most 20 events; each message counts as one");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_published_while_a_script_is_loaded() {
    let broker = Broker::open().await;
    let app = connected(&broker).await;
    let source = "mqtt::publish(\"a\", 1); fn handle(req) { 1 }";
    let problem = app.put_script("top", source).await.assert_problem(422, "top-level-failed");
    assert!(problem["detail"].as_str().unwrap().contains("top level"), "{problem}");
}

/// The broker keeps back what is larger than this server takes, and the connection lives on.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_passed_over_and_the_next_one_arrives() {
    let broker = Broker::open().await;
    let app = connected(&broker).await;
    subscribe(&app, &broker, "a").await;
    // Larger than an event may be, though not than a packet may be; and larger than both.
    broker.publish("a", &vec![b'x'; 280_000], &["-q", "1"]).await;
    broker.publish("a", &vec![b'x'; 2_000_000], &["-q", "1"]).await;
    broker.publish("a", b"small", &["-q", "1"]).await;
    assert_eq!(seen(&app, 1).await[0]["payload"], "small");
}

/// Anybody at the broker can set the properties with which a message carries its cause.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cause_harms_only_its_own_message() {
    let broker = Broker::open().await;
    let app = connected(&broker).await;
    subscribe(&app, &broker, "a").await;
    for (root, depth) in [("x", "0"), ("01890a5d-ac96-774b-bcce-b302099a8057", "4294967295"), ("", "-1")] {
        let root = ["-D", "publish", "user-property", "picloud-root", root];
        let depth = ["-D", "publish", "user-property", "picloud-depth", depth];
        broker.publish("a", b"forged", &[&["-q", "1"][..], &root, &depth].concat()).await;
    }
    broker.publish("a", b"honest", &["-q", "1"]).await;
    let mut seen: Vec<Value> = seen(&app, 3).await.iter().map(|data| data["payload"].clone()).collect();
    seen.sort_by_key(ToString::to_string);
    assert_eq!(seen, ["forged", "forged", "honest"]);
    let dead = wait_for_events(&app, "", 1).await;
    assert_eq!(dead[0]["failure"]["code"], "depth-exceeded");
}

/// Mosquitto sends all of it at once, whatever was said about how much may be unacknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_is_worked_off_while_others_are_served() {
    let broker = Broker::open().await;
    let app = connected(&broker).await;
    subscribe(&app, &broker, "flood").await;
    let lines: String = (0..600).map(|n| format!("{n}\n")).collect();
    broker.publish_lines("flood", &lines, &["-q", "1"]).await;
    app.assert_healthy().await;
    seen(&app, 600).await;
}
