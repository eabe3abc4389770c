//! Versions: every upload makes one, and an older one can be called again.

use picloud_tests::app::script_path;
use picloud_tests::{Reply, TestApp};
use serde_json::json;

fn versions(rest: &str) -> String {
    format!("{}/versions{rest}", script_path("a"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_is_called_again() {
    let mut app = TestApp::start().await;
    for source in ["`one, version ${ctx.version}`", "\"two\"", "\"three\""] {
        app.deploy("a", source).await;
    }
    let list = app.get(&versions("")).await.json();
    let numbers: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|version| &version["number"]).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(app.get(&versions("/2/source")).await.text(), "\"two\"");
    assert_eq!(app.get(&versions("/1")).await.json()["active"], false);

    let activated = app.post(&versions("/1/activate"), "").await;
    assert_eq!((activated.status, &activated.json()["version"]), (200, &json!(1)));
    assert_eq!(app.get("/default/a").await.text(), "one, version 1");
    assert_eq!(app.get(&versions("/1")).await.json()["active"], true);
    app.restart().await;
    assert_eq!(app.get("/default/a").await.text(), "one, version 1");
    // The newest source again: it is not the active one, so it is a new version.
    assert_eq!(app.deploy("a", "\"three\"").await.json()["version"], 4);
    assert_eq!(app.get("/default/a").await.text(), "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_the_client_has_is_not_sent_again_until_it_changes() {
    let app = TestApp::start().await;
    app.deploy("a", "1").await;
    let get =
        async |tag: &str| Reply::of(app.request("GET", &versions("/1")).header("if-none-match", tag)).await;
    let first = app.get(&versions("/1")).await;
    let tag = first.header("etag").expect("a version has a tag");
    let unchanged = get(tag).await;
    assert_eq!((unchanged.status, unchanged.text(), unchanged.header("etag")), (304, "", Some(tag)));
    app.deploy("a", "2").await;
    let changed = get(tag).await;
    assert_eq!((changed.status, &changed.json()["active"]), (200, &json!(false)));
    app.post(&versions("/1/activate"), "").await;
    assert_eq!(get(tag).await.status, 304, "it is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let app = TestApp::start().await;
    app.get(&versions("")).await.assert_problem(404, "script-not-found");
    app.post(&versions("/1/activate"), "").await.assert_problem(404, "script-not-found");
    app.deploy("a", "1").await;
    for number in ["0", "2", "x", "4294967296"] {
        app.get(&versions(&format!("/{number}"))).await.assert_problem(404, "version-not-found");
        app.post(&versions(&format!("/{number}/activate")), "")
            .await
            .assert_problem(404, "version-not-found");
    }
    assert_eq!(app.get("/default/a").await.text(), "1");
}

/// A name that is used again starts from nothing.
#[tokio::test(flavor = "multi_thread")]
async fn versions_go_with_their_script() {
    let app = TestApp::start().await;
    app.deploy("a", "1").await;
    app.deploy("a", "2").await;
    app.delete(&script_path("a")).await;
    assert_eq!(app.deploy("a", "3").await.json()["version"], 1);
    app.get(&versions("/2")).await.assert_problem(404, "version-not-found");
    assert_eq!(app.get(&versions("")).await.json()["items"].as_array().unwrap().len(), 1);
}
