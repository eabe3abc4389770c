//! An executor with a single slot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use picloud_host::aot::AotCache;
use picloud_host::budget::Budget;
use picloud_host::call::{AppId, ExecRequest, HttpCall, Payload, ScriptRef, SourceHash, VersionId};
use picloud_host::executor::{Executor, ExecutorConfig};
use picloud_host::limits::Limits;
use picloud_host::memory::MemoryKv;
use picloud_host::ports::{Scripts, StoreError, SystemClock};
use picloud_tests::TestApp;
use uuid::Uuid;

/// Fuel of each call.
pub(super) const FUEL: u64 = 2_000_000_000;

/// See the module.
pub(super) struct Slot {
    pub(super) executor: Executor,
    sources: Arc<Sources>,
}

/// Everything that can be seen of a call from outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Status and body, or the code of the failure.
    pub(super) answer: String,
    fuel: u64,
    memory_bytes: u64,
    pub(super) log: Vec<String>,
}

#[derive(Default)]
struct Sources(Mutex<HashMap<VersionId, Arc<str>>>);

#[async_trait::async_trait]
impl Scripts for Sources {
    async fn source(&self, version: VersionId) -> Result<Option<Arc<str>>, StoreError> {
        Ok(self.0.lock().unwrap().get(&version).cloned())
    }
}

impl Slot {
    pub(super) async fn new() -> Self {
        // For its compiled code.
        let app = TestApp::start().await;
        let cache = Dir::open_ambient_dir(app.data_dir().join("cache"), ambient_authority()).unwrap();
        let sources = Arc::new(Sources::default());
        let config = ExecutorConfig {
            budget: Budget { slots: 1, ..Budget::probe(Limits::default().memory_bytes) },
            aot: AotCache::in_dir(cache),
            image_cache_bytes: 64 << 20,
            scripts: sources.clone(),
            kv: Arc::new(MemoryKv::new()),
            clock: Arc::new(SystemClock),
        };
        let executor = tokio::task::spawn_blocking(|| Executor::new(config)).await.unwrap().unwrap();
        Self { executor, sources }
    }

    /// A script of an app.
    pub(super) fn script(&self, app: i64, source: &str) -> Arc<ScriptRef> {
        let mut sources = self.sources.0.lock().unwrap();
        let version_id = VersionId(i64::try_from(sources.len()).unwrap());
        sources.insert(version_id, source.into());
        Arc::new(ScriptRef {
            app_id: AppId(app),
            app: "app".into(),
            script: "script".into(),
            version_id,
            version: 1,
            source_hash: SourceHash::of(source),
        })
    }

    /// Call a script with `then` as its only parameter.
    pub(super) async fn call(&self, script: &Arc<ScriptRef>, then: &str) -> Seen {
        self.call_within(script, then, Limits { fuel: FUEL, ..Limits::default() }).await
    }

    /// The same, with other limits.
    pub(super) async fn call_within(&self, script: &Arc<ScriptRef>, then: &str, limits: Limits) -> Seen {
        let execution_id = Uuid::now_v7();
        let request = ExecRequest {
            script: script.clone(),
            execution_id,
            root_execution_id: execution_id,
            trigger_depth: 0,
            principal: None,
            limits,
            traceparent: None,
            payload: Payload::Http(HttpCall {
                method: "GET".to_owned(),
                path: "/".to_owned(),
                query: (!then.is_empty()).then(|| format!("then={then}")),
                ..HttpCall::default()
            }),
        };
        let outcome = self.executor.execute(Arc::new(request)).await;
        let answer = match outcome.result {
            Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(failure) => failure.code.as_str().to_owned(),
        };
        Seen {
            answer,
            fuel: outcome.cost.fuel,
            memory_bytes: outcome.cost.memory_bytes,
            log: outcome.log.into_iter().map(|line| line.message).collect(),
        }
    }
}
