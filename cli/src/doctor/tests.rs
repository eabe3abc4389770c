//! The whole command: what it finds, and how it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::commands::tests::server::{FakeServer, json as answer, problem};
use crate::commands::tests::{Ran, picloud_in};
use crate::exit::Exit;

async fn doctor(server: &str, data: &Path, more: &[&str]) -> Ran {
    let env = [("PICLOUD_SERVER", server), ("PICLOUD_TOKEN", "pct_secret")];
    let words = [&["doctor", "--data-dir", data.to_str().unwrap()], more].concat();
    picloud_in(&env, &words).await
}

/// State and finding of a check.
fn check(ran: &Ran, name: &str) -> (String, String) {
    let document = ran.json();
    let items = document["items"].as_array().unwrap();
    let item =
        items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name}: {}", ran.out));
    let text = |name: &str| item[name].as_str().unwrap().to_owned();
    (text("state"), text("found"))
}

async fn healthy() -> FakeServer {
    FakeServer::start(|seen| match seen.line.as_str() {
        "GET /readyz" => answer(200, &json!({})),
        "GET /api/v1/apps/default" => answer(200, &json!({ "name": "default" })),
        other => panic!("{other}"),
    })
    .await
}

#[tokio::test]
async fn a_healthy_set_up_is_told_line_by_line() {
    let server = healthy().await;
    let data = tempfile::tempdir().unwrap();
    let ran = doctor(&server.url, data.path(), &[]).await.expect(Exit::Ok);
    for name in
        ["address space", "page size", "memory", "processors", "clock", "timerfd", "fsync", "file system"]
    {
        let line = ran.out.lines().find(|line| line.get(6..).is_some_and(|rest| rest.starts_with(name)));
        let line = line.unwrap_or_else(|| panic!("{name}: {}", ran.out));
        assert!(line.starts_with("ok    ") || line.starts_with("warn  "), "{line}");
    }
    assert!(ran.out.contains("ok    token             the server takes it\n"), "{}", ran.out);
    assert!(ran.out.ends_with(" 0 fail\n") && ran.err.is_empty(), "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains("pct_secret"));
    // The probe does not show the token; asking for the app does.
    let shown: Vec<bool> =
        server.seen().iter().map(|seen| seen.headers.contains_key("authorization")).collect();
    assert_eq!(shown, [false, true]);
}

#[tokio::test]
async fn a_refused_token_and_a_server_that_is_gone_fail() {
    let refusing = FakeServer::start(|seen| match seen.line.as_str() {
        "GET /readyz" => answer(200, &json!({})),
        _ => problem(401, "unauthorized", json!({ "title": "A token is needed." })),
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let ran = doctor(&refusing.url, data.path(), &["-o", "json"]).await.expect(Exit::Failed);
    assert_eq!(check(&ran, "token"), ("fail".into(), "the server does not take it".into()));
    assert_eq!(ran.json()["failures"], 1);
    let ran = doctor("http://127.0.0.1:1", data.path(), &["-o", "json"]).await.expect(Exit::Failed);
    assert_eq!(check(&ran, "server").0, "fail");
    let ran = doctor("pi", data.path(), &["-o", "json"]).await.expect(Exit::Failed);
    assert!(check(&ran, "server").1.contains("PICLOUD_SERVER"), "{}", ran.out);
}

#[tokio::test]
async fn what_is_open_to_others_and_what_is_in_use_is_told() {
    let server = healthy().await;
    let data = tempfile::tempdir().unwrap();
    let chmod =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::write(data.path().join("picloud.db"), "").unwrap();
    std::fs::write(data.path().join("secret.key"), "").unwrap();
    let locked = std::fs::File::create(data.path().join("lock")).unwrap();
    locked.try_lock().unwrap();
    chmod(&data.path().join("picloud.db"), 0o644);
    chmod(&data.path().join("secret.key"), 0o644);
    chmod(data.path(), 0o755);
    let ran = doctor(&server.url, data.path(), &["-o", "json"]).await.expect(Exit::Ok);
    assert!(check(&ran, "data directory").1.contains("can read picloud.db"), "{}", ran.out);
    assert_eq!(check(&ran, "key of secrets").0, "warn");
    assert_eq!(check(&ran, "lock").1, "a server uses the data directory");
    drop(locked);
    chmod(&data.path().join("secret.key"), 0o600);
    chmod(data.path(), 0o700);
    let ran = doctor(&server.url, data.path(), &["-o", "json"]).await.expect(Exit::Ok);
    assert_eq!(check(&ran, "data directory").0, "ok");
    assert_eq!(check(&ran, "key of secrets").0, "ok");
    assert_eq!(check(&ran, "lock").1, "no server uses the data directory");
}

#[tokio::test]
async fn a_data_directory_is_not_made() {
    let server = healthy().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let ran = doctor(&server.url, &data, &["-o", "json"]).await.expect(Exit::Ok);
    assert!(check(&ran, "data directory").1.contains("is not there yet"), "{}", ran.out);
    assert!(!data.exists());
    std::fs::write(&data, "").unwrap();
    let ran = doctor(&server.url, &data, &["-o", "json"]).await.expect(Exit::Failed);
    assert_eq!(check(&ran, "data directory").0, "fail");
    assert!(ran.json()["items"].as_array().unwrap().iter().any(|item: &Value| item["advice"].is_string()));
}
