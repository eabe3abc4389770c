//! The API under test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use axum::body::Body;
use axum::{Extension, Router};
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use picloud_host::active::Active;
use picloud_host::call::{Answer as CallAnswer, Cost, Failure, Outcome, Position};
use picloud_host::ingress::{AnswerMemory, AnswerRoom, BodyMemory};
use picloud_host::limits::Limits;
use picloud_host::loader::{Load, LoadError, LoadReport, Loader, Trial};
use picloud_host::ports::Clock;
use picloud_host::problem::{Code, Problem};
use picloud_host::quota::Quotas;
use picloud_host::sequencer::SequencerOptions;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::api::{Auth, Origin, State, router};
use crate::identity::Bearers;
use crate::publish::Publisher;
use crate::removal::Removals;
use crate::schedule::Scheduler;
use crate::store::kv;
use crate::store::testing::TestStore;
use crate::telemetry::tests::Fixture;

/// The longest source that is accepted here.
pub(super) const SOURCE_LIMIT: usize = 1000;

/// Finds in a source what the source says.
#[derive(Debug, Default)]
pub(super) struct FakeLoader {
    /// How often it was called.
    pub(super) loads: AtomicU32,
    /// When set, no source loads any more.
    pub(super) broken: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl Loader for FakeLoader {
    async fn load(&self, load: Load<'_>) -> Result<LoadReport, LoadError> {
        let source = load.source;
        self.loads.fetch_add(1, Ordering::Relaxed);
        let fail = |code: Code, message: &str, position: Option<Position>| {
            Err(LoadError::Failed(Failure { code, message: message.into(), position, status: None }))
        };
        match source {
            "panic" => panic!("secret insides"),
            "saturated" => fail(Code::Saturated, "too many loads", None),
            "internal" => fail(Code::Internal, "something went wrong", None),
            "loop {}" => fail(Code::TopLevelLimit, "the top level used up its fuel", None),
            _ if source.starts_with("error") || self.broken.load(Ordering::Relaxed) => {
                fail(Code::CompileFailed, "unexpected end", Some(Position { line: 3, column: 7 }))
            }
            _ => Ok(LoadReport {
                handles_requests: !source.contains("on_event"),
                handles_events: source.contains("on_event"),
                image_bytes: 300_000,
                fuel: source.len() as u64 * 10,
            }),
        }
    }

    async fn trial(&self, trial: Trial) -> Result<Outcome, Problem> {
        Ok(tried(&trial))
    }
}

/// The answer of the fake loader's trials: the status that the path names, or a failure.
fn tried(trial: &Trial) -> Outcome {
    let cost = Cost { fuel: trial.source.len() as u64 * 100, ..Cost::default() };
    let status = trial.call.path.trim_start_matches('/').parse().unwrap_or(200);
    let mut outcome = Outcome::failed(cost, Failure::new(Code::ScriptError, "Variable not found: x"));
    if !trial.source.contains("fails") {
        outcome.result = Ok(CallAnswer { status, headers: HeaderMap::new(), body: bytes::Bytes::new() });
    }
    outcome
}

pub(super) struct TestApi {
    pub(super) router: Router,
    pub(super) state: State,
    pub(super) test: TestStore,
    pub(super) loader: Arc<FakeLoader>,
    pub(super) active: Arc<Active>,
    pub(super) telemetry: Fixture,
}

impl TestApi {
    /// An API that asks for no token.
    pub(super) async fn new() -> Self {
        Self::with_auth(Auth::Dev).await
    }

    pub(super) async fn with_auth(auth: Auth) -> Self {
        Self::at(auth, Origin::Shared).await
    }

    pub(super) async fn at(auth: Auth, origin: Origin) -> Self {
        let test = TestStore::new().await;
        let limits = Limits { source_bytes: SOURCE_LIMIT as u64, ..Limits::default() };
        let (loader, active) = (Arc::new(FakeLoader::default()), Arc::new(Active::default()));
        let store = test.store.clone();
        let publisher = Publisher::new(store.clone(), active.clone(), limits, Quotas::default());
        let identities = publisher.identities().clone();
        let telemetry = Fixture::new().await;
        let clock: Arc<dyn Clock> = test.clock.clone();
        let options = SequencerOptions { clock: clock.clone(), ..SequencerOptions::default() };
        let kv = Arc::new(kv::open(test.database.clone(), options).await.unwrap());
        let state = State {
            removals: Arc::new(Removals::new(store.clone(), kv.clone(), telemetry.telemetry.clone())),
            schedules: Arc::new(Scheduler::new(store.clone(), kv.clone(), clock.clone())),
            store,
            publisher,
            loader: loader.clone(),
            kv: kv.clone(),
            events: kv,
            answers: Arc::new(test.store.clone()),
            running: Arc::default(),
            followers: Arc::default(),
            active: active.clone(),
            grants: Arc::default(),
            clock,
            bodies: Arc::new(BodyMemory::new(1 << 20)),
            limits,
            telemetry: Arc::clone(&telemetry.telemetry),
            auth,
            origin,
            public_url: crate::api::PublicUrl::Same,
            bearers: Bearers { identities, store: test.store.clone(), clock: test.clock.clone() },
            attempts: Arc::default(),
            passwords: crate::password::Passwords::default(),
            backups: crate::api::Backups::default(),
        };
        let room = AnswerRoom::without_connection(AnswerMemory::new(1 << 20));
        Self { router: router(state.clone()).layer(Extension(room)), state, test, loader, active, telemetry }
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.into() }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    /// Upload a source to `/api/v1/apps/default/scripts/{name}`.
    pub(super) async fn put(&self, name: &str, source: &str) -> Answer {
        self.put_with(name, source, &[]).await
    }

    pub(super) async fn put_with(&self, name: &str, source: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("PUT", &script(name), headers, source.to_owned()).await
    }

    /// The version that a call of a script would run now.
    pub(super) fn published(&self, name: &str) -> Option<u32> {
        Some(self.active.current().apps.get("default")?.scripts.get(name)?.script.version)
    }
}

/// The address of a script in the API.
pub(super) fn script(name: &str) -> String {
    format!("/api/v1/apps/default/scripts/{name}")
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The body of a success.
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem document, checked to be one: status, media type, code.
    #[track_caller]
    pub(super) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{} {}",
            self.status,
            self.text()
        );
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(
            (self.status, &problem["code"], &problem["status"]),
            (status, &code.into(), &status.into())
        );
        assert!(problem["instance"].as_str().is_some_and(|path| path.starts_with('/')), "{problem}");
        problem
    }
}
