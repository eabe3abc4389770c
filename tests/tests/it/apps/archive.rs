//! An app goes into an archive and out of it again: on the same server, on another one, and never in part.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::{create, deploy, put};

/// How long an event may take until its script has run, and a key until it is gone.
const LIMIT: Duration = Duration::from_secs(20);

const ORDER: &str = r#"
    fn handle(req) { `${config::get("greeting")} ${kv::incr("calls")} ${req.params.get("id") ?? "-"}` }
    fn on_event(event) { kv::set(`seen/${event.subject ?? event.type}`, true); }
"#;

/// The app `shop`, with something of everything.
async fn shop(app: &TestApp) {
    create(app, "shop").await;
    put(app, "shop", json!({ "description": "Orders", "limits": { "fuel": 5_000_000 } })).await;
    deploy(app, "shop", "order", "\"the first\"").await;
    deploy(app, "shop", "order", ORDER).await;
    put(app, "shop/config/greeting", json!("Hello")).await;
    put(app, "shop/routes/own", json!({ "path": "/shop/orders/{id}", "script": "order" })).await;
    put(app, "shop/routes/login", json!({ "path": "/login", "answer": { "body": "who are you?" } })).await;
    put(app, "shop/triggers/stock", json!({ "kind": "kv", "prefix": "stock/", "script": "order" })).await;
    put(app, "shop/triggers/jobs", json!({ "kind": "queue", "script": "order" })).await;
    put(app, "shop/triggers/nightly", json!({ "kind": "schedule", "cron": "0 3 * * *", "script": "order" }))
        .await;
    let secret = app.request("PUT", "/api/v1/apps/shop/secrets/hub").header("content-type", "text/plain");
    assert!(Reply::of(secret.body("correct horse")).await.is_success());
    put(
        app,
        "shop/triggers/hub",
        json!({ "kind": "webhook", "scheme": "github", "secret": "hub", "script": "order" }),
    )
    .await;
    for (key, value) in [("stock%2Fold", "{\"n\":1.50}"), ("nothing", "null")] {
        let request = app.request("PUT", &format!("/api/v1/apps/shop/kv/{key}"));
        let set = request.header("content-type", "application/json").body(value);
        assert_eq!(Reply::of(set).await.status, 201, "{key}");
    }
    let blob =
        app.request("PUT", "/api/v1/apps/shop/kv/blob").header("content-type", "application/octet-stream");
    assert_eq!(Reply::of(blob.body(&b"\0\xff"[..])).await.status, 201);
    wait_for(app, "shop", "seen/stock/old").await;
}

async fn export(app: &TestApp, name: &str) -> Vec<u8> {
    let reply = app.get(&format!("/api/v1/apps/{name}/archive")).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.body
}

async fn import(app: &TestApp, name: &str, archive: Vec<u8>) -> Reply {
    let request = app.request("PUT", &format!("/api/v1/apps/{name}/archive"));
    Reply::of(request.header("content-type", "application/gzip").body(archive)).await
}

/// Path and text of each file.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    files.collect()
}

