//! Deleting an app: while it is called, while its events wait, and that its name is as good as new.

use std::time::{Duration, Instant};

use picloud_tests::{Reply, TestApp};
use serde_json::json;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::{create, deploy, put};

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_change_nothing_any_more_and_others_are_not_hurt() {
    let app = TestApp::builder().limits(|limits| limits.fuel = 1_000_000_000_000).start().await;
    create(&app, "shop").await;
    let source = r#"
        fn handle(req) {
            let end = time::now() + 700;
            while time::now() < end {}
            kv::set("late", 1);
            "done"
        }
        fn on_event(event) { kv::incr("events"); throw "again"; }
    "#;
    deploy(&app, "shop", "slow", source).await;
    put(
        &app,
        "shop/triggers/jobs",
        json!({ "kind": "queue", "script": "slow", "attempts": 100, "backoff_ms": 1 }),
    )
    .await;
    for _ in 0..20 {
        let send = app.request("POST", "/api/v1/apps/shop/events?queue=jobs").json(&json!(1));
        assert_eq!(Reply::of(send).await.status, 202);
    }
    let slow = tokio::spawn(Reply::of(app.request("GET", "/shop/slow")));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(app.delete("/api/v1/apps/shop?confirm=shop").await.status, 204);
    app.get("/shop/slow").await.assert_problem(404, "route-not-found");
    slow.await.unwrap().assert_problem(404, "app-not-found");
    app.assert_healthy().await;
    app.deploy("count", "fn handle(req) { kv::incr(\"n\") }").await;
    assert_eq!(app.get("/default/count").await.text(), "1");
    // Another app of the name finds nothing, at once and when everything is removed.
    create(&app, "shop").await;
    for path in ["scripts", "kv", "triggers", "events", "executions", "logs", "secrets", "config", "routes"] {
        let list = app.get(&format!("/api/v1/apps/shop/{path}")).await.json();
        assert_eq!(list["items"], json!([]), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_app_does_not_come_back() {
    let mut app = TestApp::start().await;
    create(&app, "mine").await;
    assert_eq!(app.delete("/api/v1/apps/default?confirm=default").await.status, 204);
    app.restart().await;
    let apps = app.get("/api/v1/apps").await.json();
    let names: Vec<_> = apps["items"].as_array().unwrap().iter().map(|app| &app["name"]).collect();
    assert_eq!(names, ["mine"]);
}

/// What is removed bit by bit is gone from the file in the end, also when a server has stopped meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_in_the_file() {
    let mut app = TestApp::start().await;
    create(&app, "shop").await;
    deploy(&app, "shop", "fill", "fn handle(req) { for i in 0..900 { kv::set(`key ${i}`, i); } }").await;
    assert_eq!(app.get("/shop/fill").await.status, 204);
    assert_eq!(app.delete("/api/v1/apps/shop?confirm=shop").await.status, 204);
    app.restart().await;
    let begun = Instant::now();
    loop {
        let database = rows(&app).await;
        if database == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{database} keys are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.assert_healthy().await;
}

/// How many keys are stored.
async fn rows(app: &TestApp) -> i64 {
    let file = app.data_dir().join("picloud.db");
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::query_scalar("select count(*) from kv").fetch_one(&mut connection).await.unwrap()
}
