//! Tells requests for scripts from those for the control plane, by the first part of the path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderValue, Method, Request, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tower::ServiceExt as _;

use crate::ingress::idle::Activity;
use crate::ingress::lingering::Lingering;
use crate::ingress::proxies::{Encrypted, TrustedProxies};
use crate::ingress::{AnswerRoom, Ingress};
use crate::problem::{Code, Problem};

/// Looks at every request before anything else does, and may refuse it.
pub type Guard = Arc<dyn Fn(&Parts) -> Result<(), Problem> + Send + Sync>;

/// First parts of paths that belong to the control plane. No app may be called so.
const RESERVED: &[&str] = &["_", "api", "metrics", "openapi.json"];

/// Whether the server works.
const HEALTH: &[&str] = &["livez", "readyz"];

/// Whether a path leads to a script, if to anything.
#[must_use]
pub fn is_script_path(path: &str) -> bool {
    let first = first_part(path);
    !RESERVED.contains(&first) && !HEALTH.contains(&first)
}

fn first_part(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// A stream of events has no end that could be waited for: while it lasts its connection is not idle.
fn keep_open(response: Response<Body>, connection: &Arc<Activity>) -> Response<Body> {
    let is_stream = |value: &HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
    if !response.headers().get(header::CONTENT_TYPE).is_some_and(is_stream) {
        return response;
    }
    let running = connection.begin();
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &running;
            frame
        }))
    })
}

/// What a listener answers beside `/livez` and `/readyz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// Scripts, and of the control plane what its router has.
    Scripts,
    /// The control plane alone, which then has an origin that no page of a script is of.
    ControlPlane,
}

/// Where requests go.
pub struct Router {
    /// What is answered here.
    pub serves: Serves,
    /// Answers requests for scripts.
    pub ingress: Arc<Ingress>,
    /// Answers requests for everything under [`RESERVED`].
    pub control: axum::Router,
    /// Whose word is believed about who has sent a request.
    pub proxies: TrustedProxies,
    /// Asked before either.
    pub guard: Option<Guard>,
    /// False before the server is ready and once it shuts down: `/readyz` tells.
    pub ready: AtomicBool,
    /// Connections that are open.
    pub connections: AtomicUsize,
}

impl Router {
    /// Answer one request.
    pub(super) async fn route(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        connection: Arc<Activity>,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Some(Err(problem)) = self.guard.as_ref().map(|guard| guard(&parts)) {
            return problem.instance(parts.uri.path()).into_response();
        }
        let encrypted = Encrypted(self.proxies.encrypted(peer.ip(), &parts.headers));
        let peer = SocketAddr::new(self.proxies.client(peer.ip(), &parts.headers), peer.port());
        let mut request = Request::from_parts(parts, Lingering::new(body));
        match first_part(request.uri().path()) {
            first if HEALTH.contains(&first) => self.health(&request),
            first if RESERVED.contains(&first) => {
                let room = AnswerRoom::new(self.ingress.answers.clone(), connection.clone());
                request.extensions_mut().insert(ConnectInfo(peer));
                request.extensions_mut().insert(encrypted);
                request.extensions_mut().insert(room);
                let response = self.control.clone().oneshot(request.map(Body::new)).await.into_response();
                keep_open(response, &connection)
            }
            _ if self.serves == Serves::ControlPlane => {
                let detail = "Scripts are called at the other address of this server.";
                Problem::new(Code::RouteNotFound)
                    .detail(detail)
                    .instance(request.uri().path())
                    .into_response()
            }
            _ => {
                let response = self.ingress.clone().answer(request, peer, connection).await;
                self.leave_together().await;
                response
            }
        }
    }

    /// `/livez`: the process answers. `/readyz`: it takes calls.
    fn health(&self, request: &Request<Lingering>) -> Response<Body> {
        let path = request.uri().path();
        let problem = match path {
            "/livez" | "/readyz" if !matches!(*request.method(), Method::GET | Method::HEAD) => {
                Problem::new(Code::MethodNotAllowed).allow("GET, HEAD")
            }
            "/readyz" if !self.ready.load(Ordering::Relaxed) => {
                Problem::new(Code::ShuttingDown).retry_after(1)
            }
            "/livez" | "/readyz" => return "ok\n".into_response(),
            _ => Problem::new(Code::RouteNotFound),
        };
        problem.instance(path).into_response()
    }

    /// Let calls that are ready go before this answer is written, so that their answers follow at once.
    ///
    /// An answer that is written wakes whoever waits for it. On the same machine (a reverse proxy) that takes the
    /// processor away from the next call, and that call's answer finds the other asleep again: one change of processes
    /// for each answer. `make bench` has many connections and shows the difference. With few connections, or calls that
    /// keep the processors for long, there would be nothing but a delay.
    async fn leave_together(&self) {
        let workers = Handle::current().metrics().num_workers();
        if self.connections.load(Ordering::Relaxed) > workers && self.ingress.gate.running() <= workers {
            tokio::task::yield_now().await;
        }
    }
}
