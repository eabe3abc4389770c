//! Where tests run: one sandbox for all, and everything else anew for each of them.

use std::sync::Arc;
use std::time::Instant;

use picloud_host::active::{Active, ActiveApp, ActiveScript, ActiveSet};
use picloud_host::aot::AotCache;
use picloud_host::budget::Budget;
use picloud_host::call::{
    AppId, Callee, ExecRequest, Failure, LogLine, Outcome, Payload, ScriptRef, SourceHash, VersionId,
};
use picloud_host::executor::{Executor, ExecutorConfig, Services};
use picloud_host::grants::Grants;
use picloud_host::limits::Limits;
use picloud_host::memory::{self, MemoryScripts};
use picloud_host::problem::Code;
use picloud_host::testing::TestKit;
use uuid::Uuid;

use super::files::{Suite, TestedScript};
use super::report::Tested;
use crate::config::ServeConfig;
use crate::exit::CliError;
use crate::output::text::thousands;
use crate::run::settings::Settings;

/// Images kept in memory, in bytes.
const IMAGE_CACHE: usize = 64 << 20;

/// The app of all scripts.
const APP: AppId = AppId(1);

/// See the module.
pub(super) struct Bench {
    executor: Executor,
    scripts: Arc<MemoryScripts>,
    active: Arc<Active>,
    grants: Arc<Grants>,
    limits: Arc<Limits>,
}

impl Bench {
    /// Prepare the sandbox and make the scripts known to each other. None of them is loaded yet.
    pub(super) async fn new(
        config: ServeConfig,
        settings: Settings,
        suite: &Suite,
        aot: AotCache,
    ) -> Result<Self, CliError> {
        let limits = Arc::new(config.limits);
        let grants = Arc::new(Grants::open(&config.fs).map_err(failed)?);
        let (scripts, active) = (Arc::new(MemoryScripts::default()), Arc::new(Active::default()));
        let mut by_name = std::collections::HashMap::new();
        for (script, version) in suite.scripts.iter().zip(1..) {
            let version_id = VersionId(version);
            scripts.insert(version_id, &*script.source);
            let reference = Arc::new(reference(script, &script.source, version_id));
            // Whether it has a function for them is found when it is called.
            let script = ActiveScript {
                script: reference,
                canary: None,
                handles_requests: true,
                handles_events: true,
                access: Arc::default(),
            };
            by_name.insert(script.script.script.clone(), script);
        }
        let Settings { secrets, config: values } = settings;
        let app = ActiveApp {
            id: APP,
            limits: limits.clone(),
            quotas: Arc::default(),
            http: Arc::default(),
            secrets,
            config: values,
            scripts: by_name,
        };
        active.publish(ActiveSet { apps: [("default".into(), app)].into(), ..ActiveSet::default() });
        let config = ExecutorConfig {
            budget: Budget::probe(limits.memory_bytes),
            aot,
            image_cache_bytes: IMAGE_CACHE,
            scripts: scripts.clone(),
            services: memory::services(active.clone(), TestKit::default().clock().clone()),
        };
        let executor = tokio::task::spawn_blocking(|| Executor::new(config)).await;
        let executor = executor.map_err(anyhow::Error::from).flatten().map_err(failed)?;
        Ok(Self { executor, scripts, active, grants, limits })
    }

    /// The tests of a script, in the order of their names.
    pub(super) async fn tests(&self, script: &TestedScript) -> Result<Vec<String>, Failure> {
        let tests = self.executor.tests(&script.source, &self.limits).await?;
        Ok(tests)
    }

    /// Run one test.
    pub(super) async fn run(&self, script: &TestedScript, name: String, function: String) -> Tested {
        let kit = Arc::new(TestKit::default());
        let services = Services {
            grants: self.grants.clone(),
            test: Some(kit.clone()),
            // What is published is an event like others, and the test looks at it.
            mqtt: true,
            ..memory::services(self.active.clone(), kit.clock().clone())
        };
        let executor = Arc::new(self.executor.with_services(services));
        let source = self.source(script).await;
        let version_id = VersionId(0);
        self.scripts.insert(version_id, &*source);
        let reference = Arc::new(reference(script, &source, version_id));
        let limits = self.limits.clone();
        let request = ExecRequest::root(reference, Uuid::now_v7(), limits, Payload::Test(function));
        let begun = Instant::now();
        let outcome = executor.execute(Arc::new(request)).await;
        let fuel = outcome.fuel();
        let log = log(script, &outcome);
        let failure = outcome.result.err().or_else(|| too_much(fuel, kit.max_fuel()));
        Tested::new(script, name, failure).cost(fuel, begun.elapsed()).logged(log)
    }

    /// A file that is there for its tests alone gets a handler, so that its top level runs when it is loaded, and its
    /// tests see its constants. Behind its text, so that its lines keep their numbers.
    async fn source(&self, script: &TestedScript) -> String {
        if script.is_for_tests() {
            let source = format!("{}\nfn on_event(event) {{}}\n", script.source);
            // Not if it has one of its own.
            if self.executor.tests(&source, &self.limits).await.is_ok() {
                return source;
            }
        }
        script.source.clone()
    }
}

fn reference(script: &TestedScript, source: &str, version_id: VersionId) -> ScriptRef {
    ScriptRef {
        app_id: APP,
        app: "default".into(),
        script: script.name.as_str().into(),
        version_id,
        version: 1,
        source_hash: SourceHash::of(source),
    }
}

/// Every line that the test and the scripts that it has called have logged, in the order of time.
fn log(script: &TestedScript, outcome: &Outcome) -> Vec<String> {
    let line = |name: &str, line: &LogLine| {
        (line.at_ms, format!("{name}: {}: {}", line.level.as_str(), line.message))
    };
    let mut lines: Vec<_> = outcome.log.iter().map(|logged| line(&script.name, logged)).collect();
    for Callee { request, outcome, .. } in &outcome.callees {
        lines.extend(outcome.log.iter().map(|logged| line(&request.script.script, logged)));
    }
    lines.sort_by_key(|(at_ms, _)| *at_ms);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn too_much(fuel: u64, most: Option<u64>) -> Option<Failure> {
    let most = most.filter(|most| fuel > *most)?;
    let (fuel, most) = (thousands(fuel), thousands(most));
    let message = format!("the test used {fuel} units of fuel, more than the {most} of test::max_fuel");
    Some(Failure::new(Code::FuelExhausted, message))
}

fn failed(error: anyhow::Error) -> CliError {
    CliError::Failed(format!("{error:#}"))
}
