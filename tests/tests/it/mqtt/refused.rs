//! Brokers that say no.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_broker_refuses_is_a_dead_letter_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("acl");
    std::fs::write(&rules, "topic write allowed\ntopic write ready/#\ntopic read #\n").unwrap();
    let broker = Broker::new(&format!("allow_anonymous true\nacl_file {}", rules.display())).await;
    let app = connected(&broker).await;
    let mut heard = broker.subscribe("allowed", "%p").await;
    app.deploy("say", r#"fn handle(req) { mqtt::publish("forbidden", "x"); mqtt::publish("allowed", "y") }"#)
        .await;
    assert_eq!(app.get("/default/say").await.status, 200);
    assert_eq!(heard.next().await, "y", "others are not held up");
    let dead = wait_for_events(&app, "&state=dead", 1).await;
    assert_eq!((&dead[0]["kind"], &dead[0]["event"]["subject"]), (&json!("publish"), &json!("forbidden")));
    assert_eq!(dead[0]["failure"]["code"], "mqtt-failed");
    assert_eq!(dead[0]["failure"]["message"], "the broker does not take the message: NotAuthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_used_and_a_wrong_one_is_not_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c", passwords.to_str().unwrap(), "board", "p@ss:w/rd"])
        .status()
        .unwrap();
    assert!(made.success());
    let broker = Broker::new(&format!("allow_anonymous false\npassword_file {}", passwords.display())).await;
    let login = |login: &str| parse(&format!("mqtt://{login}@{}", broker.address));
    let mut app =
        TestApp::builder().config(|config| config.mqtt = Some(login("board:p%40ss%3Aw%2Frd"))).start().await;
    wait_until_connected(&app).await;
    app.restart_with(|config| config.mqtt = Some(login("board:wrong"))).await;
    let begun = Instant::now();
    while !broker.log().contains("not authorised") {
        assert!(begun.elapsed() < PATIENCE, "{}", broker.log());
        sleep(Duration::from_millis(10)).await;
    }
    wait_for_metric(&app, "picloud_mqtt_connected 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_publishing_is_an_error_that_says_so() {
    let app = TestApp::start().await;
    app.deploy("say", r#"fn handle(req) { try { mqtt::publish("a", 1); } catch (e) { return e; } }"#).await;
    let reply = app.get("/default/say").await;
    assert_eq!(reply.text(), "mqtt: this server is connected to no broker; it is started with one by --mqtt");
    assert!(!app.get("/metrics").await.text().contains("picloud_mqtt"), "there is nothing to tell");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_cannot_be_sent_count_like_others() {
    let app = TestApp::builder().limits(|limits| limits.events = 10).start().await;
    let source = r#"fn handle(req) {
        let n = 0;
        loop { try { mqtt::publish("a/#", 1); } catch (e) { n += 1; if n == 11 { return e; } } }
    }"#;
    app.deploy("say", source).await;
    let told = app.get("/default/say").await;
    assert_eq!(told.text(), "mqtt: a call may make at most 10 events; each message counts as one");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_are_none_are_refused() {
    let app = TestApp::start().await;
    for (trigger, reason) in [
        (json!({"kind": "mqtt", "script": "a"}), "topic"),
        (json!({"kind": "mqtt", "script": "a", "topic": "a/#/b"}), "topic"),
        (json!({"kind": "mqtt", "script": "a", "topic": "$share/g/a"}), "topic"),
        (json!({"kind": "mqtt", "script": "a", "topic": "x".repeat(1025)}), "topic"),
        (json!({"kind": "mqtt", "script": "a", "topic": "a", "qos": 2}), "quality of service"),
        (json!({"kind": "mqtt", "script": "a", "topic": "a", "retain": true}), "retain"),
    ] {
        let request = app.request("PUT", "/api/v1/apps/default/triggers/t").json(&trigger);
        let problem = Reply::of(request).await.assert_problem(422, "trigger-invalid");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{trigger}: {detail}");
    }
}
