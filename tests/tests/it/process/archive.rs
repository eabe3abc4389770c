//! `picloud apps export` and `import`, and a server that is killed while it takes an archive.

use std::time::{Duration, Instant};

use picloud_tests::{Process, Reply, Site};
use serde_json::json;

async fn server(site: &Site) -> Process {
    let mut server = site.serve(&[]).await;
    server.printed_token().await;
    server.deploy("hello", "fn handle(req) { `hello ${kv::incr(\"n\")}` }").await;
    assert_eq!(server.get("/default/hello").await.text(), "hello 1");
    let secret =
        server.request("PUT", "/api/v1/apps/default/secrets/mail").header("content-type", "text/plain");
    assert!(Reply::of(secret.body("correct horse")).await.is_success());
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_exported_and_imported_from_the_command_line() {
    let site = Site::new();
    let server = server(&site).await;
    let written = site.picloud(&["apps", "export", "default"]).await;
    assert_eq!(written.code(), Some(0), "{written:?}");
    assert!(written.out.starts_with("written  default.tar.gz"), "{written:?}");
    let again = site.picloud(&["apps", "export", "default"]).await;
    assert_eq!(again.code(), Some(2), "no file is replaced: {again:?}");
    let other = site.picloud(&["apps", "export", "default", "other.tar.gz", "-o", "json"]).await;
    assert_eq!(other.json()["file"], "other.tar.gz");

    let taken = site.picloud(&["apps", "import", "default.tar.gz"]).await;
    assert!(taken.code() == Some(1) && taken.log.contains("there is an app default already"), "{taken:?}");
    let made = site.picloud(&["apps", "import", "default.tar.gz", "--as", "copy"]).await;
    assert_eq!(made.code(), Some(0), "{made:?}");
    assert_eq!(
        made.out,
        "made  copy\n      1 script, 1 version, 0 routes, 0 triggers, 0 configuration values, 1 key\n"
    );
    assert!(made.log.contains("picloud secrets set mail --app copy"), "{made:?}");
    assert_eq!(server.get("/copy/hello").await.text(), "hello 2");
    let made = site.picloud(&["apps", "import", "other.tar.gz", "--as", "third", "-o", "json"]).await;
    assert_eq!(made.json()["missing_secrets"], json!(["mail"]));

    std::fs::write(site.home().join("none.tar.gz"), "no archive").unwrap();
    let refused = site.picloud(&["apps", "import", "none.tar.gz"]).await;
    assert!(refused.code() == Some(1) && refused.log.contains("none.tar.gz"), "{refused:?}");
    let refused = site.picloud(&["apps", "import", "none.tar.gz", "--as", "fourth"]).await;
    assert!(refused.code() == Some(1) && refused.log.contains("error[archive-invalid]"), "{refused:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_takes_an_archive_has_nothing_of_it_after_the_next_start() {
    let site = Site::new();
    let mut server = server(&site).await;
    let token = server.printed_token().await;
    let fill = r#"
        fn handle(req) {
            let text = "";
            for i in 0..100 { text += "x"; }
            for i in 0..900 { kv::set(`${req.query.at}/${i}`, text); }
        }"#;
    server.deploy("fill", fill).await;
    for at in 0..8 {
        assert!(server.get(&format!("/default/fill?at={at}")).await.is_success());
    }
    assert_eq!(site.picloud(&["apps", "export", "default"]).await.code(), Some(0));
    let archive = std::fs::read(site.home().join("default.tar.gz")).unwrap();
    let sent = server.request("PUT", "/api/v1/apps/copy/archive").header("content-type", "application/gzip");
    let sending = tokio::spawn(Reply::try_of(sent.body(archive)));
    // Some of its keys are stored, and nobody can tell how many.
    let database = site.data().join("picloud.db");
    let begun = Instant::now();
    while hidden(&database).await == 0 && !sending.is_finished() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is loaded");
    }
    server.kill().await;
    let answered = sending.await.unwrap().is_ok_and(|reply| reply.status == 201);
    let mut server = site.serve(&[]).await;
    server.use_token(&token);
    // All of it is there, or nothing: whoever was told that it is finds it.
    match server.get("/api/v1/apps/copy").await.status {
        200 => assert_eq!(server.get("/api/v1/apps/copy/kv/7%2F899").await.status, 200),
        status => assert_eq!((status, answered), (404, false)),
    }
    while hidden(&database).await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "something is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.get("/default/hello").await.text(), "hello 2");
    server.stop().await;
}

/// How many apps there are that nobody sees.
async fn hidden(database: &std::path::Path) -> i64 {
    use sqlx::ConnectOptions as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database).read_only(true);
    let mut connection = options.connect().await.unwrap();
    let count = "select count(*) from app where deleted_ms is not null";
    sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap()
}
