//! The way in: HTTP requests become calls, outcomes become HTTP answers.
//!
//! `server` accepts connections, `router` tells scripts from the control plane, `aim` finds what a request is
//! for, `access` who has to be there, `unscripted` answers without a script, `body` reads bodies, `request` and `answer`
//! translate, `wishes` reads what callers ask for beside an answer, `kept` and `repetition` keep answers for
//! them, `proxies` tells who is before a proxy, `lingering` reads on what nobody wants, `idle` ends connections that do nothing, `to_the_end`
//! keeps a call running whose caller has left, `unsent` counts answers that nobody takes.

mod access;
mod aim;
mod answer;
mod body;
mod idle;
mod kept;
mod lingering;
mod proxies;
mod repetition;
mod request;
mod router;
mod server;
mod to_the_end;
mod unscripted;
mod unsent;
mod wishes;

pub use answer::respond;
pub use body::{BodyMemory, Held};
pub use kept::{KeptCalls, Locate};
pub use proxies::{Encrypted, TrustedProxies};
pub use request::request_id;
pub use router::{Guard, Router, Serves, is_script_path};
pub use server::{ServerConfig, serve};
pub use unsent::{AnswerMemory, AnswerRoom};

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::Request;
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::CorsLayer;

use crate::active::Active;
use crate::attempts::Attempts;
use crate::call::{ExecRequest, Outcome, Payload};
use crate::callback;
use crate::cookie;
use crate::executor::Executor;
use crate::gate::Gate;
use crate::ingress::aim::{Aim, To};
use crate::ingress::idle::Activity;
use crate::ingress::kept::{Again, Seen};
use crate::ingress::lingering::Lingering;
use crate::ingress::repetition::Claim;
use crate::ingress::request::{Client, Target};
use crate::ingress::to_the_end::ToTheEnd;
use crate::ingress::wishes::Wishes;
use crate::ports::{Clock, ExecutionLog, Principals};
use crate::problem::{Code, Problem};
use crate::quota::Quotas;
use crate::record::keep;

/// Everything a request for a script needs.
pub struct Ingress {
    /// Which script version each name leads to.
    pub active: Arc<Active>,
    /// Runs calls.
    pub executor: Arc<Executor>,
    /// Admits calls.
    pub gate: Arc<Gate>,
    /// Memory for the bodies of requests.
    pub bodies: Arc<BodyMemory>,
    /// Memory for answers that are not sent yet.
    pub answers: AnswerMemory,
    /// Keeps answers.
    pub kept: KeptCalls,
    /// Who calls.
    pub principals: Arc<dyn Principals>,
    /// Who was wrong too often about who they are.
    pub attempts: Arc<Attempts>,
    /// Where executions are recorded.
    pub log: Arc<dyn ExecutionLog>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

impl Ingress {
    /// Answer a request for a script.
    async fn answer(
        self: Arc<Self>,
        request: Request<Lingering>,
        peer: std::net::SocketAddr,
        connection: Arc<Activity>,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let aim = aim::aim(&self.active.current(), &head);
        let cors = aim.as_ref().ok().and_then(|aim| aim.route.as_ref()?.cors.clone());
        let request = Request::from_parts(head, body);
        let answer = async move |request| {
            let result = match aim {
                Ok(aim) => self.call(aim, request, peer, connection).await,
                Err(problem) => Err(problem),
            };
            result.unwrap_or_else(|problem| problem.instance(path).into_response())
        };
        match cors {
            None => answer(request).await,
            // In a box: most routes have none.
            Some(cors) => Box::pin(with_cors(&cors, request, answer)).await,
        }
    }

    async fn call(
        self: Arc<Self>,
        aim: Aim,
        request: Request<Lingering>,
        peer: std::net::SocketAddr,
        connection: Arc<Activity>,
    ) -> Result<Response, Problem> {
        let (mut head, body) = request.into_parts();
        cookie::hide(&mut head.headers);
        let who = self.who(&aim, &mut head, peer.ip())?;
        let target = match (aim.to, aim.route) {
            (To::Script(target), _) => target,
            (To::Goal(parameters), Some(route)) => return unscripted::answer(&route.goal, &parameters),
            (To::Goal(_), None) => return Err(Problem::new(Code::Internal)),
        };
        let wishes = Wishes::of(&head)?;
        if let Some(url) = &wishes.callback {
            self.check_callback(&target, url)?;
        }
        let limits = &target.limits;
        let most = if wishes.respond_async { limits.async_body_bytes } else { u64::MAX };
        let held = self.bodies.read(body, limits.request_body_bytes.min(most)).await;
        let held = held.map_err(|problem| match problem.code() {
            // The memory is free again when the calls are over.
            Code::Saturated => problem.retry_after(self.gate.refuse().retry_after_secs),
            _ => problem,
        })?;
        let quotas = target.quotas.clone();
        let principal = self.who_signed(who, &held.body)?;
        let request = request::to_call(head, held.body.clone(), target, Client { ip: peer.ip(), principal });
        let claim = match wishes.idempotency_key {
            None => None,
            // In a box: most requests have no key, and would move the room for this about.
            Some(key) => match Box::pin(self.claim(&request, key, &connection)).await? {
                Ok(claim) => Some(claim),
                Err(response) => return Ok(response),
            },
        };
        let id = request.execution_id;
        // Once it has started a call runs to its end, even if the caller leaves: a commit cannot be called back, and
        // every execution is recorded.
        let response = if wishes.respond_async {
            let accept = async move {
                let accepted = self.kept.accept(&request, claim.as_ref(), wishes.callback.as_deref()).await;
                drop(held);
                accepted
            };
            ToTheEnd::new(id, accept).await
        } else {
            ToTheEnd::new(id, self.run(request, quotas, held, connection, claim)).await
        };
        response.unwrap_or_else(|| Err(Problem::new(Code::Internal)))
    }

