//! Addresses and methods that do not exist.

use axum::Router;
use axum::routing::get;

use super::fixture::{TestApi, script};

#[tokio::test]
async fn paths_that_are_no_route_are_problems() {
    let api = TestApi::new().await;
    let paths = [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v2/apps",
        "/api/v1/apps/",
        "/api/v1/apps/default/nothing",
        "/api/%FF",
        "/api//v1",
    ];
    for path in paths {
        for method in ["GET", "PUT", "OPTIONS"] {
            assert_eq!(
                api.send(method, path, &[], "").await.problem(404, "route-not-found")["instance"],
                path
            );
        }
    }
}

#[tokio::test]
async fn methods_that_a_route_does_not_have_are_problems_with_the_ones_it_has() {
    let api = TestApi::new().await;
    for (method, path, allowed) in [
        ("POST", "/api/v1/apps", "GET,HEAD"),
        ("PATCH", &*script("a"), "DELETE,GET,HEAD,PUT"),
        ("GET", &*format!("{}/versions/1/activate", script("a")), "POST"),
        ("DELETE", "/openapi.json", "GET,HEAD"),
    ] {
        let answer = api.send(method, path, &[], "").await;
        answer.problem(405, "method-not-allowed");
        let mut allow: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_even_if_it_is_a_problem() {
    let api = TestApi::new().await;
    let answer = api.send("HEAD", &script("a"), &[], "").await;
    assert_eq!((answer.status, answer.text()), (404, ""));
}

#[tokio::test]
async fn the_api_leaves_other_paths_to_others() {
    let mut api = TestApi::new().await;
    let scripts =
        Router::new().route("/{app}/{script}", get(async || "script")).fallback(async || "fallback");
    api.router = api.router.merge(scripts);
    assert_eq!(api.get("/default/hello").await.text(), "script");
    assert_eq!(api.get("/other").await.text(), "fallback");
    api.get("/api/hello").await.problem(404, "route-not-found");
}
