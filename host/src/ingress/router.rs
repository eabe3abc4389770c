//! Tells requests for scripts from those for the control plane, by the first part of the path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use http::Request;
use http::request::Parts;
use hyper::body::Incoming;
use tower::ServiceExt as _;

use crate::ingress::Ingress;
use crate::ingress::lingering::Lingering;
use crate::problem::{Code, Problem};

/// Looks at every request before anything else does, and may refuse it.
pub type Guard = Arc<dyn Fn(&Parts) -> Result<(), Problem> + Send + Sync>;

/// First parts of paths that belong to the control plane. No app can have such a name: names start with a letter or a digit, and the rest is checked.
const RESERVED: &[&str] = &["_", "api", "metrics", "openapi.json"];

/// Where requests go.
pub struct Router {
    /// Answers requests for scripts.
    pub ingress: Arc<Ingress>,
    /// Answers requests for everything under [`RESERVED`].
    pub control: axum::Router,
    /// Asked before either.
    pub guard: Option<Guard>,
    /// False before the server is ready and once it shuts down: `/readyz` tells.
    pub ready: AtomicBool,
}

impl Router {
    /// Answer one request.
    pub(super) async fn route(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Some(Err(problem)) = self.guard.as_ref().map(|guard| guard(&parts)) {
            return problem.instance(parts.uri.path()).into_response();
        }
        let mut request = Request::from_parts(parts, Lingering::new(body));
        let first = request.uri().path().split('/').nth(1).unwrap_or_default();
        match first {
            "livez" => "ok\n".into_response(),
            "readyz" if self.ready.load(Ordering::Relaxed) => "ok\n".into_response(),
            "readyz" => Problem::new(Code::ShuttingDown).into_response(),
            _ if RESERVED.contains(&first) => {
                request.extensions_mut().insert(ConnectInfo(peer));
                self.control.clone().oneshot(request.map(Body::new)).await.into_response()
            }
            _ => self.ingress.clone().answer(request, peer).await,
        }
    }
}
