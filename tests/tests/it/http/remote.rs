//! Another server, as scripts see it, on the loopback address.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Request;
use axum::middleware;
use axum::{Router, serve};
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Runs as long as the test's runtime.
pub(crate) struct Remote {
    address: SocketAddr,
    hits: Arc<AtomicUsize>,
}

impl Remote {
    pub(crate) async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = Self { address: listener.local_addr().unwrap(), hits: Arc::default() };
        let hits = remote.hits.clone();
        let count = move |request: Request| {
            hits.fetch_add(1, Ordering::SeqCst);
            ready(request)
        };
        let router = router.layer(middleware::map_request(count));
        tokio::spawn(async move { serve(listener, router).await });
        remote
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests so far.
    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    /// A rule that allows everything here.
    pub(crate) fn rule(&self) -> Value {
        json!({ "hosts": ["127.0.0.1"], "schemes": ["http"], "ports": [self.port()], "private": true })
    }
}

/// Replace the policy of the app `default`.
pub(crate) async fn allow(app: &TestApp, rules: Value) -> Reply {
    let request = app.request("PUT", "/api/v1/apps/default/http-policy").json(&json!({ "rules": rules }));
    let reply = Reply::of(request).await;
    assert!(reply.is_success(), "{reply}");
    reply
}

/// A script that requests the URL in its body, and answers what came or what it caught.
pub(crate) const FETCH: &str =
    "try { return http::get(req.body).body; } catch (e) { return `caught: ${e}`; }";
