//! The example of a board with a sensor and a fan: a file, a key, a threshold, a message.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_temperature_in_a_file_switches_a_fan_over_mqtt() {
    let broker = Broker::open().await;
    let sensor = tempfile::tempdir().unwrap();
    let url = broker.url();
    let grant = picloud_host::grants::GrantConfig { path: sensor.path().into(), writable: false, apps: None };
    let app = TestApp::builder()
        .config(|config| {
            config.mqtt = Some(parse(&url));
            config.fs.insert("cpu".to_owned(), grant);
        })
        .start()
        .await;
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for name in ["thermometer", "fan"] {
        app.deploy(name, std::fs::read_to_string(examples.join(format!("{name}.rhai"))).unwrap()).await;
        let text = std::fs::read_to_string(examples.join(format!("triggers/{name}.json"))).unwrap();
        trigger(&app, name, serde_json::from_str(&text).unwrap()).await;
    }
    wait_until_connected(&app).await;
    let mut heard = broker.subscribe("home/fan/#", "%t %r %p").await;
    for (celsius, message) in [
        (42.5, None),
        (61.2, Some("on")),
        // Between the two thresholds it stays as it is.
        (55.0, None),
        (70.0, None),
        (49.9, Some("off")),
    ] {
        std::fs::write(sensor.path().join("temp"), format!("{}\n", celsius * 1000.0)).unwrap();
        assert_eq!(app.post("/api/v1/apps/default/triggers/thermometer/run", "").await.status, 202);
        if let Some(message) = message {
            assert_eq!(heard.next().await, format!("home/fan/set 0 {message}"));
        }
        wait_for_events(&app, "", 0).await;
        assert_eq!(app.get("/default/thermometer").await.json()["celsius"], celsius);
    }
    assert!(heard.is_silent().await, "nothing was said twice");
    assert_eq!(app.get("/default/fan").await.json(), json!({"on": false}));
    // Somebody who comes later hears how it is.
    subscribe(&app, &broker, "home/fan/set").await;
    let kept = seen(&app, 1).await;
    assert_eq!((&kept[0]["payload"], &kept[0]["retain"]), (&json!("off"), &json!(true)));
}
