//! How a change reaches the data plane: a new active set after each change, never an older one after a newer one.

use std::sync::Arc;
use std::time::Duration;

use picloud_host::active::Active;
use picloud_host::limits::Limits;
use picloud_host::ports::StoreError;
use picloud_host::quota::Quotas;
use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::canary::Canaries;
use crate::identity::Identities;
use crate::store::{ChangeError, Store};

/// The longest wait between two tries to publish.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Publishes what the store has. Cheap to clone.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    store: Store,
    active: Arc<Active>,
    identities: Arc<Identities>,
    canaries: Canaries,
    limits: Limits,
    quotas: Quotas,
    /// Held from before the database is read until the set is published. So whoever reads later publishes later.
    turn: Mutex<()>,
}

impl Publisher {
    /// Publish `store` to `active`, with the same limits for every app, and with `quotas` for what an app has not set itself.
    #[must_use]
    pub fn new(store: Store, active: Arc<Active>, limits: Limits, quotas: Quotas) -> Self {
        let (identities, canaries) = (Arc::default(), Canaries::default());
        Self(Arc::new(Inner { store, active, identities, canaries, limits, quotas, turn: Mutex::new(()) }))
    }

    /// The quotas of every app that has none of its own.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.0.quotas
    }

    /// Everybody who is known, as published.
    #[must_use]
    pub fn identities(&self) -> &Arc<Identities> {
        &self.0.identities
    }

    /// The canaries that run, as published.
    #[must_use]
    pub fn canaries(&self) -> &Canaries {
        &self.0.canaries
    }

    /// Publish what is stored now. To be called once at start; changes go through [`Publisher::change`].
    ///
    /// # Errors
    ///
    /// The database failed; the set of before is still the published one.
    pub async fn publish(&self) -> Result<(), StoreError> {
        let turn = self.0.turn.lock().await;
        let set = self.0.store.active_set(&self.0.limits, &self.0.quotas).await?;
        let principals = self.0.store.principals().await?;
        let canaries = self.0.store.running_canaries().await?;
        self.0.active.publish(set);
        self.0.identities.replace(principals);
        let ended = self.0.canaries.replace(canaries);
        // What follows is for people; the next change need not wait for it.
        drop(turn);
        for (ended, result) in ended {
            // The store logs why it fails; what is lost then are numbers for people.
            let _ = self.0.store.keep_canary_result(ended, &result.to_json()).await;
        }
        Ok(())
    }

    /// Make a change and publish what follows from it, both even if the caller is dropped meanwhile: a client that
    /// hangs up must not leave behind a change that nobody sees.
    ///
    /// # Errors
    ///
    /// The change's own error; or publishing failed, in which case it is tried again until it works.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, ChangeError>> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let publisher = self.clone();
        let whole = async move {
            let changed = change.await?;
            match publisher.publish().await {
                Ok(()) => Ok(changed),
                Err(error) => {
                    tokio::spawn(publisher.publish_until_it_works());
                    Err(error.into())
                }
            }
        };
        tokio::spawn(whole.in_current_span()).await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a change did not end");
            Err(ChangeError::Store(StoreError("the change did not end".into())))
        })
    }

    async fn publish_until_it_works(self) {
        let mut delay = Duration::from_millis(100);
        loop {
            tokio::time::sleep(delay).await;
            if self.publish().await.is_ok() {
                return;
            }
            delay = MAX_RETRY_DELAY.min(delay * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Precondition;
    use crate::store::testing::{TestStore, name, upload};

    fn publisher(test: &TestStore) -> (Publisher, Arc<Active>) {
        let active = Arc::new(Active::default());
        (Publisher::new(test.store.clone(), active.clone(), Limits::default(), Quotas::default()), active)
    }

    fn put(
        test: &TestStore,
        source: &str,
    ) -> impl Future<Output = Result<u32, ChangeError>> + Send + 'static {
        let (store, app, upload) = (test.store.clone(), test.app, upload(source));
        async move {
            let (_, script) = store.put_script(app, &name("a"), &upload, &Precondition::default()).await?;
            Ok(script.version)
        }
    }

    fn version(active: &Active) -> Option<u32> {
        Some(active.current().apps.get("default")?.scripts.get("a")?.script.version)
    }

    #[tokio::test]
    async fn a_change_is_published_before_it_is_answered() {
        let test = TestStore::new().await;
        let (publisher, active) = publisher(&test);
        assert_eq!(publisher.change(put(&test, "1")).await.unwrap(), 1);
        assert_eq!(version(&active), Some(1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_changes_at_once_the_last_one_stays_published() {
        let test = TestStore::new().await;
        let (publisher, active) = publisher(&test);
        let changes = (0..32).map(|n: u32| {
            let (publisher, active, put) = (publisher.clone(), active.clone(), put(&test, &n.to_string()));
            tokio::spawn(async move {
                let number = publisher.change(put).await.unwrap();
                // What is published is never older than what was just answered.
                assert!(version(&active) >= Some(number));
            })
        });
        for task in changes.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(version(&active), Some(32));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_does_not_stop_the_change() {
        let test = TestStore::new().await;
        let (publisher, active) = publisher(&test);
        let held = test.database.write.acquire().await.unwrap();
        let change = tokio::time::timeout(Duration::from_millis(20), publisher.change(put(&test, "1")));
        assert!(change.await.is_err(), "the change should have waited for the connection");
        drop(held);
        while version(&active).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_could_not_be_published_is_published_later() {
        let test = TestStore::new().await;
        let (publisher, active) = publisher(&test);
        let (put, write) = (put(&test, "1"), test.database.write.clone());
        let change = async move {
            let number = put.await?;
            sqlx::raw_sql("alter table app rename to hidden").execute(&write).await?;
            Ok(number)
        };
        assert!(matches!(publisher.change(change).await, Err(ChangeError::Store(_))));
        assert_eq!(version(&active), None);
        sqlx::raw_sql("alter table hidden rename to app").execute(&test.database.write).await.unwrap();
        while version(&active).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
