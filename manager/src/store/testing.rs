//! For tests: a store in a temporary file, with a clock that the test moves.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use picloud_host::call::AppId;
use picloud_host::loader::LoadReport;
use picloud_host::ports::Clock;
use tempfile::TempDir;

use crate::name::Name;
use crate::store::script::Upload;
use crate::store::{Database, Durability, MIGRATOR, Store};

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
        let app = store.app_id(&Name::default_app()).await.unwrap().unwrap();
        Self { store, database, clock, app, folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("picloud.db")
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn upload(source: &str) -> Upload {
    let report =
        LoadReport { handles_requests: true, handles_events: false, image_bytes: 300_000, fuel: 1234 };
    Upload { source: source.to_owned(), report }
}