/// An archive of these files.
fn packed(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, &**bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// Until a key is there.
async fn wait_for(app: &TestApp, owner: &str, key: &str) {
    let path = format!("/api/v1/apps/{owner}/kv/{}", key.replace('/', "%2F"));
    let begun = Instant::now();
    while app.get(&path).await.status != 200 {
        assert!(begun.elapsed() < LIMIT, "{path} is not there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn set(app: &TestApp, path: &str, value: &Value) {
    let reply = Reply::of(app.request("PUT", &format!("/api/v1/apps/{path}")).json(value)).await;
    assert!(reply.is_success(), "{path}: {reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_moves_to_another_server_and_goes_on_there() {
    let (old, mut new) = (TestApp::start().await, TestApp::start().await);
    shop(&old).await;
    assert_eq!(old.get("/shop/order").await.text(), "Hello 1 -");
    set(&old, "shop/kv/stock%2Fsoon?ttl_ms=4000", &json!(1)).await;
    wait_for(&old, "shop", "seen/stock/soon").await;
    let archive = export(&old, "shop").await;
    let made = import(&new, "shop", archive.clone()).await;
    assert_eq!(made.status, 201, "{made}");
    let told = made.json();
    assert_eq!(told["missing_secrets"], json!(["hub"]));
    assert_eq!((&told["app"]["description"], &told["versions"]), (&json!("Orders"), &json!(2)));

    assert_eq!(new.get("/shop/order").await.text(), "Hello 2 -");
    assert_eq!(new.get("/shop/orders/7").await.text(), "Hello 3 7");
    assert_eq!(new.get("/login").await.text(), "who are you?");
    assert_eq!(new.get("/api/v1/apps/shop/kv/blob").await.body, b"\0\xff");
    assert_eq!(new.get("/api/v1/apps/shop/kv/stock%2Fold").await.text(), "{\"n\":1.50}");
    assert_eq!(new.get("/api/v1/apps/shop/kv/nothing").await.text(), "null");
    // Triggers work: of changes, of messages, of keys that expire.
    set(&new, "shop/kv/stock%2Fnew", &json!(5)).await;
    wait_for(&new, "shop", "seen/stock/new").await;
    let sent = new.request("POST", "/api/v1/apps/shop/events?queue=jobs").json(&json!(1));
    assert_eq!(Reply::of(sent).await.status, 202);
    let begun = Instant::now();
    while new.get("/api/v1/apps/shop/kv/stock%2Fsoon").await.status != 404 {
        assert!(begun.elapsed() < LIMIT, "the key does not expire");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let schedule = new.get("/api/v1/apps/shop/triggers/nightly").await.json();
    assert_eq!(schedule["next_runs"].as_array().unwrap().len(), 5);
    // Whoever delivers is told to try again until the secret is there.
    let deliver = || Reply::of(new.anonymous("POST", "/api/v1/apps/shop/webhooks/hub").body("{}"));
    deliver().await.assert_problem(503, "webhook-unavailable");
    let secret = new.request("PUT", "/api/v1/apps/shop/secrets/hub").header("content-type", "text/plain");
    assert!(Reply::of(secret.body("correct horse")).await.is_success());
    deliver().await.assert_problem(401, "signature-invalid");
    // Versions can be gone back to, and all of it is there after a restart.
    assert_eq!(Reply::of(new.request("POST", "/api/v1/apps/shop/scripts/order/rollback")).await.status, 200);
    new.restart().await;
    assert_eq!(new.get("/shop/order").await.text(), "the first");
    new.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_imported_is_exported_as_it_was() {
    let (old, new) = (TestApp::start().await, TestApp::start().await);
    shop(&old).await;
    let first = files(&export(&old, "shop").await);
    assert_eq!(import(&new, "shop", packed(&first)).await.status, 201);
    let second = files(&export(&new, "shop").await);
    assert_eq!(first.len(), second.len());
    for ((path, one), (_, other)) in first.iter().zip(&second) {
        let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
        match &**path {
            "manifest.json" | "secrets.json" => {}
            _ => assert_eq!(one, other, "{path}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_app_has_is_had_when_that_is_gone() {
    let app = TestApp::start().await;
    shop(&app).await;
    let archive = export(&app, "shop").await;
    import(&app, "shop", archive.clone()).await.assert_problem(409, "name-taken");
    let refused = import(&app, "copy", archive.clone()).await.assert_problem(409, "route-conflict");
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("the route login of the archive")
            && detail.ends_with(
                "the app shop has a route for this host, or for paths that begin like this one: login"
            ),
        "{detail}"
    );
    app.get("/api/v1/apps/copy").await.assert_problem(404, "app-not-found");
    app.get("/copy/order").await.assert_problem(404, "route-not-found");
    assert_eq!(app.delete("/api/v1/apps/shop?confirm=shop").await.status, 204);
    assert_eq!(import(&app, "copy", archive).await.status, 201);
    assert_eq!(app.get("/login").await.text(), "who are you?");
    assert_eq!(app.get("/copy/orders/8").await.text(), "Hello 1 8");
    app.get("/shop/orders/8").await.assert_problem(404, "route-not-found");
    // That, and `default`.
    left(&app, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_go_through_while_others_work() {
    let app = TestApp::start().await;
    create(&app, "full").await;
    let fill = r#"
        fn handle(req) {
            let text = "";
            for i in 0..900 { text += "x"; }
            for i in 0..900 { kv::set(`${req.query.at}/${i}`, text); }
        }"#;
    deploy(&app, "full", "fill", fill).await;
    for at in 0..6 {
        let filled = app.get(&format!("/full/fill?at={at}")).await;
        assert!(filled.is_success(), "{filled}");
    }
    app.deploy("count", "fn handle(req) { kv::incr(\"n\") }").await;
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let calls = tokio::spawn({
        let (ended, call) = (ended.clone(), app.request("GET", "/default/count"));
        async move {
            let mut count = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(Reply::of(call.try_clone().unwrap()).await.status, 200);
                count += 1;
            }
            count
        }
    });
    let archive = export(&app, "full").await;
    let made = import(&app, "copy", archive).await;
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(calls.await.unwrap() > 0);
    assert_eq!((made.status, &made.json()["keys"]), (201, &json!(5400)), "{made}");
    let key = app.get("/api/v1/apps/copy/kv/5%2F899").await;
    assert_eq!(key.text().len(), 902);
}

/// What a refused archive had in it is gone soon, and a server that stops in between finds it at its next start.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_an_archive_that_is_refused_late() {
    let mut app = TestApp::start().await;
    shop(&app).await;
    let mut files = files(&export(&app, "shop").await);
    let keys = (0..3000).map(|key| format!("{{\"key\":\"{key:05}\",\"value\":1}}\n")).collect::<String>();
    for (path, bytes) in &mut files {
        match &**path {
            "kv.ndjson" => *bytes = format!("{keys}broken").into_bytes(),
            "routes.json" => *bytes = b"{}".to_vec(),
            _ => {}
        }
    }
    for _ in 0..2 {
        let refused = import(&app, "copy", packed(&files)).await.assert_problem(422, "archive-invalid");
        assert_eq!(refused["detail"], "kv.ndjson: line 3001: expected value at line 1 column 1");
    }
    let broken = [("manifest.json", &b"{}"[..]), ("scripts/order/2.rhai", b"fn handle(req) { 1 + }")];
    for (at, bytes) in broken {
        let changed = files
            .iter()
            .map(|(path, old)| (path.clone(), if path == at { bytes.to_vec() } else { old.clone() }));
        let refused = import(&app, "copy", packed(&changed.collect::<Vec<_>>())).await;
        assert!(matches!(&*refused.problem_code(), "archive-invalid" | "compile-failed"), "{refused}");
    }
    let cut = packed(&files);
    let half = cut[..cut.len() / 2].to_vec();
    import(&app, "copy", half).await.assert_problem(422, "archive-invalid");
    app.restart().await;
    left(&app, 2).await;
    let folder = std::fs::read_dir(app.data_dir()).unwrap();
    let names: Vec<String> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.ends_with(".import") || name.ends_with(".archive")), "{names:?}");
    assert_eq!(app.get("/shop/orders/1").await.status, 200);
    app.assert_healthy().await;
}

/// Until there are so many apps and none that nobody sees.
async fn left(app: &TestApp, apps: i64) {
    let begun = Instant::now();
    loop {
        let options = SqliteConnectOptions::new().filename(app.data_dir().join("picloud.db")).read_only(true);
        let mut connection = options.connect().await.unwrap();
        let count = "select count(*), count(deleted_ms) from app";
        let (all, hidden): (i64, i64) = sqlx::query_as(count).fetch_one(&mut connection).await.unwrap();
        if (all, hidden) == (apps, 0) {
            let lost = "select count(*) from kv where app_id not in (select id from app)";
            let lost: i64 = sqlx::query_scalar(lost).fetch_one(&mut connection).await.unwrap();
            assert_eq!(lost, 0);
            return;
        }
        assert!(begun.elapsed() < LIMIT, "{all} apps, {hidden} of them hidden");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_unpacks_to_far_more_is_refused_soon() {
    let app = TestApp::start().await;
    create(&app, "shop").await;
    let mut files = files(&export(&app, "shop").await);
    files.retain(|(path, _)| path != "kv.ndjson");
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (path, bytes) in &files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, &**bytes).unwrap();
    }
    let mut header = tar::Header::new_ustar();
    header.set_size(1 << 30);
    archive.append_data(&mut header, "kv.ndjson", std::io::repeat(b' ').take(1 << 30)).unwrap();
    let mut gzip = archive.into_inner().unwrap();
    gzip.flush().unwrap();
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 2 << 20);
    let refused = import(&app, "bomb", bomb).await.assert_problem(422, "archive-invalid");
    assert!(refused["detail"].as_str().unwrap().contains("longer than any key"), "{refused}");
    app.assert_healthy().await;
}
