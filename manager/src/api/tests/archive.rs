//! Archives of apps as clients see them.

mod hostile;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::fixture::{Answer, TestApi};
use crate::api::Auth;
use crate::scope::Scope;
use crate::store::testing::name;

const JSON: (&str, &str) = ("content-type", "application/json");

/// The files of an archive, in an order of their own.
type Files = BTreeMap<String, Vec<u8>>;

async fn put(api: &TestApi, path: &str, body: Value) {
    let answer = api.send("PUT", &format!("/api/v1/apps/{path}"), &[JSON], body.to_string()).await;
    assert!(answer.status < 300, "{path}: {} {}", answer.status, answer.text());
}

/// An app with something of everything.
async fn fill(api: &TestApi, app: &str) {
    put(
        api,
        app,
        json!({ "description": "Orders", "limits": { "fuel": 1000 }, "quotas": { "kv_bytes": 5000 } }),
    )
    .await;
    let script = |path: &str| format!("/api/v1/apps/{app}/scripts/{path}");
    for (source, message) in [("1", "one"), ("2", "two"), ("on_event 3", "three")] {
        let path = script(&format!("order?message={message}"));
        assert!(api.send("PUT", &path, &[], source).await.status < 300);
        api.test.clock.advance(1000);
    }
    assert_eq!(api.send("POST", &script("order/versions/1/activate"), &[], "").await.status, 200);
    assert_eq!(api.send("PUT", &script("other"), &[], "\"é\"").await.status, 201);
    put(api, &format!("{app}/scripts/other/access"), json!({ "kind": "token" })).await;
    put(
        api,
        &format!("{app}/routes/users"),
        json!({ "path": format!("/{app}/users/{{id}}"), "script": "order" }),
    )
    .await;
    put(
        api,
        &format!("{app}/routes/old"),
        json!({ "path": format!("/{app}/old"), "redirect": { "location": format!("/{app}/users/1") } }),
    )
    .await;
    put(
        api,
        &format!("{app}/triggers/jobs"),
        json!({ "kind": "queue", "script": "order", "concurrency": 3 }),
    )
    .await;
    put(
        api,
        &format!("{app}/triggers/daily"),
        json!({ "kind": "schedule", "cron": "@daily", "script": "order", "attempts": 9, "enabled": false }),
    )
    .await;
    put(api, &format!("{app}/config/rate"), json!([1, "x"])).await;
    put(api, &format!("{app}/http-policy"), json!({ "rules": [{ "hosts": ["a.org"] }] })).await;
    let text = [("content-type", "text/plain")];
    let secret = format!("/api/v1/apps/{app}/secrets/mail");
    assert_eq!(api.send("PUT", &secret, &text, "correct-horse").await.status, 201);
    for (key, value) in
        [("a", "null"), ("b%2Fc", r#"{"n":1.50}"#), ("soon?ttl_ms=5000", "1"), ("gone?ttl_ms=1", "1")]
    {
        let path = format!("/api/v1/apps/{app}/kv/{key}");
        assert_eq!(api.send("PUT", &path, &[JSON], value).await.status, 201, "{key}");
    }
    let bytes = [("content-type", "application/octet-stream")];
    let blob = format!("/api/v1/apps/{app}/kv/blob");
    assert_eq!(api.send("PUT", &blob, &bytes, &b"\0\xff\n"[..]).await.status, 201);
    api.test.clock.advance(1);
}

async fn export(api: &TestApi, app: &str) -> Files {
    let answer = api.get(&format!("/api/v1/apps/{app}/archive")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/gzip"));
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    unpack(&answer.body)
}

fn unpack(archive: &[u8]) -> Files {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (String::from_utf8(entry.path_bytes().into()).unwrap(), bytes)
    });
    files.collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A tar archive of files, each with its kind.
fn tar_of<'a>(files: impl IntoIterator<Item = (&'a str, tar::EntryType, &'a [u8])>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, kind, bytes) in files {
        let mut header = tar::Header::new_ustar();
        // As it is: the library would refuse what is hostile.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        archive.append(&header, bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

fn pack(files: &Files) -> Vec<u8> {
    let files = files.iter().map(|(path, bytes)| (&**path, tar::EntryType::Regular, &**bytes));
    gzip(&tar_of(files))
}

async fn import(api: &TestApi, app: &str, archive: Vec<u8>) -> Answer {
    let path = format!("/api/v1/apps/{app}/archive");
    api.send("PUT", &path, &[("content-type", "application/gzip")], archive).await
}

fn document(files: &Files, path: &str) -> Value {
    serde_json::from_slice(&files[path]).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[tokio::test]
async fn an_archive_has_all_of_an_app_in_files_that_can_be_read() {
    let api = TestApi::new().await;
    fill(&api, "shop").await;
    let files = export(&api, "shop").await;
    let names: Vec<&str> = files.keys().map(|path| &**path).collect();
    assert_eq!(
        names,
        [
            "app.json",
            "config.json",
            "kv.ndjson",
            "manifest.json",
            "routes.json",
            "scripts/order/1.rhai",
            "scripts/order/2.rhai",
            "scripts/order/3.rhai",
            "scripts/order/script.json",
            "scripts/other/1.rhai",
            "scripts/other/script.json",
            "secrets.json",
            "triggers.json",
        ]
    );
    let manifest = document(&files, "manifest.json");
    assert_eq!(
        (&manifest["format"], &manifest["format_version"], &manifest["app"]),
        (&json!("picloud-app"), &json!(1), &json!("shop"))
    );
    let counts = json!({ "scripts": 2, "versions": 4, "routes": 2, "triggers": 2, "config": 1, "secrets": 1, "keys": 4 });
    assert_eq!(manifest["counts"], counts);
    assert_eq!(files["scripts/order/2.rhai"], b"2");
    let script = document(&files, "scripts/order/script.json");
    assert_eq!(
        (&script["active"], &script["previous"], &script["versions"][1]["message"]),
        (&json!(1), &json!(3), &json!("two"))
    );
    assert_eq!(document(&files, "secrets.json"), json!(["mail"]));
    let lines = String::from_utf8(files["kv.ndjson"].clone()).unwrap();
    let expected = [
        r#"{"key":"a","kind":"json","value":null,"expires_at":null}"#,
        r#"{"key":"b/c","kind":"json","value":{"n":1.50},"expires_at":null}"#,
        r#"{"key":"blob","kind":"blob","value_base64":"AP8K","expires_at":null}"#,
        r#"{"key":"soon","kind":"json","value":1,"expires_at":"2023-11-14T22:13:28Z"}"#,
    ];
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    let all = files.values().flatten().copied().collect::<Vec<u8>>();
    assert!(!String::from_utf8_lossy(&all).contains("correct-horse"), "a secret is in the archive");
    api.get("/api/v1/apps/nothing/archive").await.problem(404, "app-not-found");
}

#[tokio::test]
async fn an_app_is_made_of_an_archive_under_another_name() {
    let api = TestApi::new().await;
    fill(&api, "shop").await;
    let files = export(&api, "shop").await;
    let made = import(&api, "copy", pack(&files)).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/v1/apps/copy"), "{}", made.text());
    let told = made.json();
    assert_eq!(told["app"], api.get("/api/v1/apps/copy").await.json());
    assert_eq!((&told["scripts"], &told["versions"], &told["keys"]), (&json!(2), &json!(4), &json!(4)));
    assert_eq!((&told["missing_secrets"], &told["left_out"]), (&json!(["mail"]), &json!([])));
    // It is published, and what belongs to the name has followed it.
    let set = api.active.current();
    assert_eq!((set.apps["copy"].limits.fuel, set.apps["copy"].scripts["order"].script.version), (1000, 1));
    let again = export(&api, "copy").await;
    let follows = |text: &[u8]| String::from_utf8_lossy(text).replace("/shop/", "/copy/").into_bytes();
    for (path, bytes) in &files {
        match &**path {
            "manifest.json" => {
                let (mut one, other) = (document(&files, path), document(&again, path));
                one["app"] = json!("copy");
                one["counts"]["secrets"] = json!(0);
                assert_eq!(one, other);
            }
            "secrets.json" => assert_eq!(document(&again, path), json!([])),
            "routes.json" => assert_eq!(follows(bytes), again[path], "{path}"),
            _ => assert_eq!(bytes, &again[path], "{path}: {}", String::from_utf8_lossy(&again[path])),
        }
    }
    assert_eq!(files.len(), again.len());
    // Versions are numbered on, and one can go back.
    let put = api.send("PUT", "/api/v1/apps/copy/scripts/order", &[], "4").await.json();
    assert_eq!(put["version"], 4);
    let back = api.send("POST", "/api/v1/apps/copy/scripts/order/rollback", &[], "").await.json();
    assert_eq!(back["version"], 1);
    // What is loaded is not believed.
    assert_eq!(api.get("/api/v1/apps/copy/scripts/order/versions/3").await.json()["handles_events"], true);
}

#[tokio::test]
async fn an_archive_that_somebody_has_changed_and_packed_again_is_taken() {
    let api = TestApi::new().await;
    fill(&api, "shop").await;
    let mut files = export(&api, "shop").await;
    files.insert("app.json".to_owned(), br#"{"description": "Changed"}"#.to_vec());
    let mut lines = files["kv.ndjson"].clone();
    lines.extend_from_slice(b"\n{\"key\": \"z\", \"value\": [ 1 ], \"expires_at\": \"2001-01-01T00:00:00Z\"}\n{\"key\":\"zz\",\"value\":2}");
    files.insert("kv.ndjson".to_owned(), lines);
    // As `tar -czf shop.tar.gz .` does, in another order.
    let folders =
        ["./", "./scripts/", "./scripts/order/"].map(|path| (path, tar::EntryType::Directory, &b""[..]));
    let paths: Vec<String> = files.keys().rev().map(|path| format!("./{path}")).collect();
    let plain = paths.iter().map(|path| (&**path, tar::EntryType::Regular, &*files[&path[2..]]));
    let made = import(&api, "again", gzip(&tar_of(folders.into_iter().chain(plain)))).await.json();
    assert_eq!((&made["keys"], &made["expired_keys"]), (&json!(5), &json!(1)));
    assert_eq!(made["app"]["description"], "Changed");
    assert_eq!(api.get("/api/v1/apps/again/kv/zz").await.text(), "2");
    api.get("/api/v1/apps/again/kv/z").await.problem(404, "key-not-found");
}

#[tokio::test]
async fn of_many_versions_as_many_are_kept_as_the_quota_says_and_what_does_not_load_is_left_out() {
    let api = TestApi::new().await;
    fill(&api, "shop").await;
    let mut files = export(&api, "shop").await;
    files.insert("scripts/order/3.rhai".to_owned(), b"error".to_vec());
    let made = import(&api, "copy", pack(&files)).await.json();
    let left_out =
        json!([{ "script": "order", "number": 3, "code": "compile-failed", "detail": "unexpected end" }]);
    assert_eq!((&made["versions"], &made["left_out"]), (&json!(3), &left_out));
    // It was the one before: there is none now.
    let back = api.send("POST", "/api/v1/apps/copy/scripts/order/rollback", &[], "").await;
    back.problem(404, "version-not-found");
    files.insert("app.json".to_owned(), br#"{"quotas": {"versions": 1}}"#.to_vec());
    let made = import(&api, "few", pack(&files)).await.json();
    assert_eq!(made["versions"], 2, "the newest of `other`, the active one of `order`, and not its newest");
    let versions = api.get("/api/v1/apps/few/scripts/order/versions").await.json();
    assert_eq!(versions["items"].as_array().unwrap().iter().map(|v| &v["number"]).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn an_archive_is_for_who_may_everything_in_the_app_and_is_written_down() {
    let api = TestApi::with_auth(Auth::Token).await;
    let token = async |title: &str, scope: &str| {
        let scopes = [Scope::parse(scope).unwrap()];
        let (token, _) = api.test.store.create_token(&name(title), &scopes, None).await.unwrap();
        format!("Bearer {token}")
    };
    let (owner, deployer) =
        (token("owner", "app:default:admin").await, token("ci", "app:default:deploy").await);
    api.state.publisher.publish().await.unwrap();
    let get = async |token: &str| {
        api.send("GET", "/api/v1/apps/default/archive", &[("authorization", token)], "").await
    };
    get(&deployer).await.problem(403, "forbidden");
    let archive = get(&owner).await;
    assert_eq!(archive.status, 200);
    let headers = [("authorization", &*owner), ("content-type", "application/gzip")];
    let made = api.send("PUT", "/api/v1/apps/mine/archive", &headers, archive.body).await;
    made.problem(403, "forbidden");
    let log = api.test.store.audit_log(&crate::store::audit::Filter::default(), None, 10).await.unwrap();
    let told: Vec<_> = log
        .iter()
        .map(|entry| (&*entry.request.method, entry.request.app.as_deref(), entry.status))
        .collect();
    assert_eq!(told, [("GET", Some("default"), Some(200))]);
}

#[tokio::test]
async fn one_is_made_or_taken_at_a_time() {
    let api = TestApi::new().await;
    let turn = api.state.backups.turn().unwrap();
    import(&api, "copy", Vec::new()).await.problem(503, "saturated");
    // Who takes one of an app does not keep the server from being backed up, nor the other way round.
    let files = export(&api, "default").await;
    drop(turn);
    let turn = api.state.backups.turn_of_export().unwrap();
    api.get("/api/v1/apps/default/archive").await.problem(503, "saturated");
    assert_eq!(api.get("/api/v1/backup").await.status, 200);
    drop(turn);
    // One that is being sent, however slowly, is in the way of its own app only.
    let sending = api.state.backups.sending(api.test.app).unwrap();
    api.get("/api/v1/apps/default/archive").await.problem(503, "saturated");
    assert_eq!(import(&api, "copy", pack(&files)).await.status, 201);
    assert_eq!(api.get("/api/v1/apps/copy/archive").await.status, 200);
    drop(sending);
    assert_eq!(api.get("/api/v1/apps/default/archive").await.status, 200);
    drop(api.state.backups.turn().unwrap());
}

/// Until nothing is left of apps that nobody sees, and no file beside the database.
async fn nothing_left(api: &TestApi, before: &[String]) {
    let stop = CancellationToken::new();
    let run = tokio::spawn({
        let (removals, stop) = (api.state.removals.clone(), stop.clone());
        async move { removals.run(stop).await }
    });
    let begun = Instant::now();
    while rows(api).await != before {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?} is left", rows(api).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    run.await.unwrap();
    let folder = std::fs::read_dir(api.test.path().parent().unwrap()).unwrap();
    let files = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let more: Vec<String> =
        files.filter(|file| !["picloud.db", "picloud.db-shm", "picloud.db-wal"].contains(&&**file)).collect();
    assert_eq!(more, [""; 0]);
}

/// How many rows there are of what an app can have. A key that has expired goes at any time.
async fn rows(api: &TestApi) -> Vec<String> {
    let mut rows = Vec::new();
    for table in [
        "app",
        "script",
        "script_version",
        "version_note",
        "kv where key <> 'gone'",
        "route",
        "event_trigger",
        "config_value",
        "app_usage",
    ] {
        let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let count: i64 = sqlx::query_scalar(count).fetch_one(&api.test.database.read).await.unwrap();
        rows.push(format!("{table} {count}"));
    }
    rows
}
