//! `picloud migrate` makes database files of those that a server has left, with all that they hold.

use std::collections::BTreeMap;
use std::path::Path;

use picloud_tests::{Ended, Process, Reply, Site};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

/// Uses what the database has: keys, a secret, events.
const USER: &str = r#"
fn handle(req) {
    log::info("called");
    triggers::enqueue(ctx.script, "work", #{ delay_ms: 3600000 });
    #{ n: kv::incr("n"), bytes: secrets::get("mail").len() }
}"#;

async fn json_at(server: &Process, path: &str) -> Value {
    let reply = server.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {reply}");
    reply.json()
}

async fn server(site: &Site) -> (Process, String) {
    let mut server = site.serve(&[]).await;
    let token = server.printed_token().await;
    server.deploy("user", USER).await;
    let secret =
        server.request("PUT", "/api/v1/apps/default/secrets/mail").header("content-type", "text/plain");
    assert!(Reply::of(secret.body("correct horse")).await.is_success());
    (server, token)
}

async fn migrate(site: &Site, from: &str, to: &str) -> Ended {
    site.picloud(&["migrate", "-o", "json", "--from", from, "--to", to]).await
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// Spoil the page with the root of a table.
async fn damage(file: &Path) {
    let mut database = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let query = "select rootpage from sqlite_schema where name = 'script_version'";
    let page: u32 = sqlx::query_scalar(query).fetch_one(&mut database).await.unwrap();
    database.close().await.unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let at = (page as usize - 1) * 4096;
    bytes[at..at + 64].fill(0xa5);
    std::fs::write(file, bytes).unwrap();
}

/// What it says of a table.
fn table<'a>(result: &'a Value, name: &str) -> &'a Value {
    let tables = result["tables"].as_array().unwrap();
    tables.iter().find(|table| table["table"] == name).unwrap_or_else(|| panic!("no {name} in {result}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_with_new_files_where_it_has_lost_power() {
    let site = Site::new();
    let (running, token) = server(&site).await;
    assert_eq!(json_at(&running, "/default/user").await, json!({ "n": 1, "bytes": 13 }));
    let executions = "/api/v1/apps/default/executions?script=user";
    let before = json_at(&running, executions).await;
    running.kill().await;

    let old = files(&site.data());
    assert!(!old["picloud.db-wal"].is_empty(), "something is not in the file itself yet");
    std::fs::create_dir(site.home().join("new")).unwrap();
    let migrated = migrate(&site, "data/picloud.db", "new/picloud.db").await;
    assert_eq!(migrated.code(), Some(0), "{migrated:?}");
    let result = migrated.json();
    assert_eq!((&result["kind"], &result["schema"]), (&json!("main"), &result["old_schema"]));
    for (name, rows) in [("kv", 1), ("secret", 1), ("event", 1), ("script_version", 1), ("answer", 0)] {
        assert_eq!(table(&result, name)["rows"], rows, "{name}: {result}");
    }
    let migrated = migrate(&site, "data/telemetry.db", "new/telemetry.db").await;
    assert_eq!(migrated.code(), Some(0), "{migrated:?}");
    assert_eq!(migrated.json()["kind"], "telemetry");
    assert!(table(&migrated.json(), "execution")["bytes"].as_u64().unwrap() > 100);
    assert!(files(&site.data()) == old, "the old files are as they were");
    assert_eq!(files(&site.home().join("new")).len(), 2, "nothing else is left");

    std::fs::copy(site.data().join("secret.key"), site.home().join("new/secret.key")).unwrap();
    std::fs::rename(site.data(), site.home().join("old")).unwrap();
    std::fs::rename(site.home().join("new"), site.data()).unwrap();
    let mut server = site.serve(&[]).await;
    server.use_token(&token);
    assert_eq!(json_at(&server, executions).await["items"][0], before["items"][0]);
    assert_eq!(json_at(&server, "/default/user").await, json!({ "n": 2, "bytes": 13 }));
    let queues = json_at(&server, "/api/v1/apps/default/queues").await;
    assert!(queues.to_string().contains("\"waiting\":2"), "{queues}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_a_table_and_both_files_as_they_are() {
    let site = Site::new();
    let (running, _) = server(&site).await;
    running.stop().await;
    let args = ["migrate", "--from", "data/picloud.db", "--to", "new.db"];
    let migrated = site.picloud(&args).await;
    assert_eq!(migrated.code(), Some(0), "{migrated:?}");
    let lines: Vec<Vec<&str>> = migrated.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["TABLE", "ROWS", "BYTES"]);
    assert!(lines.iter().any(|line| line[..2] == ["secret", "1"]), "{migrated:?}");
    assert!(migrated.out.contains("written  new.db") && migrated.log.contains("secret.key"), "{migrated:?}");
    // A copy of a copy is the same.
    let (one, two) =
        (migrate(&site, "data/picloud.db", "one.db").await, migrate(&site, "one.db", "two.db").await);
    assert_eq!(one.json()["tables"], two.json()["tables"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_use_or_in_the_way_stays_as_it_is() {
    let site = Site::new();
    let (running, _) = server(&site).await;
    let refused = migrate(&site, "data/picloud.db", "new.db").await;
    assert!(refused.code() == Some(1) && refused.log.contains("another server uses"), "{refused:?}");
    std::os::unix::fs::symlink("data/picloud.db", site.home().join("link.db")).unwrap();
    let refused = migrate(&site, "link.db", "new.db").await;
    assert!(refused.log.contains("another server uses"), "a link leads there as well: {refused:?}");
    running.stop().await;
    for name in ["taken.db", "log.db-wal"] {
        std::fs::write(site.home().join(name), "mine").unwrap();
        let refused = migrate(&site, "data/picloud.db", name.trim_end_matches("-wal")).await;
        assert!(refused.code() == Some(2) && refused.log.contains("no file is replaced"), "{refused:?}");
        assert_eq!(std::fs::read(site.home().join(name)).unwrap(), b"mine");
    }
    let refused = migrate(&site, "data/picloud.db", "data/picloud.db").await;
    assert_eq!(refused.code(), Some(2), "{refused:?}");
    let migrated = migrate(&site, "link.db", "new.db").await;
    assert_eq!(migrated.code(), Some(0), "{migrated:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_migrated_leaves_nothing_behind() {
    let site = Site::new();
    let (running, _) = server(&site).await;
    running.stop().await;
    let file = |name: &str| site.home().join(name);
    std::fs::write(file("text.db"), "no database at all ".repeat(1000)).unwrap();
    std::fs::write(file("empty.db"), "").unwrap();
    for (name, change) in [
        ("newer.db", "update _sqlx_migrations set version = 9999 where version = 1"),
        ("more.db", "create table notes (text text)"),
    ] {
        std::fs::copy(site.data().join("picloud.db"), file(name)).unwrap();
        let mut database = SqliteConnectOptions::new().filename(file(name)).connect().await.unwrap();
        sqlx::query(change).execute(&mut database).await.unwrap();
        database.close().await.unwrap();
    }
    std::fs::copy(site.data().join("picloud.db"), file("damaged.db")).unwrap();
    damage(&file("damaged.db")).await;
    let before = files(site.home());
    for (name, why) in [
        ("missing.db", "cannot read missing.db"),
        ("data", "is no file"),
        ("text.db", "cannot be read as a database"),
        ("empty.db", "none of PiCloud's"),
        ("newer.db", "a newer PiCloud: its schema is 9999"),
        ("more.db", "its table `notes` is none of PiCloud's"),
        ("damaged.db", "it is damaged"),
    ] {
        let refused = migrate(&site, name, "new.db").await;
        assert!(refused.code() == Some(1) && refused.log.contains(why), "{name}: {refused:?}");
        assert!(refused.log.contains("nothing was migrated"), "{refused:?}");
    }
    assert!(files(site.home()) == before && !file("new.db.migrating").exists());
    let nowhere = migrate(&site, "data/picloud.db", "missing/new.db").await;
    assert!(nowhere.code() == Some(1) && nowhere.log.contains("missing/new.db.migrating"), "{nowhere:?}");
}
