//! What the operator says: grants in the configuration, who may use them, and what is refused at start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use picloud_cli::config::ServeConfig;
use picloud_cli::serve::Server;
use picloud_host::grants::GrantConfig;
use picloud_tests::{Site, TestApp};
use serde_json::json;

use super::{Files, grant};

const GRANTS: &str = "/api/v1/apps/default/grants";

#[tokio::test(flavor = "multi_thread")]
async fn an_app_sees_no_grant_of_another() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "x").unwrap();
    let only = |apps: &[&str]| GrantConfig {
        apps: Some(apps.iter().map(|app| (*app).to_owned()).collect()),
        ..grant(folder.path(), false)
    };
    let app = TestApp::builder().config(|config| {
        config.fs.insert("mine".to_owned(), only(&["shop", "default"]));
        config.fs.insert("theirs".to_owned(), only(&["shop"]));
        config.fs.insert("nobodys".to_owned(), only(&[]));
    });
    let app = app.start().await;
    app.deploy("run", "fs::read(req.query.path)").await;
    assert_eq!(app.get("/default/run?path=mine/a").await.text(), "x");
    for name in ["theirs", "nobodys", "none"] {
        let problem =
            app.get(&format!("/default/run?path={name}/a")).await.assert_problem(500, "script-error");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("no grant `{name}`")), "{problem}");
    }
    let list = app.get(GRANTS).await.json();
    assert_eq!(list, json!({"items": [{"name": "mine", "writable": false}], "next_cursor": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_listed_without_their_place() {
    let files = Files::start().await;
    let all = json!([{"name": "data", "writable": true}, {"name": "fixed", "writable": false}]);
    assert_eq!(files.app.get(GRANTS).await.json()["items"], all);
    let first = files.app.get(&format!("{GRANTS}?limit=1")).await.json();
    assert_eq!((&first["items"][0], &first["next_cursor"]), (&all[0], &json!("data")));
    let second = files.app.get(&format!("{GRANTS}?limit=1&cursor=data")).await.json();
    assert_eq!((&second["items"][0], &second["next_cursor"]), (&all[1], &json!(null)));
    files.app.get("/api/v1/apps/none/grants").await.assert_problem(404, "app-not-found");
    files.app.get(&format!("{GRANTS}?limit=0")).await.assert_problem(400, "query-invalid");
    let locked = TestApp::builder().dev(false).start().await;
    locked.anonymous("GET", GRANTS).send().await.map(|reply| assert_eq!(reply.status(), 401)).unwrap();
}

/// Why a server with this grant does not start.
async fn refusal(data_dir: &Path, path: &Path) -> String {
    let config = ServeConfig {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: data_dir.to_owned(),
        dev: true,
        fs: BTreeMap::from([("data".to_owned(), grant(path, false))]),
        ..ServeConfig::default()
    };
    match Server::start(&config).await {
        Ok(_) => panic!("it has started with {}", path.display()),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_start_with_a_grant_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("server/data");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("server", &link).unwrap();
    let none = folder.path().join("none");
    let refused = refusal(&data_dir, &none).await;
    assert!(refused.starts_with(&format!("cannot grant {} as fs.data: ", none.display())), "{refused}");
    assert!(refused.contains("No such file or directory"), "{refused}");
    assert!(refusal(&data_dir, &file).await.ends_with("it is not a directory"));
    let inside = data_dir.join("cache");
    std::fs::create_dir_all(&inside).unwrap();
    for path in [&data_dir, &inside, folder.path(), &link, Path::new("/")] {
        let refused = refusal(&data_dir, path).await;
        assert!(refused.ends_with("must not be open to scripts"), "{}: {refused}", path.display());
    }
}

#[tokio::test]
async fn run_has_grants_too() {
    let site = Site::new();
    std::fs::create_dir(site.home().join("files")).unwrap();
    std::fs::write(site.home().join("files/a"), "from a file").unwrap();
    std::fs::write(
        site.home().join("script.rhai"),
        "fs::write(\"out/b\", fs::read(\"in/a\")); fs::read(\"out/b\")",
    )
    .unwrap();
    let ended = site.picloud(&["run", "script.rhai", "--fs", "in=files", "--fs", "out=files:rw"]).await;
    assert_eq!((ended.code(), ended.out.trim()), (Some(0), "from a file"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(site.home().join("files/b")).unwrap(), "from a file");
    let ended = site.picloud(&["run", "script.rhai", "--fs", "in=files"]).await;
    assert!(ended.code() == Some(1) && ended.log.contains("no grant `out`"), "{ended:?}");
    let ended = site.picloud(&["run", "script.rhai", "--fs", "in=none"]).await;
    assert!(ended.code() == Some(1) && ended.log.contains("cannot grant none as fs.in"), "{ended:?}");
    let ended = site.picloud(&["run", "script.rhai", "--fs", "files"]).await;
    assert!(ended.code() == Some(2) && ended.log.contains("NAME=PATH"), "{ended:?}");
}
