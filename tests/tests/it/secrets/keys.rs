//! The key file: made by the first start, needed by all others.

use std::os::unix::fs::PermissionsExt as _;

use picloud_tests::{Ended, Reply, Site, TestApp};
use serde_json::json;

use super::{API, config, put_secret, run, secret};

const READ: &str = "fn handle(req) {
    try { return crypto::sha256_hex(secrets::get(\"there\")); } catch (error) { return error; }
}";

#[tokio::test(flavor = "multi_thread")]
async fn under_another_key_nothing_is_read_nothing_is_lost_and_setting_it_again_heals() {
    let mut app = TestApp::start().await;
    let keys = tempfile::tempdir().unwrap();
    secret(&app, "there", "correct horse").await;
    secret(&app, "other", "battery staple").await;
    config(&app, "plain", json!(5)).await;
    let hash = run(&app, READ).await.text().to_owned();
    std::fs::rename(app.data_dir().join("secret.key"), keys.path().join("old.key")).unwrap();
    app.restart().await;
    let unreadable = "secrets: secret-unreadable: \"there\" was stored under another key than the server has now; set \
                      it again";
    assert_eq!(run(&app, READ).await.text(), unreadable);
    assert_eq!(
        run(&app, "[secrets::has(\"there\"), config::get(\"plain\")]").await.json(),
        json!([false, 5])
    );
    let readable = async |app: &TestApp| {
        let list = app.get(&format!("{API}/secrets")).await.json();
        let items = list["items"].as_array().unwrap().clone();
        items.into_iter().map(|item| json!([item["name"], item["readable"]])).collect::<Vec<_>>()
    };
    assert_eq!(readable(&app).await, [json!(["other", false]), json!(["there", false])]);
    assert_eq!(put_secret(&app, "there", "correct horse").await.status, 204);
    assert_eq!(run(&app, READ).await.text(), hash);
    // The old key still opens what was not set again.
    let old = keys.path().join("old.key");
    app.restart_with(|config| config.secret_key_file = Some(old)).await;
    assert_eq!(readable(&app).await, [json!(["other", true]), json!(["there", false])]);
}

async fn refused(site: &Site, args: &[&str]) -> Ended {
    match site.try_serve(site.command(), args).await {
        Ok(_) => panic!("the server has started"),
        Err(ended) => ended,
    }
}

#[tokio::test]
async fn what_is_no_key_stops_the_start_and_stays_as_it_is() {
    let site = Site::new();
    std::fs::create_dir(site.data()).unwrap();
    let key = site.data().join("secret.key");
    for (content, why) in
        [("", "it has 0 bytes, but a key has 32"), ("too short", "it has 9 bytes, but a key has 32")]
    {
        std::fs::write(&key, content).unwrap();
        let ended = refused(&site, &["--dev"]).await;
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert!(ended.log.contains("secret.key") && ended.log.contains(why), "{ended:?}");
        assert_eq!(std::fs::read_to_string(&key).unwrap(), content);
    }
    std::fs::write(&key, [7; 33]).unwrap();
    let ended = refused(&site, &["--dev"]).await;
    assert!(ended.log.contains("it has more than 32 bytes"), "{ended:?}");
}

#[tokio::test]
async fn a_key_file_elsewhere_must_be_there_once_secrets_need_it_and_no_grant_shows_it() {
    let site = Site::new();
    let (folder, key) = (site.home().join("keys"), site.home().join("keys/picloud.key"));
    std::fs::create_dir(&folder).unwrap();
    let key_flag = key.to_str().unwrap().to_owned();
    let args = ["--dev", "--secret-key-file", &key_flag];
    let server = site.serve(&args).await;
    let request = server.request("PUT", &format!("{API}/secrets/a")).header("content-type", "text/plain");
    assert_eq!(Reply::of(request.body("correct horse")).await.status, 201);
    server.stop().await;
    assert!(!site.data().join("secret.key").exists());
    let bytes = std::fs::read(&key).unwrap();
    assert_eq!(bytes.len(), 32);

    std::fs::remove_file(&key).unwrap();
    let ended = refused(&site, &args).await;
    assert!(ended.log.contains("there is no key file") && ended.log.contains("1 secrets"), "{ended:?}");
    assert!(!key.exists(), "no new key was made");

    std::fs::write(&key, &bytes).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let server = site.serve(&args).await;
    assert!(server.log().contains("others can use the key file of secrets"), "{}", server.log());
    assert!(!server.log().contains("cannot be read"), "{}", server.log());
    server.stop().await;

    let grant = format!("a={}", folder.display());
    let ended = refused(&site, &[&args[..], &["--fs", &grant]].concat()).await;
    assert!(ended.log.contains("the key file of secrets must not be open to scripts"), "{ended:?}");

    std::fs::write(&key, [1; 32]).unwrap();
    let server = site.serve(&args).await;
    assert!(
        server.log().contains("secrets cannot be read: they were set under another key"),
        "{}",
        server.log()
    );
    server.stop().await;
}
