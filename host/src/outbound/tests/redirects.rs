//! Redirects: each hop is held against the policy and the addresses, like a request of its own.

use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response as Answer};
use axum::routing::{any, get};
use http::Method;
use picloud_sdk_wit::picloud::sdk::http::Error;

use super::server::{Server, serve};
use super::{Outbound, all_of, policy, request, send};

/// `/to?URL` sends on to the URL, `/down/N` to `/down/N-1` and so on, `/loop` to itself; `/seen` tells what it got.
async fn redirecting() -> Server {
    let to = async |query: RawQuery| Redirect::temporary(&query.0.unwrap_or_default());
    let down = async |Path(n): Path<u32>| -> Answer {
        if n == 0 {
            "the end".into_response()
        } else {
            Redirect::to(&format!("/down/{}", n - 1)).into_response()
        }
    };
    let seen = async |method: Method, headers: HeaderMap, body: String| {
        let header = |name: &str| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        format!("{method} {} {} {body}", header("authorization"), header("content-type"))
    };
    let router = Router::new()
        .route("/to", any(to))
        .route("/see-other", any(|| async { Redirect::to("/seen") }))
        .route("/down/{n}", get(down))
        .route("/loop", any(|| async { Redirect::permanent("/loop") }))
        .route("/seen", any(seen));
    serve(router).await
}

fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn five_redirects_are_followed_and_no_more() {
    let server = redirecting().await;
    let (outbound, policy) = (Outbound::default(), all_of(&server));
    let response = send(&outbound, &policy, request("GET", server.url("/down/5"))).await.unwrap();
    assert_eq!((text(response.body), response.url), ("the end".to_owned(), server.url("/down/0")));
    for path in ["/down/6", "/loop"] {
        let result = send(&outbound, &policy, request("GET", server.url(path))).await;
        assert!(matches!(result, Err(Error::TooManyRedirects)), "{path}: {result:?}");
    }
}

#[tokio::test]
async fn a_redirect_to_what_is_not_allowed_is_refused() {
    let server = redirecting().await;
    let policy = policy(serde_json::json!([
        { "hosts": ["127.0.0.1"], "schemes": ["http"], "ports": [server.port()], "private": true },
        { "hosts": ["localhost", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]"], "schemes": ["http"],
          "ports": [server.port(), 80] },
        { "hosts": ["169.254.169.254", "0.0.0.0"], "schemes": ["http"], "private": true },
    ]));
    let outbound = Outbound::default();
    let port = server.port();
    let to = async |target: &str| {
        send(&outbound, &policy, request("GET", server.url(&format!("/to?{target}")))).await
    };
    for target in [
        "http://example.org/".to_owned(),
        "https://example.org/".to_owned(),
        format!("http://127.0.0.2:{port}/seen"),
        format!("https://127.0.0.1:{port}/seen"),
        "http://127.0.0.1:1/".to_owned(),
    ] {
        let result = to(&target).await;
        let expected =
            format!("a redirect to GET {}", target.split("/seen").next().unwrap().trim_end_matches('/'));
        assert!(matches!(&result, Err(Error::NotAllowed(what)) if *what == expected), "{target}: {result:?}");
    }
    // Allowed as names and addresses, but not with addresses that are private, or not at all.
    for target in [
        format!("http://localhost:{port}/seen"),
        format!("http://LOCALHOST.:{port}/seen"),
        format!("http://[::1]:{port}/seen"),
        format!("http://[::ffff:7f00:1]:{port}/seen"),
        format!("http://[64:ff9b::7f00:1]:{port}/seen"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://0xa9fea9fe/".to_owned(),
        "http://0/".to_owned(),
    ] {
        let result = to(&target).await;
        assert!(matches!(result, Err(Error::AddressBlocked(_))), "{target}: {result:?}");
    }
    for target in ["file:///etc/passwd", "http://me@127.0.0.1/", "gopher://127.0.0.1/"] {
        assert!(matches!(to(target).await, Err(Error::RedirectInvalid)), "{target}");
    }
    assert!(to("/seen").await.is_ok());
}

#[tokio::test]
async fn methods_of_rules_count_for_redirects() {
    let server = redirecting().await;
    let only_post = policy(serde_json::json!([
        { "hosts": ["127.0.0.1"], "schemes": ["http"], "ports": [server.port()], "methods": ["POST"], "private": true },
    ]));
    let outbound = Outbound::default();
    let result = send(&outbound, &only_post, request("POST", server.url("/see-other"))).await;
    assert!(matches!(result, Err(Error::NotAllowed(_))), "the redirect becomes a GET");
    assert!(send(&outbound, &only_post, request("POST", server.url("/to?/seen"))).await.is_ok());
}

#[tokio::test]
async fn bodies_and_secrets_go_where_they_belong() {
    let (server, other) = (redirecting().await, redirecting().await);
    let policy = policy(serde_json::json!([
        { "hosts": ["127.0.0.1"], "schemes": ["http"], "ports": [server.port(), other.port()], "private": true },
    ]));
    let outbound = Outbound::default();
    let post = async |path: &str| {
        let mut request = request("POST", server.url(path));
        let headers = [("authorization", "secret"), ("content-type", "text/plain")];
        request.headers = headers.map(|(name, value)| (name.into(), value.into())).into();
        request.body = Some(b"hello".to_vec());
        text(send(&outbound, &policy, request).await.unwrap().body)
    };
    assert_eq!(post("/to?/seen").await, "POST secret text/plain hello");
    assert_eq!(post("/see-other").await, "GET secret - ");
    // Another port is another origin.
    assert_eq!(post(&format!("/to?{}", other.url("/seen"))).await, "POST - text/plain hello");
}
