//! An executor without a server around it, for calls that nothing makes over HTTP, and for tests that need to know its
//! slots.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use picloud_host::active::{Active, ActiveApp, ActiveScript, ActiveSet};
use picloud_host::aot::AotCache;
use picloud_host::budget::Budget;
use picloud_host::call::{AppId, ExecRequest, Failure, Outcome, Payload, ScriptRef, SourceHash, VersionId};
use picloud_host::executor::{Executor, ExecutorConfig};
use picloud_host::limits::Limits;
use picloud_host::loader::LoadReport;
use picloud_host::memory::{self, MemoryScripts};
use picloud_host::ports::SystemClock;
use tempfile::TempDir;
use uuid::Uuid;

use crate::aot;

/// An executor with scripts, keys and values in memory.
pub struct BareExecutor {
    executor: Arc<Executor>,
    scripts: Arc<MemoryScripts>,
    active: Arc<Active>,
    /// Versions that there are.
    versions: AtomicI64,
    _data: TempDir,
}

impl BareExecutor {
    /// Make one for this machine.
    pub async fn start() -> Self {
        Self::with_budget(|_| ()).await
    }

    /// Make one for a machine that differs from this one.
    pub async fn with_budget(change: impl FnOnce(&mut Budget)) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory can be made");
        let (scripts, active) = (Arc::new(MemoryScripts::default()), Arc::<Active>::default());
        let mut budget = Budget::probe(Limits::default().memory_bytes);
        change(&mut budget);
        let executor = aot::with_cache(data.path(), async {
            let cache = Dir::open_ambient_dir(data.path().join("cache"), ambient_authority());
            Executor::new(ExecutorConfig {
                budget,
                aot: AotCache::in_dir(cache.expect("the cache is there")),
                image_cache_bytes: 64 << 20,
                scripts: scripts.clone(),
                services: memory::services(active.clone(), Arc::new(SystemClock)),
            })
        });
        let executor = executor.await.expect("an executor starts");
        Self { executor: Arc::new(executor), scripts, active, versions: AtomicI64::default(), _data: data }
    }

    /// Load a source, as an upload does.
    ///
    /// # Errors
    ///
    /// It does not load.
    pub async fn load(&self, source: &str, limits: &Limits) -> Result<LoadReport, Failure> {
        self.executor.load(AppId(1), source, limits).await.0
    }

    /// A script of an app. Nothing is loaded before it is called.
    pub fn script(&self, app: i64, source: &str) -> Arc<ScriptRef> {
        self.script_named(app, "script", source)
    }

    /// The same with a name.
    pub fn script_named(&self, app: i64, name: &str, source: &str) -> Arc<ScriptRef> {
        let version_id = VersionId(self.versions.fetch_add(1, Ordering::Relaxed));
        self.scripts.insert(version_id, source);
        Arc::new(ScriptRef {
            app_id: AppId(app),
            app: "app".into(),
            script: name.into(),
            version_id,
            version: 1,
            source_hash: SourceHash::of(source),
        })
    }

    /// Let scripts of one app reach each other by their names.
    pub fn publish(&self, scripts: &[Arc<ScriptRef>]) {
        let active = |script: &Arc<ScriptRef>| ActiveScript {
            script: script.clone(),
            canary: None,
            handles_requests: true,
            handles_events: true,
            access: Arc::default(),
        };
        let by_name = scripts.iter().map(|script| (script.script.clone(), active(script))).collect();
        let app = scripts.first().map(|script| {
            let app = ActiveApp {
                id: script.app_id,
                limits: Arc::default(),
                quotas: Arc::default(),
                http: Arc::default(),
                secrets: Arc::default(),
                config: Arc::default(),
                scripts: by_name,
            };
            (script.app.clone(), app)
        });
        self.active.publish(ActiveSet { apps: app.into_iter().collect(), ..ActiveSet::default() });
    }

    /// Call a script.
    pub async fn call(
        &self,
        script: &Arc<ScriptRef>,
        limits: Limits,
        trigger_depth: u32,
        payload: Payload,
    ) -> Outcome {
        let request = ExecRequest::root(script.clone(), Uuid::now_v7(), Arc::new(limits), payload);
        let request = ExecRequest { trigger_depth, ..request };
        self.executor.execute(Arc::new(request)).await
    }

    /// Call a script of the first app once.
    pub async fn call_source(&self, source: &str, trigger_depth: u32, payload: Payload) -> Outcome {
        self.call(&self.script(1, source), Limits::default(), trigger_depth, payload).await
    }
}
