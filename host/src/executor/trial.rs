//! A call that changes nothing: to see what a source would do before others call it.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::{Executor, Services};
use crate::call::{AppId, ExecRequest, HttpCall, Outcome, Payload, ScriptRef, SourceHash, VersionId};
use crate::limits::Limits;
use crate::loader::Trial;
use crate::ports::{
    CommitError, KeyRange, Kv, KvEntry, KvPage, Page, Scripts, Snapshot, StoreError, Transaction,
};

/// The version of a source that is none yet. Those in storage are positive.
const UNSTORED: VersionId = VersionId(-1);

/// Keys and values as they are, which nothing is written to.
struct Unwritten(Arc<dyn Kv>);

#[async_trait]
impl Kv for Unwritten {
    fn begin(&self) -> Snapshot {
        self.0.begin()
    }

    fn begin_stored(&self) -> Snapshot {
        self.0.begin_stored()
    }

    async fn read(&self, app: AppId, keys: &[Arc<str>]) -> Result<Vec<Option<KvEntry>>, StoreError> {
        self.0.read(app, keys).await
    }

    async fn list(&self, app: AppId, range: &KeyRange, page: Page) -> Result<KvPage, StoreError> {
        self.0.list(app, range, page).await
    }

    async fn settle(&self) -> Result<(), StoreError> {
        self.0.settle().await
    }

    /// What was read is not checked either: nobody acts upon it.
    async fn commit(&self, _: Transaction) -> Result<u64, CommitError> {
        Ok(self.0.begin().0)
    }

    async fn forget(&self, _: AppId) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The stored sources and one that is not stored yet.
struct WithOne {
    stored: Arc<dyn Scripts>,
    source: Arc<str>,
}

#[async_trait]
impl Scripts for WithOne {
    async fn source(&self, version: VersionId) -> Result<Option<Arc<str>>, StoreError> {
        if version == UNSTORED { Ok(Some(self.source.clone())) } else { self.stored.source(version).await }
    }
}

impl Executor {
    /// Call a source once. It reads what there is; what it writes, sends and makes happen is not done. It cannot send
    /// requests to other servers nor use files: that could not be taken back.
    pub async fn trial(&self, trial: Trial) -> Outcome {
        let Trial { app, app_name, script, source, call, limits, .. } = trial;
        let services = Services {
            kv: Arc::new(Unwritten(self.services.kv.clone())),
            grants: Arc::default(),
            server: false,
            mqtt: false,
            ..self.services.clone()
        };
        let stored = self.scripts.clone();
        let scripts = Arc::new(WithOne { stored, source: source.clone() });
        let executor = Arc::new(Self { services, scripts, ..self.clone() });
        let execution_id = Uuid::now_v7();
        executor.execute(Arc::new(request(app, app_name, script, &source, call, limits, execution_id))).await
    }
}

fn request(
    app_id: AppId,
    app: Arc<str>,
    script: Arc<str>,
    source: &str,
    call: HttpCall,
    limits: Limits,
    execution_id: Uuid,
) -> ExecRequest {
    let source_hash = SourceHash::of(source);
    let script = ScriptRef { app_id, app, script, version_id: UNSTORED, version: 0, source_hash };
    ExecRequest::root(Arc::new(script), execution_id, Arc::new(limits), Payload::Http(call))
}
