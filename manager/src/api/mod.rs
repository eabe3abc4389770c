//! The REST API. One file for each noun.
//!
//! In reading order: [`State`] (what handlers work with), the flat list of routes; then what handlers are made of:
//! `caller` (who has sent a request), `auth` (what that one may), `audit` (what is written down of it), `path`, `query`, `precondition`, `body` (what requests say), `problems` (how errors are told),
//! `finish` (what happens to every answer), `guard` (what dev mode refuses); then the nouns.

mod apps;
mod archive;
mod audit;
pub mod auth;
mod backup;
mod body;
mod caller;
mod canary;
mod config;
mod errors;
mod events;
mod executions;
pub(crate) mod finish;
mod grants;
pub mod guard;
mod http_policy;
mod kv;
mod logs;
mod metrics;
mod openapi;
mod path;
mod precondition;
mod problems;
mod query;
mod queues;
mod routes;
mod scripts;
mod secrets;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod timestamp;
mod tokens;
mod traces;
mod triggers;
mod users;
mod versions;
mod webhooks;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::any;
use http::request::Parts;
use picloud_host::active::Active;
use picloud_host::attempts::Attempts;
use picloud_host::call::AppId;
use picloud_host::dispatcher::RunningCalls;
use picloud_host::follow::Followers;
use picloud_host::grants::Grants;
use picloud_host::ingress::BodyMemory;
use picloud_host::limits::Limits;
use picloud_host::loader::{Load, LoadReport, Loader};
use picloud_host::ports::{Answers, Clock, Events, Kv};
use picloud_host::problem::{Code, Problem};
use picloud_host::quota::Quotas;
use utoipa_axum::router::OpenApiRouter;

use crate::identity::Bearers;
use crate::name::Name;
use crate::password::Passwords;
use crate::publish::Publisher;
use crate::removal::Removals;
use crate::schedule::Scheduler;
use crate::store::Store;
use crate::telemetry::Telemetry;

pub use auth::{Auth, Origin};
pub use backup::Backups;
pub use executions::execution_location;
pub use openapi::document as openapi;
pub use server::PublicUrl;

/// What handlers work with. A handler takes it as an argument.
#[derive(Clone)]
pub struct State {
    /// Apps, scripts, versions, tokens.
    pub store: Store,
    /// Every change to scripts goes through it.
    pub publisher: Publisher,
    /// Deletes apps.
    pub removals: Arc<Removals>,
    /// Loads a source before it becomes a version.
    pub loader: Arc<dyn Loader>,
    /// Keys and values, and every change of events.
    pub kv: Arc<dyn Kv>,
    /// Stored events.
    pub events: Arc<dyn Events>,
    /// Answers that are kept.
    pub answers: Arc<dyn Answers>,
    /// Asynchronous calls that run.
    pub running: Arc<RunningCalls>,
    /// Are told when something about a call has changed.
    pub followers: Arc<Followers>,
    /// What is published: where events go.
    pub active: Arc<Active>,
    /// Makes the events of schedules.
    pub schedules: Arc<Scheduler>,
    /// Directories that scripts may use.
    pub grants: Arc<Grants>,
    /// The time by which keys expire.
    pub clock: Arc<dyn Clock>,
    /// Memory for what anybody can send.
    pub bodies: Arc<BodyMemory>,
    /// The server's limits, which an app can only narrow.
    pub limits: Limits,
    /// Records of executions and what they cost.
    pub telemetry: Arc<Telemetry>,
    /// Who may use the API.
    pub auth: Auth,
    /// Whose pages are of the same origin.
    pub origin: Origin,
    /// Where others reach scripts.
    pub public_url: PublicUrl,
    /// The places for backups and archives.
    pub backups: Backups,
    /// Who sends tokens.
    pub bearers: Bearers,
    /// Who was wrong about it too often.
    pub attempts: Arc<Attempts>,
    /// Hashes the passwords of users.
    pub passwords: Passwords,
}

