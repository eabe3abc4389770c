//! Secrets and configuration values over the API: set, listed, deleted, refused, and secrets never given out.

use picloud_host::secret::MAX_SECRET_BYTES;
use serde_json::json;

use super::fixture::{Answer, TestApi};

const SECRETS: &str = "/api/v1/apps/default/secrets";
const CONFIG: &str = "/api/v1/apps/default/config";

async fn put_secret(api: &TestApi, name: &str, value: impl Into<Vec<u8>>) -> Answer {
    let headers = [("content-type", "text/plain; charset=utf-8")];
    api.send("PUT", &format!("{SECRETS}/{name}"), &headers, value.into()).await
}

async fn put_config(api: &TestApi, name: &str, headers: &[(&str, &str)], value: &str) -> Answer {
    let headers = [&[("content-type", "application/json")], headers].concat();
    api.send("PUT", &format!("{CONFIG}/{name}"), &headers, value.to_owned()).await
}

/// What scripts of the app would read.
fn published(api: &TestApi, name: &str) -> Option<String> {
    let set = api.active.current();
    Some(set.apps["default"].secrets.0.get(name)?.as_ref()?.expose().to_owned())
}

#[tokio::test]
async fn a_secret_is_published_before_it_is_answered_and_never_shown() {
    let api = TestApi::new().await;
    let made = put_secret(&api, "mail", "correct horse").await;
    assert_eq!((made.status, made.text()), (201, ""));
    assert_eq!(published(&api, "mail").unwrap(), "correct horse");
    assert_eq!(put_secret(&api, "mail", "battery staple").await.status, 204);
    assert_eq!(published(&api, "mail").unwrap(), "battery staple");
    put_secret(&api, "again", "line one\nline two\t\r\n").await;
    let list = api.get(SECRETS).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][1]["name"], "mail");
    let members: Vec<_> = list["items"][1].as_object().unwrap().keys().collect();
    assert_eq!(members, ["name", "readable", "updated_at"]);
    let page = api.get(&format!("{SECRETS}?limit=1")).await.json();
    let next = page["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("{SECRETS}?cursor={next}")).await.json()["items"][0]["name"], "mail");
    api.get(&format!("{SECRETS}/mail")).await.problem(405, "method-not-allowed");
    assert_eq!(api.send("DELETE", &format!("{SECRETS}/mail"), &[], "").await.status, 204);
    assert_eq!(published(&api, "mail"), None);
    api.send("DELETE", &format!("{SECRETS}/mail"), &[], "").await.problem(404, "secret-not-found");
}

#[tokio::test]
async fn what_cannot_be_a_secret_is_refused_without_a_word_of_it() {
    let api = TestApi::new().await;
    for (value, why) in [
        (b"short-7".to_vec(), "8 at least"),
        (Vec::new(), "has 0 bytes"),
        (b"\xffcorrect horse".to_vec(), "not UTF-8"),
        (b"correct\0horse".to_vec(), "control character"),
        (b"correct\x1bhorse".to_vec(), "control character"),
    ] {
        let answer = put_secret(&api, "a", value).await;
        let problem = answer.problem(422, "secret-invalid");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
        assert!(!answer.text().contains("short-7") && !answer.text().contains("horse"), "{problem}");
    }
    assert_eq!(put_secret(&api, "a", "x".repeat(MAX_SECRET_BYTES)).await.status, 201);
    put_secret(&api, "b", "x".repeat(MAX_SECRET_BYTES + 1)).await.problem(413, "body-too-large");
    put_secret(&api, "A", "correct horse").await.problem(400, "name-invalid");
    for headers in [
        &[][..],
        &[("content-type", "application/json")],
        &[("content-type", "text/plain"), ("content-encoding", "gzip")],
    ] {
        let answer = api.send("PUT", &format!("{SECRETS}/b"), headers, "correct horse").await;
        answer.problem(415, "media-type-unsupported");
    }
    let nowhere =
        api.send("PUT", "/api/v1/apps/other/secrets/a", &[("content-type", "text/plain")], "correct horse");
    nowhere.await.problem(404, "app-not-found");
    assert_eq!(api.get(SECRETS).await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn configuration_is_kept_as_it_is_written() {
    let api = TestApi::new().await;
    let made = put_config(&api, "rooms", &[], " [1.50, {\"b\": 1, \"a\": 2}] ").await;
    assert_eq!(made.status, 201);
    let found = api.get(&format!("{CONFIG}/rooms")).await;
    assert_eq!(found.text(), "[1.50,{\"b\":1,\"a\":2}]");
    assert_eq!(found.header("etag"), made.header("etag"));
    assert_eq!(&*api.active.current().apps["default"].config["rooms"], found.text());
    let tag = found.header("etag").to_owned();
    assert_eq!(api.send("GET", &format!("{CONFIG}/rooms"), &[("if-none-match", &tag)], "").await.status, 304);
    assert_eq!(put_config(&api, "rooms", &[("if-match", &tag)], "2").await.status, 204);
    put_config(&api, "rooms", &[("if-match", &tag)], "3").await.problem(412, "precondition-failed");
    put_config(&api, "rooms", &[("if-none-match", "*")], "3").await.problem(412, "precondition-failed");
    let list = api.get(CONFIG).await.json();
    assert_eq!((&list["items"][0]["name"], &list["items"][0]["value"]), (&json!("rooms"), &json!(2)));
    let delete =
        async |headers: &[(&str, &str)]| api.send("DELETE", &format!("{CONFIG}/rooms"), headers, "").await;
    delete(&[("if-match", &tag)]).await.problem(412, "precondition-failed");
    assert_eq!(delete(&[]).await.status, 204);
    delete(&[]).await.problem(404, "config-not-found");
    api.get(&format!("{CONFIG}/rooms")).await.problem(404, "config-not-found");
    assert!(api.active.current().apps["default"].config.is_empty());
}

#[tokio::test]
async fn what_is_no_configuration_is_refused() {
    let api = TestApi::new().await;
    for value in ["", "{", "hello", "1 2", "\u{feff}1"] {
        put_config(&api, "a", &[], value).await.problem(422, "config-invalid");
    }
    let most = format!("\"{}\"", "x".repeat((64 << 10) - 2));
    assert_eq!(put_config(&api, "a", &[], &most).await.status, 201);
    put_config(&api, "a", &[], &format!("{most} ")).await.problem(413, "body-too-large");
    put_config(&api, "A", &[], "1").await.problem(400, "name-invalid");
    let text = api.send("PUT", &format!("{CONFIG}/a"), &[("content-type", "text/plain")], "1").await;
    text.problem(415, "media-type-unsupported");
    put_config(&api, "a", &[("content-encoding", "gzip")], "1").await.problem(415, "media-type-unsupported");
    api.get("/api/v1/apps/other/config").await.problem(404, "app-not-found");
}
