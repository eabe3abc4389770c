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
            let end = time::now() + 5000;
            while time::now() < end {}
            kv::set("late", 1);
            "done"
        }
        fn on_event(event) { kv::incr("events"); }
    "#;
    deploy(&app, "shop", "slow", source).await;
    put(&app, "shop/triggers/jobs", json!({ "kind": "queue", "script": "slow" })).await;
    for _ in 0..20 {
        // Later, so that nothing runs but the call.
        let path = "/api/v1/apps/shop/events?queue=jobs&delay_ms=3600000";
        let send = app.request("POST", path).json(&json!(1));
        assert_eq!(Reply::of(send).await.status, 202);
    }
    let slow = tokio::spawn(Reply::of(app.request("GET", "/shop/slow")));
    let begun = Instant::now();
    while !app.get("/metrics").await.text().lines().any(|line| line == "picloud_calls_running 1") {
        assert!(begun.elapsed() < Duration::from_secs(4), "the call does not run");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(app.delete("/api/v1/apps/shop?confirm=shop").await.status, 204);
    app.get("/shop/slow").await.assert_problem(404, "route-not-found");
    slow.await.unwrap().assert_problem(404, "app-not-found");
    app.assert_healthy().await;
    app.deploy("count", "fn handle(req) { kv::incr(\"n\") }").await;
    assert_eq!(app.get("/default/count").await.text(), "1");
    // Another app of the name finds nothing.
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
        assert!(begun.elapsed() < Duration::from_secs(20), "{database} rows are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.assert_healthy().await;
}

/// How many keys, events and apps beside `default` are stored.
async fn rows(app: &TestApp) -> i64 {
    let file = app.data_dir().join("picloud.db");
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.unwrap();
    let count =
        "select (select count(*) from kv) + (select count(*) from event) + (select count(*) from app) - 1";
    sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap()
}
