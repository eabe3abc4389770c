//! `PUT /api/v1/apps/{app}/scripts/{name}`.

use std::sync::atomic::Ordering;

use axum::body::Body;
use bytes::Bytes;
use picloud_host::call::SourceHash;
use serde_json::json;

use super::fixture::{SOURCE_LIMIT, TestApi, script};

#[tokio::test]
async fn a_new_script_is_created_and_published() {
    let api = TestApi::new().await;
    let answer = api.put_with("hello", "\"hi\"", &[("content-type", "text/plain; charset=UTF-8")]).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), script("hello"));
    let hash = SourceHash::of("\"hi\"").to_hex();
    assert_eq!(answer.header("etag"), format!("\"{hash}\""));
    assert_eq!(
        answer.json(),
        json!({
            "app": "default", "name": "hello", "version": 1, "url": "/default/hello",
            "handles_requests": true, "handles_events": false, "access": { "kind": "none" },
            "source_hash": hash, "source_bytes": 4, "image_bytes": 300_000, "load_fuel": 40,
            "created_at": "2023-11-14T22:13:20Z", "updated_at": "2023-11-14T22:13:20Z",
        })
    );
    assert_eq!(api.published("hello"), Some(1));
}

#[tokio::test]
async fn another_source_is_a_new_version_and_the_same_one_is_not() {
    let api = TestApi::new().await;
    api.put("a", "1").await;
    let answer = api.put("a", "2").await;
    assert_eq!((answer.status, answer.header("location")), (200, ""));
    assert_eq!(answer.json()["version"], 2);
    let again = api.put("a", "2").await;
    assert_eq!((again.status, again.json()), (200, answer.json()));
    assert_eq!(api.published("a"), Some(2));
}

#[tokio::test]
async fn media_types_of_sources_and_none_are_accepted_and_others_are_not() {
    let api = TestApi::new().await;
    for media_type in ["application/rhai", "text/x-rhai", "Text/Plain", "text/plain;charset=\"utf-8\""] {
        assert!(api.put_with("a", "1", &[("content-type", media_type)]).await.status < 300, "{media_type}");
    }
    let refused = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "application/json"),
        ("content-type", "text/plain; charset=iso-8859-1"),
        ("content-type", "\u{e4}"),
        ("content-encoding", "gzip"),
    ];
    for header in refused {
        api.put_with("b", "1", &[header]).await.problem(415, "media-type-unsupported");
    }
    assert_eq!(api.published("b"), None);
}

#[tokio::test]
async fn a_source_that_does_not_load_changes_nothing() {
    let api = TestApi::new().await;
    api.put("a", "1").await;
    let problem = api.put("a", "error").await.problem(422, "compile-failed");
    assert_eq!(problem["detail"], "unexpected end");
    assert_eq!(problem["position"], json!({"line": 3, "column": 7}));
    assert_eq!(problem["instance"], script("a"));
    api.put("b", "loop {}").await.problem(422, "top-level-limit");
    assert_eq!((api.published("a"), api.published("b")), (Some(1), None));
    api.get(&script("b")).await.problem(404, "script-not-found");
}

#[tokio::test]
async fn faults_of_the_platform_keep_their_status() {
    let api = TestApi::new().await;
    let answer = api.put("a", "saturated").await;
    assert_eq!(answer.problem(503, "saturated")["retryable"], true);
    assert_eq!(answer.header("retry-after"), "1");
    api.put("a", "internal").await.problem(500, "internal");
}

#[tokio::test]
async fn a_panic_is_an_opaque_problem_and_the_next_request_is_served() {
    let api = TestApi::new().await;
    let answer = api.put("a", "panic").await;
    answer.problem(500, "internal");
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    assert_eq!(api.put("a", "1").await.status, 201);
}

#[tokio::test]
async fn what_cannot_be_a_source_is_refused_before_it_is_loaded() {
    let api = TestApi::new().await;
    for name in ["A", "-a", "a.b", "a%2Fb", "a%00", "%C3%A4", &"x".repeat(64)] {
        api.put(name, "1").await.problem(400, "name-invalid");
    }
    api.put("%FF", "1").await.problem(400, "request-invalid");
    let problem = api.send("PUT", &script("a"), &[], &b"ab\xff"[..]).await.problem(422, "source-invalid");
    assert_eq!(problem["detail"], "The byte at offset 2 is not UTF-8.");
    api.put_with("a", "1", &[("content-range", "bytes 1-1/2")]).await.problem(400, "request-invalid");
    api.put("a", &"x".repeat(SOURCE_LIMIT + 1)).await.problem(413, "source-too-large");
    api.send("PUT", "/api/v1/apps/other/scripts/a", &[], "1").await.problem(404, "app-not-found");
    assert_eq!(api.loader.loads.load(Ordering::Relaxed), 0);
    assert_eq!(api.put("a", &"x".repeat(SOURCE_LIMIT)).await.status, 201);
}

#[tokio::test]
async fn a_body_without_an_end_is_not_read_to_its_end() {
    let api = TestApi::new().await;
    let endless =
        futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64])));
    api.send("PUT", &script("a"), &[], Body::from_stream(endless)).await.problem(413, "source-too-large");
    // What is announced as too long is not read at all.
    let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let length = [("content-length", "18446744073709551615")];
    api.send("PUT", &script("a"), &length, Body::from_stream(never)).await.problem(413, "source-too-large");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_source() {
    let api = TestApi::new().await;
    let parts = [Ok(Bytes::from_static(b"1")), Err(std::io::Error::other("reset"))];
    let body = Body::from_stream(futures_util::stream::iter(parts));
    api.send("PUT", &script("a"), &[], body).await.problem(400, "body-incomplete");
    assert_eq!(api.published("a"), None);
}

#[tokio::test]
async fn preconditions_guard_the_upload() {
    let api = TestApi::new().await;
    api.put_with("a", "1", &[("if-match", "*")]).await.problem(412, "precondition-failed");
    let first = api.put_with("a", "1", &[("if-none-match", "*")]).await;
    assert_eq!(first.status, 201);
    api.put_with("a", "2", &[("if-none-match", "*")]).await.problem(412, "precondition-failed");
    api.put_with("a", "2", &[("if-match", "\"0\"")]).await.problem(412, "precondition-failed");
    api.put_with("a", "2", &[("if-match", "0")]).await.problem(400, "request-invalid");
    let weak = format!("W/{}", first.header("etag"));
    api.put_with("a", "2", &[("if-match", &weak)]).await.problem(412, "precondition-failed");
    let one_of_two = format!("\"0\", {}", first.header("etag"));
    assert_eq!(api.put_with("a", "2", &[("if-match", &one_of_two)]).await.json()["version"], 2);
    assert_eq!(api.put_with("a", "3", &[("if-match", "*")]).await.json()["version"], 3);
}