/// The REST API: everything under `/api`, and `/openapi.json`. To be merged with what else the server answers.
pub fn router(state: State) -> Router {
    let (router, _) = all_routes().split_for_parts();
    router
        .method_not_allowed_fallback(finish::method_not_allowed)
        .route("/api", any(finish::not_found))
        .route("/api/", any(finish::not_found))
        .route("/api/{*rest}", any(finish::not_found))
        .layer(from_fn_with_state(state.clone(), audit::record))
        .layer(from_fn_with_state(state.clone(), caller::identify))
        .layer(from_fn(finish::finish))
        .with_state(state)
}

/// What those have to reach who have no token, at a listener for scripts that the rest of the API is not at: deliveries of
/// webhooks, calls whose answers are kept, by their keys, and the pages of error codes. Nobody is asked who they are there, so that
/// no token opens anything.
pub fn public_router(state: State) -> Router {
    let keyed = executions::keyed_router().route_layer(from_fn(executions::only_with_key));
    let all = OpenApiRouter::default().merge(webhooks::router()).merge(errors::router()).merge(keyed);
    let (router, _) = all.split_for_parts();
    router
        .method_not_allowed_fallback(finish::method_not_allowed)
        .fallback(finish::elsewhere)
        .layer(from_fn(finish::finish))
        .with_state(state)
}

/// Every route with its metadata.
fn all_routes() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .merge(apps::router())
        .merge(archive::router())
        .merge(tokens::router())
        .merge(users::router())
        .merge(session::router())
        .merge(audit::router())
        .merge(backup::router())
        .merge(scripts::router())
        .merge(versions::router())
        .merge(canary::router())
        .merge(routes::router())
        .merge(executions::router())
        .merge(logs::router())
        .merge(metrics::router())
        .merge(kv::router())
        .merge(triggers::router())
        .merge(events::router())
        .merge(queues::router())
        .merge(webhooks::router())
        .merge(grants::router())
        .merge(http_policy::router())
        .merge(secrets::router())
        .merge(config::router())
        .merge(traces::router())
        .merge(errors::router())
        .merge(server::router())
        .merge(openapi::router())
}

impl State {
    /// The identity of an app, or the problem that there is none of this name.
    pub(crate) async fn app_id(&self, app: &Name) -> Result<AppId, Problem> {
        let found = self.store.app_id(app).await?;
        found.ok_or_else(|| Problem::new(Code::AppNotFound).detail(format!("There is no app {app}.")))
    }

    /// The limits of an app; the server's, if there is none of this name.
    pub(crate) fn limits_of(&self, app: &Name) -> Limits {
        self.active.current().apps.get(app.as_str()).map_or(self.limits, |app| *app.limits)
    }

    /// The quotas of an app; those of every app, if there is none of this name.
    pub(crate) fn quotas_of(&self, app: &Name) -> Quotas {
        let set = self.active.current();
        set.apps.get(app.as_str()).map_or(*self.publisher.quotas(), |app| *app.quotas)
    }

    /// Load a source of an app, which also makes its image ready for the first call.
    pub(crate) async fn load(&self, (id, app): (AppId, &Name), source: &str) -> Result<LoadReport, Problem> {
        let (limits, quotas) = (self.limits_of(app), self.quotas_of(app));
        let load = Load { app: id, source, limits: &limits, quotas: Some(&quotas) };
        self.loader.load(load).await.map_err(problems::of_load_error)
    }

    /// The same of a version that is there, also if the app has used up its fuel.
    pub(crate) async fn load_again(&self, (id, app): (AppId, &Name), source: &str) -> Result<(), Problem> {
        let limits = self.limits_of(app);
        let load = Load { app: id, source, limits: &limits, quotas: None };
        self.loader.load(load).await.map(drop).map_err(problems::of_load_error)
    }
}

impl FromRequestParts<Self> for State {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &Self) -> Result<Self, Infallible> {
        Ok(state.clone())
    }
}
