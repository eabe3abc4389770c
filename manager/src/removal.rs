//! Removes what deleted apps leave behind: bit by bit, so that others can write in between, and again after a restart
//! until nothing is left.

use std::sync::Arc;
use std::time::Duration;

use picloud_host::call::AppId;
use picloud_host::ports::{Kv, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::name::Name;
use crate::store::{ChangeError, Precondition, Store};
use crate::telemetry::Telemetry;

/// How long to wait after the store has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Deletes apps, and removes what they own.
pub struct Removals {
    store: Store,
    kv: Arc<dyn Kv>,
    telemetry: Arc<Telemetry>,
    deleted: Notify,
}

impl Removals {
    /// Remove from `store` and from `telemetry` what `kv` writes nothing to any more. [`Removals::run`] does it.
    #[must_use]
    pub fn new(store: Store, kv: Arc<dyn Kv>, telemetry: Arc<Telemetry>) -> Self {
        Self { store, kv, telemetry, deleted: Notify::new() }
    }

    /// Let nothing be written for apps that were deleted before the start. To be called before anything runs.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        for app in self.store.deleted_apps().await? {
            self.kv.forget(app).await?;
        }
        Ok(())
    }

    /// Delete an app. From then on nobody finds it, and nothing of it is written; what it owns is removed later.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoApp`] and [`ChangeError::Precondition`]; the database failed.
    pub async fn delete(&self, name: &Name, precondition: &Precondition) -> Result<(), ChangeError> {
        let app = self.store.delete_app(name, precondition).await?;
        // It is deleted, and nothing more of it is taken, also when what was taken before could not be written.
        if let Err(error) = self.kv.forget(app).await {
            tracing::warn!(%error, app = app.0, "what a deleted app was about to write is lost");
        }
        self.deleted.notify_one();
        Ok(())
    }

    /// Remove what is left of deleted apps until told to stop. Sleeps while there is none.
    pub async fn run(&self, stop: CancellationToken) {
        let remove = async {
            loop {
                match self.pass().await {
                    Ok(()) => self.deleted.notified().await,
                    // The store has logged why.
                    Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
                }
            }
        };
        // What is half done goes on after the next start.
        let _ = stop.run_until_cancelled(remove).await;
    }

    async fn pass(&self) -> Result<(), StoreError> {
        for app in self.store.deleted_apps().await? {
            self.remove(app).await?;
            tracing::info!(app = app.0, "nothing is left of a deleted app");
        }
        Ok(())
    }

    async fn remove(&self, app: AppId) -> Result<(), StoreError> {
        // A pass may see an app before whoever deletes it has come so far.
        self.kv.forget(app).await?;
        // Before the app's row goes, which says that there is something to do.
        if self.telemetry.database().is_ok() {
            self.telemetry.forget(app).await?;
        }
        while self.store.remove_rows(app).await? {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use picloud_host::call::ScriptRef;
    use picloud_host::event::Lane;
    use picloud_host::kv_conformance::{json, nothing};
    use picloud_host::ports::{CommitError, Events as _, ExecutionLog as _, KeyRange, Page};
    use picloud_host::sequencer::SequencerOptions;

    use super::*;
    use crate::store::app::AppSettings;
    use crate::store::kv;
    use crate::store::script::Put;
    use crate::store::testing::{TestStore, bury, claim, event, insert, name, upload};
    use crate::telemetry::Pending;
    use crate::telemetry::tests::{Fixture, succeeded};

    async fn rows(test: &TestStore) -> Vec<(String, i64)> {
        let mut counts = Vec::new();
        for table in ["app", "script", "script_version", "kv", "event", "answer_total"] {
            let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
            counts.push((
                table.to_owned(),
                sqlx::query_scalar(count).fetch_one(&test.database.read).await.unwrap(),
            ));
        }
        counts
    }

    async fn removals(test: &TestStore, telemetry: &Fixture) -> (Removals, Arc<kv::SqliteKv>) {
        let kv = Arc::new(kv::open(test.database.clone(), SequencerOptions::default()).await.unwrap());
        (Removals::new(test.store.clone(), kv.clone(), telemetry.telemetry.clone()), kv)
    }

    async fn write(kv: &dyn Kv, app: AppId, key: &str) -> Result<u64, CommitError> {
        let mut transaction = nothing(app);
        transaction.snapshot = kv.begin();
        transaction.writes = vec![(key.into(), Some(json("1")))];
        kv.commit(transaction).await
    }

    #[tokio::test]
    async fn nothing_is_left_of_a_deleted_app_and_all_of_another() {
        let (test, telemetry) = (TestStore::new().await, Fixture::new().await);
        let (removals, kv) = removals(&test, &telemetry).await;
        let none = Precondition::default();
        let (put, other) = test.store.put_app(&name("other"), &AppSettings::default(), &none).await.unwrap();
        assert_eq!(put, Put::Created);
        let kept = rows(&test).await;
        for app in [test.app, other.id] {
            for number in 0..3 {
                test.store.put_script(app, &name("a"), &upload(&number.to_string()), &none).await.unwrap();
            }
            for key in 0..1200 {
                write(&*kv, app, &format!("key/{key}")).await.unwrap();
            }
        }
        let (waiting, running, dead) = (event("script/a"), event("script/a"), event("queue/q"));
        test.apply(vec![insert(&waiting), insert(&running), insert(&dead)]).await;
        test.apply(vec![claim(&running), claim(&dead), bury(&dead)]).await;
        let mut record = succeeded();
        record.script = Arc::new(ScriptRef { app_id: test.app, ..(*record.script).clone() });
        telemetry.telemetry.record(record);
        removals.delete(&name("default"), &none).await.unwrap();
        assert!(matches!(write(&*kv, test.app, "late").await, Err(CommitError::AppGone)));
        write(&*kv, other.id, "late").await.unwrap();
        removals.pass().await.unwrap();
        let expected: Vec<_> = kept
            .into_iter()
            .map(|(table, _)| {
                let count = match &*table {
                    "app" | "script" => 1,
                    "script_version" => 3,
                    "kv" => 1201,
                    _ => 0,
                };
                (table, count)
            })
            .collect();
        assert_eq!(rows(&test).await, expected);
        telemetry.telemetry.flush(Pending::All).await;
        let database = telemetry.telemetry.database().unwrap();
        for table in ["execution", "execution_minute"] {
            let count = sqlx::AssertSqlSafe(format!("select count(*) from {table} where app_id = 1"));
            let count: i64 = sqlx::query_scalar(count).fetch_one(&database.read).await.unwrap();
            assert_eq!(count, 0, "{table}");
        }
        let range = KeyRange { prefix: "".into(), after: None, until: None };
        let page = kv.list(other.id, &range, Page { entries: 10_000, bytes: usize::MAX }).await.unwrap();
        assert_eq!(page.entries.len(), 1201);
    }

    #[tokio::test]
    async fn what_a_crash_has_left_goes_after_the_next_start_and_nothing_comes_to_it() {
        let (test, telemetry) = (TestStore::new().await, Fixture::new().await);
        let none = Precondition::default();
        test.apply(vec![insert(&event("script/a"))]).await;
        test.store.delete_app(&name("default"), &none).await.unwrap();
        let old = test.app;
        // The name is free, and the new app has nothing of the old one.
        let (_, new) = test.store.put_app(&name("default"), &AppSettings::default(), &none).await.unwrap();
        assert_ne!(new.id, old);
        let test = test.reopen().await;
        assert_eq!(test.app, new.id);
        let (removals, kv) = removals(&test, &telemetry).await;
        removals.prepare().await.unwrap();
        assert!(matches!(write(&*kv, old, "a").await, Err(CommitError::AppGone)));
        assert_eq!(kv.waiting(old, &Lane::parse("script/a").unwrap(), 10).await.unwrap().len(), 1);
        removals.pass().await.unwrap();
        assert_eq!(test.store.deleted_apps().await.unwrap(), []);
        assert_eq!(kv.waiting(old, &Lane::parse("script/a").unwrap(), 10).await.unwrap().len(), 0);
        assert_eq!(test.store.apps(None, 10).await.unwrap().len(), 1);
    }
}
