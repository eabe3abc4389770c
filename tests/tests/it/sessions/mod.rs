//! Users and their sessions: who logs in, what ends a session, where a browser may keep one, and the address that the control plane
//! has for itself.

mod address;
mod cookies;
mod login;

use picloud_tests::{Reply, TestApp};
use serde_json::json;

const PASSWORD: &str = "correct horse battery";

/// A server with the user `ann`, who may do this.
async fn server(scopes: &[&str]) -> TestApp {
    let builder = TestApp::builder().dev(false);
    let networks = ["127.0.0.0/8".parse().unwrap()];
    let app = builder.config(|config| config.trusted_proxies = networks.to_vec()).start().await;
    put_user(&app, "ann", scopes).await;
    app
}

async fn put_user(app: &TestApp, name: &str, scopes: &[&str]) {
    let body = json!({ "scopes": scopes, "password": PASSWORD });
    let put = app.anonymous_admin("PUT", &format!("/api/v1/users/{name}")).json(&body);
    let reply = Reply::of(put.bearer_auth(app.token.as_deref().unwrap())).await;
    assert!(reply.is_success(), "{reply}");
}

async fn log_in_from(app: &TestApp, address: &str, user: &str, password: &str) -> Reply {
    let body = json!({ "user": user, "password": password });
    let request = app.anonymous_admin("POST", "/api/v1/session").header("x-forwarded-for", address);
    Reply::of(request.json(&body)).await
}

/// The text of a new session.
async fn session(app: &TestApp, user: &str) -> String {
    let reply = log_in_from(app, "192.0.2.1", user, PASSWORD).await;
    assert_eq!(reply.status, 201, "{reply}");
    reply.json()["token"].as_str().unwrap().to_owned()
}
