//! The scripts in `examples/` do what their comments say.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::time::sleep;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// Every file in a folder of the examples: its name without what is behind the dot, and its text.
fn files(name: &str, extension: &str) -> Vec<(String, String)> {
    let paths = std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    wanted
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// What `scripts/run.sh` sets, if there is none.
const GITHUB_SECRET: &str = "not a secret, an example";

/// A server with all examples, as `make run` starts one.
async fn app() -> TestApp {
    let app = TestApp::start().await;
    for (name, source) in files("", "rhai").into_iter().filter(|(name, _)| !name.ends_with("_test")) {
        app.deploy(&name, source).await;
    }
    let request =
        app.request("PUT", "/api/v1/apps/default/secrets/github").header("content-type", "text/plain");
    assert_eq!(Reply::of(request.body(GITHUB_SECRET)).await.status, 201);
    for (name, trigger) in files("triggers", "json") {
        let request = app.request("PUT", &format!("/api/v1/apps/default/triggers/{name}"));
        let reply = Reply::of(request.header("content-type", "application/json").body(trigger)).await;
        assert!(reply.is_success(), "{name}: {reply}");
    }
    app
}

/// Ask until the answer is this.
async fn expect(app: &TestApp, path: &str, expected: Value) {
    let begun = Instant::now();
    loop {
        let reply = app.get(path).await;
        if reply.is_success() && reply.json() == expected {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{path}: {reply}, not {expected}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_runs_low_is_ordered_once() {
    let app = app().await;
    for left in [5, 2, 1, 4, 0] {
        assert_eq!(app.put(&format!("/default/stock/milk?left={left}"), "").await.status, 204);
        // Each change is told by itself, and the job of the one before is done: its key is free again.
        expect(&app, "/api/v1/apps/default/queues", json!({"items": [], "next_cursor": null})).await;
    }
    let order = |number| json!({"number": number, "item": "milk", "count": 10});
    // Low at 2, still low at 1, and after 4 low again at 0.
    expect(&app, "/default/purchase", json!([order(1), order(2)])).await;
    expect(&app, "/default/stock", json!({"milk": 0})).await;
    assert_eq!(app.put("/default/stock/milk?left=x", "").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_worked_off() {
    let app = app().await;
    let job = app.post("/default/purchase?item=tea&count=2", "").await;
    assert_eq!(job.status, 202, "{job}");
    expect(&app, "/default/purchase", json!([{"number": 1, "item": "tea", "count": "2"}])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_climate_of_each_room_is_kept() {
    let app = app().await;
    for (room, celsius) in [("kitchen", "21.5"), ("kitchen", "19"), ("cellar", "12")] {
        assert_eq!(
            app.post(&format!("/default/climate/{room}"), celsius).await.json(),
            json!({"listeners": 1})
        );
    }
    let rooms = json!({
        "cellar": {"coldest": 12, "warmest": 12},
        "kitchen": {"coldest": 19, "warmest": 21.5},
    });
    expect(&app, "/default/climate", rooms).await;
    assert_eq!(app.post("/default/climate/kitchen", "warm").await.status, 500, "it is no JSON");
    assert_eq!(app.post("/default/climate/kitchen", "\"warm\"").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_comes_unless_it_was_taken_back() {
    let app = app().await;
    let later = app.post("/default/reminder?text=later&seconds=3600", "").await;
    let waiting = app.get("/default/reminder").await.json();
    let id = later.json()["id"].as_str().unwrap().to_owned();
    assert_eq!((&waiting["waiting"][0]["id"], &waiting["done"]), (&json!(id), &json!([])));
    assert_eq!(app.delete(&format!("/default/reminder/{id}")).await.status, 204);
    assert_eq!(app.delete(&format!("/default/reminder/{id}")).await.status, 404);
    assert_eq!(app.delete("/default/reminder/x").await.status, 404);
    assert_eq!(app.post("/default/reminder?text=now&seconds=0", "").await.status, 202);
    expect(&app, "/default/reminder", json!({"waiting": [], "done": ["now"]})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_to_a_repository_are_counted_once_each() {
    let app = app().await;
    let push = |commits: &[&str]| {
        let commits: Vec<_> = commits.iter().map(|message| json!({"message": message})).collect();
        json!({"ref": "refs/heads/main", "repository": {"full_name": "ada/engine"}, "commits": commits})
            .to_string()
    };
    for (id, body, status) in [
        ("1", push(&["Fix it", "Test it"]), 202),
        ("2", push(&["Fix it again"]), 202),
        // GitHub sends it again after it is done.
        ("1", push(&["Fix it", "Test it"]), 202),
        ("3", push(&[]), 401),
    ] {
        let key = if status == 202 { GITHUB_SECRET } else { "something else" };
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = app.anonymous("POST", "/api/v1/apps/default/webhooks/webhook");
        let request = request.header("x-hub-signature-256", format!("sha256={digits}"));
        let request = request.header("x-github-event", "push").header("x-github-delivery", id);
        let reply = Reply::of(request.header("content-type", "application/json").body(body)).await;
        assert_eq!(reply.status, status, "{reply}");
        expect(&app, "/api/v1/apps/default/queues", json!({"items": [], "next_cursor": null})).await;
    }
    let pushes = json!({"ada/engine/main": {"pushes": 2, "commits": 3, "last": "Fix it again"}});
    expect(&app, "/default/webhook", pushes).await;
}