    /// The right to make the call of an idempotency key, or what was answered to it before.
    async fn claim(
        &self,
        request: &ExecRequest,
        key: Arc<str>,
        connection: &Arc<Activity>,
    ) -> Result<Result<Claim, Response>, Problem> {
        let _turn = self.answers.turn().await;
        if self.answers.is_full() {
            return Err(self.full());
        }
        Ok(match self.kept.seen(request, key).await? {
            Seen::Never(claim) => Ok(claim),
            Seen::Before(Again::Accepted(response)) => Err(response),
            Seen::Before(Again::Answered(mut answer)) => {
                answer.body = self.answers.count(answer.body, connection);
                Err(answer.into_response())
            }
        })
    }

    fn check_callback(&self, target: &Target, url: &str) -> Result<(), Problem> {
        let set = self.active.current();
        match set.app(target.script.app_id) {
            Some(app) => callback::check(app, url),
            None => Err(Problem::new(Code::RouteNotFound)),
        }
    }

    /// Make a call. The claim on its idempotency key, if there is one, is held until its answer is stored.
    async fn run(
        self: Arc<Self>,
        mut request: ExecRequest,
        quotas: Arc<Quotas>,
        held: Held,
        connection: Arc<Activity>,
        claim: Option<Claim>,
    ) -> Result<Response, Problem> {
        let (queued, started_ms) = (Instant::now(), self.clock.now_ms());
        let mut admission = self.gate.admit(request.script.app_id, &quotas).await?;
        // Not before the wait: who waits beside a thousand others would not count what they will answer.
        if self.answers.is_full() {
            return Err(self.full());
        }
        if let Some(claim) = &claim {
            request.keeps = Some(Box::pin(self.kept.keep(&request, claim)).await?);
        }
        let queue_us = u64::try_from(queued.elapsed().as_micros()).unwrap_or(u64::MAX);
        let request = Arc::new(request);
        let mut outcome = self.executor.execute(request.clone()).await;
        admission.charge(outcome.fuel());
        drop((admission, held, claim));
        outcome.cost.queue_us = queue_us;
        if let Ok(answer) = &mut outcome.result {
            answer.body = self.answers.count(std::mem::take(&mut answer.body), &connection);
        }
        let response = respond(&request, &outcome);
        trace(&request, &outcome, response.status().as_u16());
        keep(&*self.log, &request, outcome, response.status().as_u16(), started_ms);
        Ok(response)
    }

    /// Answers that nobody takes leave no room for another one.
    fn full(&self) -> Problem {
        Problem::from(self.gate.refuse()).detail(unsent::FULL)
    }
}

/// Answer a request of a page of another origin, or tell a browser whether the page may send it.
async fn with_cors<A>(cors: &CorsLayer, request: Request<Lingering>, answer: A) -> Response<Body>
where
    A: AsyncFnOnce(Request<Lingering>) -> Response<Body>,
{
    let mut answer = Some(answer);
    let service = tower::service_fn(move |request| {
        let answer = answer.take();
        async move {
            Ok::<_, Infallible>(match answer {
                Some(answer) => answer(request).await,
                // It is asked once.
                None => Problem::new(Code::Internal).into_response(),
            })
        }
    });
    match cors.layer(service).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// For whoever looks for one call in the server's log: the ids that came with it and the one it got.
fn trace(request: &ExecRequest, outcome: &Outcome, status: u16) {
    let Payload::Http(call) = &request.payload else { return };
    tracing::debug!(
        execution_id = %request.execution_id,
        request_id = call.request_id,
        traceparent = request.traceparent,
        app = &*request.script.app,
        script = &*request.script.script,
        status,
        fuel = outcome.fuel(),
        "a call ended"
    );
}
