//! Fuel is a number that a user can test against: the same version and the same inputs give the same integer.

use picloud_tests::TestApp;

use crate::golden;

/// Reads most of what a call can read, so that nothing of it may depend on when or where it is read.
const SOURCE: &str = r#"
    const NAMES = ["b", "a", "c"];
    fn handle(req) {
        let seen = #{};
        for name in NAMES { seen[name] = req.query[name] ?? kv::get("fuel/" + name, 0); }
        log::info("seen", seen);
        let digest = crypto::sha256_hex(json::stringify(seen));
        #{seen: seen, digest: digest, words: regex::find_all(`\w+`, req.body).len, script: ctx.script}
    }
"#;

const PATH: &str = "/default/fuel?a=1&c=x%20y";

async fn fuel(app: &TestApp, path: &str) -> u64 {
    let reply = app.post(path, "some words to count").await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.fuel()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_in_every_call() {
    let app = TestApp::start().await;
    app.deploy("fuel", SOURCE).await;
    let expected = fuel(&app, PATH).await;
    for _ in 0..50 {
        assert_eq!(fuel(&app, PATH).await, expected);
    }
    let calls: Vec<_> = (0..32).map(|_| fuel(&app, PATH)).collect();
    assert_eq!(futures_util::future::join_all(calls).await, [expected; 32]);
    assert_ne!(fuel(&app, "/default/fuel?a=1").await, expected, "other inputs cost something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_after_other_calls_in_the_same_slot() {
    let app = TestApp::builder()
        .config(|config| config.max_concurrent_calls = std::num::NonZeroUsize::new(1))
        .start()
        .await;
    app.deploy("fuel", SOURCE).await;
    app.deploy("other", "let a = []; for i in 0..20000 { a.push(`${i}`); } a.len").await;
    let expected = fuel(&app, PATH).await;
    for _ in 0..5 {
        assert_eq!(app.get("/default/other").await.text(), "20000");
        assert_eq!(fuel(&app, PATH).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_after_a_restart() {
    let mut app = TestApp::start().await;
    app.deploy("fuel", SOURCE).await;
    let expected = fuel(&app, PATH).await;
    app.restart().await;
    assert_eq!(fuel(&app, PATH).await, expected, "the image was built anew from the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_after_another_upload_of_the_same_source() {
    let app = TestApp::start().await;
    app.deploy("fuel", SOURCE).await;
    let expected = fuel(&app, PATH).await;
    app.deploy("fuel", "1").await;
    let third = app.deploy("fuel", SOURCE).await.json();
    assert_eq!(third["version"], 3);
    assert_eq!(fuel(&app, PATH).await, expected);
    app.delete("/api/v1/apps/default/scripts/fuel").await;
    app.deploy("fuel", SOURCE).await;
    assert_eq!(fuel(&app, PATH).await, expected);
}

/// The name is as long, since a script that reads it pays for its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_under_another_name() {
    let app = TestApp::start().await;
    let first = app.deploy("fuel", SOURCE).await.json();
    let second = app.deploy("leuf", SOURCE).await.json();
    assert_eq!(first["load_fuel"], second["load_fuel"]);
    assert_eq!(fuel(&app, PATH).await, fuel(&app, "/default/leuf?a=1&c=x%20y").await);
}

/// The fuel of loading, too: here every server has an engine, and so a pool and an image cache, of its own.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_on_another_server() {
    let (one, two) = (TestApp::start().await, TestApp::start().await);
    let (first, second) = (one.deploy("fuel", SOURCE).await.json(), two.deploy("fuel", SOURCE).await.json());
    assert_eq!(first["load_fuel"], second["load_fuel"]);
    assert_eq!(first["image_bytes"], second["image_bytes"]);
    assert_eq!(fuel(&one, PATH).await, fuel(&two, PATH).await);
}

/// Cases whose work depends on what they draw or on what time it is.
const BY_CHANCE: [&str; 3] = ["module-random", "module-time", "module-uuid"];

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_cases_cost_the_same_each_time() {
    let (one, two) = (TestApp::start().await, TestApp::start().await);
    for case in golden::cases().iter().filter(|case| !BY_CHANCE.contains(&golden::name(case))) {
        let fuel = |steps: Vec<golden::Step>| steps.iter().map(|step| step.fuel).collect::<Vec<_>>();
        let (first, second) = (golden::run(&one, case).await, golden::run(&two, case).await);
        assert_eq!(fuel(first), fuel(second), "{}", golden::name(case));
    }
}
