//! Safe roll-out: versions are tried before they are called, and one call goes back.

use axum::Router;
use axum::routing::get;
use picloud_host::grants::GrantConfig;
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

use crate::http::remote::{Remote, allow};

const VERSIONS: &str = "/api/v1/apps/default/scripts/order/versions";

async fn make(app: &TestApp, source: &str, more: Value) -> Reply {
    let mut body = json!({ "source": source });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Reply::of(app.request("POST", VERSIONS).json(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smoke_call_sees_everything_and_changes_nothing() {
    let app = TestApp::start().await;
    let source = r#"
        fn handle(req) {
            let n = kv::incr("orders");
            triggers::enqueue("order", #{ n: n });
            log::info("tried");
            #{ n: n, path: req.path, query: req.query, body: req.body, token: req.headers["x-a"], config: config::get("rate") }
        }
        fn on_event(event) { kv::set("happened", 1); }
    "#;
    let set = app.request("PUT", "/api/v1/apps/default/config/rate").json(&json!(2));
    assert!(Reply::of(set).await.is_success());
    assert!(make(&app, source, json!({})).await.is_success());
    assert_eq!(app.get("/default/order").await.json()["n"], 1);
    // The same with a little more work is a new version, and says how much more that is.
    let more = source.replace("let n =", "let sum = 0; for i in 0..1000 { sum += i; } let n =");
    let smoke = json!({ "path": "/42", "query": "a=1", "headers": { "x-a": "b" }, "body": { "qty": 2 }, "status": 200 });
    let made = make(&app, &more, json!({ "smoke": smoke, "message": "slower" })).await;
    assert_eq!(made.status, 201, "{made}");
    let made = made.json();
    let (fuel, active) =
        (made["smoke"]["fuel"].as_u64().unwrap(), made["smoke"]["active_fuel"].as_u64().unwrap());
    assert!(fuel > active && made["smoke"]["fuel_change_percent"].as_f64().unwrap() > 10.0, "{made}");
    assert_eq!(
        (&made["smoke_fuel"], &made["message"], &made["number"]),
        (&json!(fuel), &json!("slower"), &json!(2))
    );
    // Neither of the two calls has left anything behind but its work: the next one is the second.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(app.get("/api/v1/apps/default/kv/orders").await.text(), "1");
    assert_eq!(app.get("/default/order").await.json()["n"], 2);
    let executions = app.get("/api/v1/apps/default/executions?trigger=http").await.json();
    assert_eq!(executions["items"].as_array().unwrap().len(), 2, "a smoke call is no execution");
    // The fuel of a smoke call is that of a call: the same number each time.
    let again = make(&app, &(more.clone() + " "), json!({ "smoke": { "path": "/" } })).await.json();
    let once_more = make(&app, &(more + "  "), json!({ "smoke": { "path": "/" } })).await.json();
    assert_eq!(again["smoke"]["fuel"], once_more["smoke"]["fuel"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_is_none_and_the_active_one_goes_on() {
    let app = TestApp::start().await;
    app.deploy("order", "fn handle(req) { \"fine\" }").await;
    let refused = async |source: &str, smoke: Value, why: &str| {
        let problem = make(&app, source, json!({ "smoke": smoke })).await.assert_problem(422, "smoke-failed");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
        problem
    };
    let failed = "fn handle(req) {\n  log::warn(\"almost\");\n  nothing + 1\n}";
    let problem = refused(
        failed,
        json!({}),
        "script-error: Variable not found: nothing The last that it logged: almost",
    )
    .await;
    assert_eq!(problem["position"]["line"], 3);
    refused("fn handle(req) { loop {} }", json!({}), "fuel-exhausted").await;
    refused("fn handle(req) { response(500, \"\") }", json!({}), "answered with 500").await;
    refused("fn handle(req) { 1 }", json!({ "status": 404 }), "answered with 200, not with 404").await;
    assert_eq!(app.get("/default/order").await.text(), "fine");
    let versions = app.get(VERSIONS).await.json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 1);
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_goes_back_to_what_was_there() {
    let mut app = TestApp::start().await;
    for source in ["\"one\"", "\"two\""] {
        app.deploy("order", source).await;
    }
    let waits = make(&app, "\"three\"", json!({ "activate": false })).await.json();
    assert_eq!((&waits["number"], &waits["active"]), (&json!(3), &json!(false)));
    assert_eq!(app.get("/default/order").await.text(), "two");
    app.restart().await;
    let back = app.post("/api/v1/apps/default/scripts/order/rollback", "").await;
    assert_eq!(back.json()["version"], 1);
    assert_eq!(app.get("/default/order").await.text(), "one");
    assert!(app.post(&format!("{VERSIONS}/3/activate"), "").await.is_success());
    assert_eq!(app.get("/default/order").await.text(), "three");
}

/// Of many versions the oldest go, as the quota says.
#[tokio::test(flavor = "multi_thread")]
async fn so_many_versions_are_kept_as_the_app_may_have() {
    let app = TestApp::start().await;
    let quotas = json!({ "quotas": { "versions": 2 } });
    assert!(Reply::of(app.request("PUT", "/api/v1/apps/default").json(&quotas)).await.is_success());
    for number in 1..=4 {
        app.deploy("order", number.to_string()).await;
    }
    let versions = app.get(VERSIONS).await.json();
    let numbers: Vec<_> =
        versions["items"].as_array().unwrap().iter().map(|version| &version["number"]).collect();
    assert_eq!(numbers, [4, 3]);
    app.get(&format!("{VERSIONS}/1")).await.assert_problem(404, "version-not-found");
}

/// What could not be taken back is not done at all, though a call may do it.
#[tokio::test(flavor = "multi_thread")]
async fn a_smoke_call_neither_sends_nor_writes_files() {
    let remote = Remote::start(Router::new().route("/", get(async || "got"))).await;
    let folder = tempfile::tempdir().unwrap();
    let grant = GrantConfig { path: folder.path().into(), writable: true, apps: None };
    let app =
        TestApp::builder().config(|config| drop(config.fs.insert("data".to_owned(), grant))).start().await;
    allow(&app, json!([remote.rule()])).await;
    let sends = format!("fn handle(req) {{ http::get(\"{}\").body }}", remote.url("/"));
    let writes = "fn handle(req) { fs::write(\"data/a\", \"x\"); 1 }";
    for source in [sends.as_str(), writes] {
        make(&app, source, json!({ "smoke": {} })).await.assert_problem(422, "smoke-failed");
    }
    assert_eq!((remote.hits(), std::fs::read_dir(folder.path()).unwrap().count()), (0, 0));
    for source in [sends.as_str(), writes] {
        assert!(make(&app, source, json!({})).await.is_success());
        assert_eq!(app.get("/default/order").await.status, 200);
    }
    assert_eq!((remote.hits(), std::fs::read_dir(folder.path()).unwrap().count()), (1, 1));
}

/// A smoke call is a call of its app.
#[tokio::test(flavor = "multi_thread")]
async fn a_smoke_call_counts_for_the_quotas_of_its_app() {
    let app = TestApp::start().await;
    let quotas = json!({ "quotas": { "calls_per_second": 1 } });
    assert!(Reply::of(app.request("PUT", "/api/v1/apps/default").json(&quotas)).await.is_success());
    assert!(make(&app, "1", json!({ "smoke": {} })).await.is_success());
    let over = make(&app, "2", json!({ "smoke": {} })).await;
    over.assert_problem(429, "quota-exceeded");
    assert_eq!(app.get(VERSIONS).await.json()["items"].as_array().unwrap().len(), 1);
}
