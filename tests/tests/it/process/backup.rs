//! A backup is taken while the server works, and is all there again when it is restored.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use picloud_tests::{Process, Reply, Site};
use serde_json::{Value, json};

/// Two keys that are always the same: a transaction that is there in part would show.
const PAIR: &str = r#"
fn handle(req) {
    let n = kv::incr("left");
    kv::set("right", n);
    n
}"#;

const RESTORE: [&str; 4] = ["restore", "monday.db", "--data-dir", "data"];

async fn json_at(server: &Process, path: &str) -> Value {
    let reply = server.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {reply}");
    reply.json()
}

/// A server with a script, a secret, and a token that is known.
async fn server(site: &Site) -> (Process, String) {
    let mut server = site.serve(&[]).await;
    let token = server.printed_token().await;
    server.deploy("pair", PAIR).await;
    let secret =
        server.request("PUT", "/api/v1/apps/default/secrets/mail").header("content-type", "text/plain");
    assert!(Reply::of(secret.body("correct horse")).await.is_success());
    (server, token)
}

async fn back_up(site: &Site) {
    let made = site.picloud(&["backup", "monday.db"]).await;
    assert_eq!(made.code(), Some(0), "{made:?}");
}

async fn restore(site: &Site) {
    let restored = site.picloud(&RESTORE).await;
    assert_eq!(restored.code(), Some(0), "{restored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_one_moment_of_a_server_that_goes_on_and_can_be_restored() {
    let site = Site::new();
    let (running, token) = server(&site).await;
    let ended = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (ended, call) = (ended.clone(), running.request("GET", "/default/pair"));
        async move {
            let mut last = 0;
            while !ended.load(Ordering::Relaxed) {
                let reply = Reply::of(call.try_clone().unwrap()).await;
                assert_eq!(reply.status, 200, "writing goes on: {reply}");
                last = reply.text().parse().unwrap();
            }
            last
        }
    });
    for _ in 0..3 {
        let _ = std::fs::remove_file(site.home().join("monday.db"));
        back_up(&site).await;
    }
    ended.store(true, Ordering::Relaxed);
    let last: u64 = writer.await.unwrap();
    running.stop().await;
    restore(&site).await;
    let kept = std::fs::read_dir(site.data())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    assert_eq!(
        kept.filter(|name| name.starts_with("picloud.db.before-")).count(),
        1,
        "what was there is kept"
    );

    let mut server = site.serve(&[]).await;
    server.use_token(&token);
    let left = json_at(&server, "/api/v1/apps/default/kv/left").await;
    assert_eq!(left, json_at(&server, "/api/v1/apps/default/kv/right").await);
    let n = left.as_u64().unwrap();
    assert!(n > 0 && n <= last, "{n} of {last}");
    assert_eq!(json_at(&server, "/default/pair").await, json!(n + 1), "it goes on from there");
    assert_eq!(json_at(&server, "/api/v1/apps/default/secrets").await["items"][0]["readable"], true);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_everything_but_the_key_of_the_secrets() {
    let site = Site::new();
    let (running, token) = server(&site).await;
    assert_eq!(json_at(&running, "/default/pair").await, 1);
    back_up(&site).await;
    running.stop().await;
    let other = Site::new();
    std::fs::copy(site.home().join("monday.db"), other.home().join("monday.db")).unwrap();
    // What a database that is gone, and a restoring that was killed, have left must not become parts of this one.
    std::fs::create_dir(other.data()).unwrap();
    let left = ["picloud.db-wal", "picloud.db.restore-wal", "picloud.db.restore"];
    left.iter().for_each(|name| std::fs::write(other.data().join(name), "stale").unwrap());
    restore(&other).await;
    assert!(left.iter().all(|name| !other.data().join(name).exists()));
    let mut server = other.serve(&[]).await;
    server.use_token(&token);
    assert_eq!(json_at(&server, "/default/pair").await, 2);
    assert_eq!(json_at(&server, "/api/v1/apps/default/secrets").await["items"][0]["readable"], false);
    server.stop().await;
}

/// What root does is done as the user whom the data directory belongs to: the service must be able to use it, and must not be
/// able to lead root to the files of others.
#[tokio::test(flavor = "multi_thread")]
async fn root_works_on_the_data_of_a_service_as_the_service() {
    let site = Site::new();
    let (running, _) = server(&site).await;
    back_up(&site).await;
    running.stop().await;
    // Where everybody may go.
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let (data, theirs) = (folder.path().join("data"), folder.path().join("theirs"));
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::write(&theirs, "mine").unwrap();
    let is_root = std::os::unix::fs::chown(&data, Some(65534), Some(65534)).is_ok();
    let owner = data.metadata().unwrap().uid();
    assert!(is_root || owner == theirs.metadata().unwrap().uid());
    let picloud = async |words: &[&str]| {
        let mut words = words.to_vec();
        words.extend(["--data-dir", data.to_str().unwrap()]);
        site.picloud(&words).await
    };
    let restored = picloud(&["restore", "monday.db"]).await;
    assert_eq!(restored.code(), Some(0), "{restored:?}");
    let replaced = picloud(&["token", "replace"]).await;
    assert_eq!(replaced.code(), Some(0), "{replaced:?}");
    for file in std::fs::read_dir(&data).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().uid(), owner, "{file:?}");
    }
    if is_root {
        // The service has put another file in the place of its own.
        std::fs::set_permissions(&theirs, Permissions::from_mode(0o600)).unwrap();
        std::fs::remove_file(data.join("picloud.db")).unwrap();
        std::os::unix::fs::symlink(&theirs, data.join("picloud.db")).unwrap();
        let refused = picloud(&["token", "replace"]).await;
        assert_eq!(refused.code(), Some(1), "{refused:?}");
        assert_eq!(std::fs::read(&theirs).unwrap(), b"mine");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_replaced_that_is_in_use_or_by_what_is_no_backup() {
    let site = Site::new();
    let (running, token) = server(&site).await;
    back_up(&site).await;
    let again = site.picloud(&["backup", "monday.db"]).await;
    assert_eq!(again.code(), Some(2), "a backup replaces no file: {again:?}");
    let refused = site.picloud(&RESTORE).await;
    assert!(refused.code() == Some(1) && refused.log.contains("another server uses"), "{refused:?}");
    assert_eq!(json_at(&running, "/default/pair").await, 1);
    running.stop().await;
    std::fs::write(site.home().join("monday.db"), "no database at all").unwrap();
    let refused = site.picloud(&RESTORE).await;
    assert!(refused.code() == Some(1) && refused.log.contains("is no sound backup"), "{refused:?}");
    let missing = site.picloud(&["restore", "tuesday.db", "--data-dir", "data"]).await;
    assert!(missing.code() == Some(1) && missing.log.contains("tuesday.db"), "{missing:?}");
    let mut server = site.serve(&[]).await;
    server.use_token(&token);
    assert_eq!(json_at(&server, "/default/pair").await, 2);
    server.stop().await;
}
