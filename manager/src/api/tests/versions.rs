//! Versions over REST.

use std::sync::atomic::Ordering;

use picloud_host::call::SourceHash;
use serde_json::json;

use super::fixture::{SOURCE_LIMIT, TestApi, script};

fn version(name: &str, rest: &str) -> String {
    format!("{}/versions{rest}", script(name))
}

#[tokio::test]
async fn versions_are_listed_from_the_newest_on() {
    let api = TestApi::new().await;
    for source in ["1", "22", "333"] {
        api.put("a", source).await;
    }
    let first = api.get(&version("a", "?limit=2")).await.json();
    assert_eq!((&first["items"][0]["number"], &first["next_cursor"]), (&json!(3), &json!("2")));
    let second = api.get(&version("a", "?limit=2&cursor=2")).await.json();
    let hash = SourceHash::of("1").to_hex();
    assert_eq!(
        second,
        json!({"items": [{
            "number": 1, "active": false, "handles_requests": true, "handles_events": false,
            "source_hash": hash, "source_bytes": 1, "image_bytes": 300_000, "load_fuel": 10,
            "message": null, "author": null, "smoke_fuel": null, "canary_percent": null, "created_at": "2023-11-14T22:13:20Z",
        }], "next_cursor": null})
    );
    assert_eq!(api.get(&version("a", "/1")).await.json(), second["items"][0]);
    assert_eq!(api.get(&version("a", "/3")).await.json()["active"], true);
    let source = api.get(&version("a", "/2/source")).await;
    assert_eq!(
        (source.text(), source.header("etag")),
        ("22", &*format!("\"{}\"", SourceHash::of("22").to_hex()))
    );
}

#[tokio::test]
async fn a_version_has_a_tag_that_changes_when_another_one_is_active() {
    let api = TestApi::new().await;
    let first = api.put("a", "1").await;
    let get = async |tag: &str| api.send("GET", &version("a", "/1"), &[("if-none-match", tag)], "").await;
    let active = get("\"0\"").await;
    assert_eq!((active.status, active.header("etag")), (200, first.header("etag")), "the script's own tag");
    let unchanged = get(active.header("etag")).await;
    assert_eq!((unchanged.status, unchanged.text()), (304, ""));
    assert_eq!(unchanged.header("etag"), active.header("etag"));

    api.put("a", "2").await;
    let inactive = get(active.header("etag")).await;
    assert_eq!(inactive.json()["active"], false, "what the client has says that it is active");
    assert_ne!(inactive.header("etag"), active.header("etag"));
    assert_eq!(get(inactive.header("etag")).await.status, 304);
    api.send("GET", &version("a", "/1"), &[("if-match", active.header("etag"))], "")
        .await
        .problem(412, "precondition-failed");
}

#[tokio::test]
async fn an_older_version_is_activated_and_called() {
    let api = TestApi::new().await;
    api.put("a", "1").await;
    let second = api.put("a", "2").await;
    let activate = async |number: &str, tag: &str| {
        api.send("POST", &version("a", &format!("/{number}/activate")), &[("if-match", tag)], "").await
    };
    activate("1", "\"0\"").await.problem(412, "precondition-failed");
    assert_eq!(api.published("a"), Some(2));
    let loads = api.loader.loads.load(Ordering::Relaxed);
    let activated = activate("1", second.header("etag")).await;
    assert_eq!((&activated.json()["version"], api.published("a")), (&json!(1), Some(1)));
    assert_eq!(activated.header("etag"), format!("\"{}\"", SourceHash::of("1").to_hex()));
    assert_eq!(api.loader.loads.load(Ordering::Relaxed), loads + 1);
    assert_eq!(api.put("a", "3").await.json()["version"], 3);
}

#[tokio::test]
async fn a_version_that_does_not_load_any_more_is_not_activated() {
    let api = TestApi::new().await;
    api.put("a", "1").await;
    api.put("a", "2").await;
    api.loader.broken.store(true, Ordering::Relaxed);
    api.send("POST", &version("a", "/1/activate"), &[], "").await.problem(422, "compile-failed");
    assert_eq!(api.published("a"), Some(2));
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let api = TestApi::new().await;
    api.put("a", "1").await;
    for number in ["0", "2", "-1", "x", "4294967296", "1.0"] {
        api.get(&version("a", &format!("/{number}"))).await.problem(404, "version-not-found");
        api.send("POST", &version("a", &format!("/{number}/activate")), &[], "")
            .await
            .problem(404, "version-not-found");
    }
    for rest in ["", "/1", "/1/source"] {
        api.get(&version("b", rest)).await.problem(404, "script-not-found");
    }
    api.get(&version("a", "?cursor=x")).await.problem(400, "query-invalid");
    assert_eq!(api.get(&version("a", "?cursor=1")).await.json()["items"], json!([]));
}

