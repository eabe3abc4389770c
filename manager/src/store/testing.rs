//! For tests: a store in a temporary file, with a clock that the test moves.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use picloud_host::call::{AppId, EventCall};
use picloud_host::event::{Cause, EventFailure, EventKind, EventOp, Lane, NewEvent};
use picloud_host::loader::LoadReport;
use picloud_host::ports::Clock;
use picloud_host::sequencer::{Group, KvBackend as _};
use tempfile::TempDir;
use uuid::Uuid;

use crate::name::Name;
use crate::store::kv::KvTable;
use crate::store::script::Upload;
use crate::store::{Database, Durability, MIGRATOR, Store};
use crate::vault::Vault;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A store in a temporary file that is deleted at the end.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    pub(crate) database: Database,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) app: AppId,
    folder: TempDir,
}

impl TestStore {
    pub(crate) async fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap()).await
    }

    /// Close the file and open it again, as a restart does.
    pub(crate) async fn reopen(self) -> Self {
        self.database.close().await;
        Self::open(self.folder).await
    }

    async fn open(folder: TempDir) -> Self {
        let file = folder.path().join("picloud.db");
        let database = Database::open(&file, Durability::Full, &MIGRATOR).await.unwrap();
        let clock = Arc::new(TestClock(AtomicU64::new(1_700_000_000_000)));
        let store = Store::open(database.clone(), clock.clone()).await.unwrap();
        let store = store.with_vault(Arc::new(Vault::new(&[7; 32])));
        let app = store.app_id(&Name::default_app()).await.unwrap().unwrap();
        Self { store, database, clock, app, folder }
    }

    /// The table without a sequencer.
    pub(crate) fn table(&self) -> KvTable {
        KvTable::new(self.database.clone(), self.clock.clone())
    }

    /// Write a group in which nothing happens but this.
    pub(crate) async fn apply(&self, events: Vec<EventOp>) {
        self.table().apply(&Group { events, ..Group::default() }).await.unwrap();
    }

    /// How SQLite goes about a statement, a line for each step.
    pub(crate) async fn plan_of(&self, statement: &str) -> Vec<String> {
        let statement = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(statement).fetch_all(&self.database.read).await.unwrap();
        plan.into_iter().map(|(_, _, _, step)| step).collect()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("picloud.db")
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// An event of the app of a [`TestStore`], due at 10, in a lane such as `queue/a`, for the script `s`.
pub(crate) fn event(lane: &str) -> NewEvent {
    NewEvent {
        id: Uuid::now_v7(),
        app: AppId(1),
        trigger: None,
        script: "s".into(),
        lane: Lane::parse(lane).unwrap(),
        call: EventCall {
            id: "1".into(),
            source: "/default/test".into(),
            kind: "test".into(),
            subject: None,
            time_ms: 5,
            data: "null".into(),
            trigger: EventKind::Queue,
        },
        due_ms: 10,
        max_attempts: 5,
        dedupe_key: None,
        cause: Cause::outside(),
    }
}

pub(crate) fn insert(event: &NewEvent) -> EventOp {
    EventOp::Insert(Box::new(event.clone()))
}

pub(crate) fn claim(event: &NewEvent) -> EventOp {
    EventOp::Claim { id: event.id, attempt: 1, lease_ms: 99 }
}

pub(crate) fn bury(event: &NewEvent) -> EventOp {
    let failure = EventFailure { code: "script-error".into(), message: "no".into(), execution: None };
    EventOp::Bury { id: event.id, failure }
}

pub(crate) fn upload(source: &str) -> Upload {
    let report =
        LoadReport { handles_requests: true, handles_events: false, image_bytes: 300_000, fuel: 1234 };
    Upload {
        source: source.to_owned(),
        report,
        message: None,
        author: None,
        keep: None,
        smoke_fuel: None,
        activate: true,
    }
}
