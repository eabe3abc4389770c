//! Removes what deleted apps leave behind: bit by bit, so that others can write in between, and again after a restart
//! until nothing is left. An app that is put together from an archive is one of them until it is whole.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Apps that are put together, and are not removed meanwhile.
    unfinished: Mutex<HashSet<AppId>>,
    /// Held from before an app is stored that is to be put together until it is among those, and while they are left out.
    looking: tokio::sync::Mutex<()>,
}

/// An app that is put together. Nobody finds it; when this is dropped before it is finished, what there is of it is removed.
pub struct Unfinished {
    /// The app.
    pub app: AppId,
    removals: Arc<Removals>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.removals.unfinished().remove(&self.app);
        self.removals.deleted.notify_one();
    }
}

impl Removals {
    /// Remove from `store` and from `telemetry` what `kv` writes nothing to any more. [`Removals::run`] does it.
    #[must_use]
    pub fn new(store: Store, kv: Arc<dyn Kv>, telemetry: Arc<Telemetry>) -> Self {
        Self {
            store,
            kv,
            telemetry,
            deleted: Notify::new(),
            unfinished: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
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

    /// Begin to put an app together.
    ///
    /// # Errors
    ///
    /// [`ChangeError::TooManyApps`]; the database failed.
    pub async fn begin_app(self: &Arc<Self>) -> Result<Unfinished, ChangeError> {
        let _looking = self.looking.lock().await;
        let app = self.store.begin_app().await?;
        self.unfinished().insert(app);
        Ok(Unfinished { app, removals: Arc::clone(self) })
    }

    fn unfinished(&self) -> std::sync::MutexGuard<'_, HashSet<AppId>> {
        // A set of numbers is right after every panic.
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (unfinished, gone) = {
            let _looking = self.looking.lock().await;
            // Before the look: one that is finished between the two would be taken for one that was deleted.
            let unfinished = self.unfinished().clone();
            (unfinished, self.store.deleted_apps().await?)
        };
        for app in gone.into_iter().filter(|app| !unfinished.contains(app)) {
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
    use picloud_host::limits::Limits;
    use picloud_host::ports::{CommitError, Events as _, ExecutionLog as _, KeyRange, Page};
    use picloud_host::quota::Quotas;
    use picloud_host::route::Access;
    use picloud_host::sequencer::SequencerOptions;

    use super::*;
    use crate::store::app::AppSettings;
    use crate::store::archive::NewScript;
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
    async fn an_app_that_is_put_together_stays_until_it_is_given_up() {
        let (test, telemetry) = (TestStore::new().await, Fixture::new().await);
        let (removals, kv) = removals(&test, &telemetry).await;
        let (removals, none) = (Arc::new(removals), Precondition::default());
        let unfinished = removals.begin_app().await.unwrap();
        write(&*kv, unfinished.app, "a").await.unwrap();
        // Another one goes meanwhile.
        removals.delete(&name("default"), &none).await.unwrap();
        removals.pass().await.unwrap();
        assert_eq!(test.store.deleted_apps().await.unwrap(), [unfinished.app]);
        write(&*kv, unfinished.app, "b").await.unwrap();
        let given_up = unfinished.app;
        drop(unfinished);
        removals.pass().await.unwrap();
        assert_eq!(test.store.deleted_apps().await.unwrap(), []);
        assert!(matches!(write(&*kv, given_up, "c").await, Err(CommitError::AppGone)));
        assert_eq!(rows(&test).await.iter().map(|(_, count)| count).sum::<i64>(), 0);
    }

    #[tokio::test]
    async fn an_app_that_a_crash_has_left_half_put_together_goes_after_the_next_start() {
        let (test, telemetry) = (TestStore::new().await, Fixture::new().await);
        let before = rows(&test).await;
        {
            let (removals, kv) = removals(&test, &telemetry).await;
            let unfinished = Arc::new(removals).begin_app().await.unwrap();
            let script = NewScript {
                name: name("a"),
                access: Access::None,
                active: 1,
                previous: None,
                created_ms: 1,
                updated_ms: 1,
            };
            test.store.add_scripts(unfinished.app, &[script]).await.unwrap();
            write(&*kv, unfinished.app, "a").await.unwrap();
            // A process that is killed drops nothing.
            std::mem::forget(unfinished);
        }
        let test = test.reopen().await;
        assert_ne!(rows(&test).await, before);
        let set = test.store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
        assert_eq!(set.apps.keys().map(|name| &**name).collect::<Vec<_>>(), ["default"]);
        let (removals, _) = self::removals(&test, &telemetry).await;
        removals.prepare().await.unwrap();
        removals.pass().await.unwrap();
        assert_eq!(rows(&test).await, before);
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