async fn create(api: &TestApi, body: serde_json::Value) -> super::fixture::Answer {
    api.send("POST", &version("a", ""), &[("content-type", "application/json")], body.to_string()).await
}

#[tokio::test]
async fn a_version_that_does_not_answer_its_smoke_call_is_none() {
    let api = TestApi::new().await;
    let made =
        create(&api, json!({ "source": "12345", "message": "first", "smoke": { "path": "/204" } })).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/v1/apps/default/scripts/a/versions/1"));
    let made = made.json();
    assert_eq!(
        (&made["message"], &made["smoke_fuel"], &made["active"]),
        (&json!("first"), &json!(500), &json!(true))
    );
    assert_eq!(
        made["smoke"],
        json!({ "status": 204, "fuel": 500, "active_fuel": null, "fuel_change_percent": null })
    );
    let more = create(&api, json!({ "source": "1234567", "smoke": { "path": "/200" } })).await.json();
    assert_eq!(
        more["smoke"],
        json!({ "status": 200, "fuel": 700, "active_fuel": 500, "fuel_change_percent": 40.0 })
    );
    for (source, smoke, why) in [
        ("it fails", json!({}), "failed with script-error: Variable not found: x"),
        ("another", json!({ "path": "/500" }), "answered with 500, not with a status under 400"),
        ("another", json!({ "path": "/200", "status": 404 }), "answered with 200, not with 404"),
    ] {
        let problem =
            create(&api, json!({ "source": source, "smoke": smoke })).await.problem(422, "smoke-failed");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
    }
    assert_eq!(
        create(&api, json!({ "source": "other", "smoke": { "path": "/404", "status": 404 } })).await.status,
        201
    );
    assert_eq!(api.published("a"), Some(3));
    for wrong in [
        json!({}),
        json!({ "source": "1", "smoke": { "path": "x" } }),
        json!({ "source": "1", "smoke": { "method": "A B" } }),
        json!({ "source": "1", "smoke": { "headers": { "a b": "c" } } }),
        json!({ "source": "1", "smoke": ["GET", "/200"] }),
        json!({ "source": "1", "more": 1 }),
        json!({ "source": "1", "smoke": { "query": "a#b" } }),
    ] {
        create(&api, wrong).await.problem(422, "version-invalid");
    }
    create(&api, json!({ "source": "error" })).await.problem(422, "compile-failed");
    create(&api, json!({ "source": "1".repeat(SOURCE_LIMIT + 1) })).await.problem(413, "source-too-large");
}

#[tokio::test]
async fn a_version_can_wait_to_be_activated_and_one_call_goes_back() {
    let api = TestApi::new().await;
    let first = create(&api, json!({ "source": "1", "activate": false })).await.json();
    assert_eq!(first["active"], true, "there is no other one");
    let rollback = format!("{}/rollback", script("a"));
    api.send("POST", &rollback, &[], "").await.problem(404, "version-not-found");
    let second = create(&api, json!({ "source": "2", "activate": false })).await.json();
    assert_eq!(
        (&second["number"], &second["active"], api.published("a")),
        (&json!(2), &json!(false), Some(1))
    );
    api.send("POST", &version("a", "/2/activate"), &[], "").await.json();
    assert_eq!(api.published("a"), Some(2));
    assert_eq!(api.send("POST", &rollback, &[], "").await.json()["version"], 1);
    assert_eq!(api.published("a"), Some(1));
    assert_eq!(api.send("POST", &rollback, &[], "").await.json()["version"], 2);
    let missing = format!("{}/rollback", script("none"));
    api.send("POST", &missing, &[], "").await.problem(404, "script-not-found");
    let unchanged = create(&api, json!({ "source": "2" })).await;
    assert_eq!((unchanged.status, &unchanged.json()["number"]), (200, &json!(2)));
}
