//! Deletes what has expired, each entry in a transaction of its own: one that has been set again stays.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use crate::event::Cause;
use crate::ports::{CommitError, Snapshot, StoreError, Transaction};
use crate::trigger::KvChange;

use super::Shared;
use super::backend::{Expiring, KvBackend};

/// How many entries are looked for at once.
const BATCH: usize = 256;

/// How many are deleted at the same time: each may make events that carry its value.
const AT_ONCE: usize = 8;

/// How long to wait after the store has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Delete expired entries until the task is aborted. Sleeps until the next one expires, and without an end when none
/// does.
pub(super) async fn run<B: KvBackend>(shared: Arc<Shared<B>>) {
    loop {
        sleep_until_due(&shared).await;
        let pause = match pass(&shared).await {
            Ok(()) => shared.options.reaper_pause,
            Err(error) => {
                tracing::warn!(%error, "cannot delete expired keys");
                shared.lock().expires(Some(0));
                AFTER_FAILURE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn sleep_until_due<B: KvBackend>(shared: &Shared<B>) {
    loop {
        // Before the look at the time: a change after it leaves a permit behind.
        let changed = shared.expiry.notified();
        let next = shared.lock().next_expiry();
        let now = shared.options.clock.now_ms();
        match next {
            Some(at) if at <= now => return,
            Some(at) => tokio::select! {
                () = changed => {}
                () = shared.options.clock.until(at) => {}
            },
            None => changed.await,
        }
    }
}

/// Delete everything that has expired by now, and learn when the next entry does.
async fn pass<B: KvBackend>(shared: &Shared<B>) -> Result<(), StoreError> {
    loop {
        // Taken before the store is asked: what becomes durable from here on is noted again.
        shared.lock().take_next_expiry();
        let snapshot = shared.begin();
        let now = shared.options.clock.now_ms();
        let mut soonest = shared.backend.expiring(BATCH).await?;
        let next = soonest.iter().map(|entry| entry.expires_ms).find(|at| *at > now);
        let whole_batch = soonest.len() == BATCH && next.is_none();
        soonest.retain(|entry| entry.expires_ms <= now);

        let deletes = stream::iter(soonest.into_iter().map(|entry| delete(shared, entry, snapshot)));
        let mut outcomes = deletes.buffer_unordered(AT_ONCE);
        let mut deleted = 0;
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(_) => deleted += 1,
                // Set again or deleted since; the newer entry is noted when it is durable. Those of an app that is gone are
                // removed with it.
                Err(
                    CommitError::Conflict
                    | CommitError::EventGone
                    | CommitError::AppGone
                    | CommitError::TooManyEvents,
                ) => {}
                Err(CommitError::Store(error)) => return Err(error),
                // There is nobody left to be told, and the deletion alone makes nothing more.
                Err(CommitError::Quota(_)) => {}
            }
        }
        // Without progress the entries in the way are being written right now: the next pass will see.
        shared.lock().expires(if whole_batch { Some(now) } else { next });
        if !whole_batch || deleted == 0 {
            return Ok(());
        }
    }
}

async fn delete<B: KvBackend>(
    shared: &Shared<B>,
    entry: Expiring,
    snapshot: Snapshot,
) -> Result<u64, CommitError> {
    let mut transaction = Transaction::new(entry.app, snapshot, Cause::outside());
    transaction.reads = vec![(Arc::clone(&entry.key), entry.version)];
    transaction.writes = vec![(entry.key, None)];
    match shared.commit(transaction.clone(), KvChange::Expire).await {
        // A key that nobody can be told of must not stay for ever, and keep others from being deleted.
        Err(error @ (CommitError::TooManyEvents | CommitError::Quota(_))) => {
            tracing::warn!(app = entry.app.0, %error, "of a key that has expired no trigger is told");
            shared.order(transaction).await
        }
        other => other,
    }
}
