//! An executor without a server around it, for calls that nothing makes over HTTP.

use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use picloud_host::aot::AotCache;
use picloud_host::budget::Budget;
use picloud_host::call::{AppId, ExecRequest, Outcome, Payload, ScriptRef, SourceHash, VersionId};
use picloud_host::executor::{Executor, ExecutorConfig};
use picloud_host::limits::Limits;
use picloud_host::memory::{MemoryKv, MemoryScripts};
use picloud_host::ports::SystemClock;
use tempfile::TempDir;
use uuid::Uuid;

use crate::aot;

/// An executor with scripts, keys and values in memory.
pub struct BareExecutor {
    executor: Executor,
    scripts: Arc<MemoryScripts>,
    _data: TempDir,
}

impl BareExecutor {
    /// Make one.
    pub async fn start() -> Self {
        let data = tempfile::tempdir().expect("a temporary directory can be made");
        let scripts = Arc::new(MemoryScripts::default());
        let executor = aot::with_cache(data.path(), async {
            let cache = Dir::open_ambient_dir(data.path().join("cache"), ambient_authority());
            Executor::new(ExecutorConfig {
                budget: Budget::probe(Limits::default().memory_bytes),
                aot: AotCache::in_dir(cache.expect("the cache is there")),
                image_cache_bytes: 16 << 20,
                scripts: scripts.clone(),
                kv: Arc::new(MemoryKv::new()),
                clock: Arc::new(SystemClock),
            })
        });
        let executor = executor.await.expect("an executor starts");
        Self { executor, scripts, _data: data }
    }

    /// Run one call of a script that needs not have been loaded.
    pub async fn call(&self, source: &str, trigger_depth: u32, payload: Payload) -> Outcome {
        let execution_id = Uuid::now_v7();
        // Each source is a script of its own.
        let source_hash = SourceHash::of(source);
        let version = VersionId(i64::from(source_hash.0[0]) << 8 | i64::from(source_hash.0[1]));
        self.scripts.insert(version, source);
        let request = ExecRequest {
            script: Arc::new(ScriptRef {
                app_id: AppId(1),
                app: "default".into(),
                script: "bare".into(),
                version_id: version,
                version: 1,
                source_hash,
            }),
            execution_id,
            root_execution_id: execution_id,
            trigger_depth,
            principal: None,
            limits: Limits::default(),
            traceparent: None,
            payload,
        };
        self.executor.execute(Arc::new(request)).await
    }
}
