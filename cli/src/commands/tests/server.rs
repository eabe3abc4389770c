//! A server on this machine that answers what a test wants, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// How the command line asks where scripts are.
const WHERE: &str = "GET /api/v1/server";

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A running server. It stops with the runtime of its test.
pub(crate) struct FakeServer {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl FakeServer {
    /// Start one that answers with `answer`, and has scripts where it has everything else.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        Self::start_apart(Value::Null, answer).await
    }

    /// The same with scripts at `public_url`, which it tells whoever asks.
    pub(crate) async fn start_apart(
        public_url: Value,
        answer: impl Fn(&Seen) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::start_about(serde_json::json!({ "public_url": public_url }), answer).await
    }

    /// One that says this of itself.
    pub(crate) async fn start_about(
        about: Value,
        answer: impl Fn(&Seen) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        let router = Router::new().fallback(move |request: Request| async move {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let seen = Seen {
                line: format!("{} {}", head.method, head.uri),
                headers: head.headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            };
            log.lock().unwrap().push(seen.clone());
            if seen.line == WHERE { json(200, &about) } else { answer(&seen) }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen }
    }

    /// What it was asked, in order, but for where scripts are.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.line != WHERE).cloned().collect()
    }

    /// Method, path and query of each request, also of those for where scripts are.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
    }

    /// Method, path and query of each request, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

/// A JSON answer.
pub(crate) fn json(status: u16, value: &Value) -> Response {
    with_type(status, "application/json", value.to_string())
}

/// A problem document.
pub(crate) fn problem(status: u16, code: &str, mut members: Value) -> Response {
    members["status"] = status.into();
    members["code"] = code.into();
    members["type"] = format!("/api/v1/errors/{code}").into();
    with_type(status, "application/problem+json", members.to_string())
}

/// Any other answer.
pub(crate) fn with_type(status: u16, media_type: &'static str, body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(http::header::CONTENT_TYPE, media_type)], body.into()).into_response()
}
