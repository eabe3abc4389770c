//! Schedules: events that the clock makes.
//!
//! When a schedule is due next is a column of its row. A time becomes an event in the same transaction that moves this
//! column on, so whatever happens between two times, and whenever the process is killed, no time is lost or comes
//! twice.
//!
//! In reading order: [`Scheduler`], `occurrence` (what a schedule makes), `policy` (for which of its times), `cron`
//! (which times it has).

pub mod cron;
mod occurrence;
mod policy;
#[cfg(test)]
mod tests;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use picloud_host::call::AppId;
use picloud_host::event::{Cause, EventOp};
use picloud_host::ports::{Clock, CommitError, Kv, StoreError, Transaction};
use picloud_host::quota::StorageQuota;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::name::Name;
use crate::store::Store;
use crate::store::trigger::{Trigger, TriggerConfig};
use cron::{Cron, CronError};
use policy::{Decision, MAX_EVENTS, Situation, decide};

/// How many schedules are looked at together.
const BATCH: u32 = 64;

/// The wait before a second look when storage fails. It doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest wait when storage fails.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Makes the events of schedules when their times come. It sleeps until then, and for ever when there are none.
pub struct Scheduler {
    store: Store,
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    changed: Notify,
}

/// Why a schedule did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunNowError {
    /// There is no such trigger.
    #[error("there is no such trigger")]
    NoTrigger,
    /// It is a trigger of another kind.
    #[error("the trigger is no schedule")]
    NoSchedule,
    /// The app has as many stored events as it may.
    #[error(transparent)]
    Quota(#[from] StorageQuota),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Scheduler {
    /// A scheduler for the schedules in `store`. It writes through `kv`, which is over the same database.
    #[must_use]
    pub fn new(store: Store, kv: Arc<dyn Kv>, clock: Arc<dyn Clock>) -> Self {
        Self { store, kv, clock, changed: Notify::new() }
    }

    /// When a trigger that is stored at `after_ms` is due for the first time, later than that: both in milliseconds
    /// since the Unix epoch. None for other kinds than schedules.
    ///
    /// # Errors
    ///
    /// What is wrong with the schedule.
    pub fn next_of(config: &TriggerConfig, after_ms: u64) -> Result<Option<u64>, CronError> {
        Ok(cron_of(config)?.and_then(|cron| cron.next_after(after_ms)))
    }

    /// When a trigger will be due the next `count` times, later than `after_ms`: all in milliseconds since the Unix
    /// epoch. Never for other kinds than schedules.
    ///
    /// # Errors
    ///
    /// What is wrong with the schedule.
    pub fn preview(config: &TriggerConfig, count: usize, after_ms: u64) -> Result<Vec<u64>, CronError> {
        Ok(cron_of(config)?.map(|cron| cron.next(count, after_ms)).unwrap_or_default())
    }

    /// To be called whenever a trigger was stored or deleted: another one may be due next.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    /// Make an event of a schedule at once. It counts as its event for overlaps; when the schedule is due stays as it
    /// is.
    ///
    /// # Errors
    ///
    /// There is no such schedule; the app has as many stored events as it may; storage failed.
    pub async fn run_now(&self, app: AppId, name: &Name) -> Result<(), RunNowError> {
        let schedule = self.store.trigger(app, name).await?.ok_or(RunNowError::NoTrigger)?;
        let TriggerConfig::Schedule { data, .. } = &schedule.config else {
            return Err(RunNowError::NoSchedule);
        };
        let now_ms = self.clock.now_ms();
        let committed = self.commit(app, vec![occurrence::insert(&schedule, data, now_ms, now_ms)]).await;
        committed.map_err(|error| match error {
            CommitError::Quota(exceeded) => exceeded.into(),
            error => RunNowError::Store(storage(error)),
        })
    }

    /// Make events until `stop`. While storage fails they are late, and nothing else.
    pub async fn run(&self, stop: CancellationToken) {
        let mut retry = FIRST_RETRY;
        while !stop.is_cancelled() {
            // Before the look, so that a change that comes while it looks is not overlooked.
            let changed = self.changed.notified();
            let next = self.look().await;
            match &next {
                Ok(_) => retry = FIRST_RETRY,
                // The store says why, and with every try; that schedules wait for it is said once.
                Err(_) if retry == FIRST_RETRY => tracing::warn!("schedules have to wait for the storage"),
                Err(_) => {}
            }
            let due = async {
                match next {
                    Ok(Some(next_ms)) => self.clock.until(next_ms).await,
                    Ok(None) => pending().await,
                    Err(_) => {
                        tokio::time::sleep(retry).await;
                        retry = (retry * 2).min(LAST_RETRY);
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed => {}
                () = due => {}
            }
        }
    }

    /// Make the events of all schedules that are due. When the next one is, in milliseconds since the Unix epoch; none
    /// when none ever is.
    async fn look(&self) -> Result<Option<u64>, StoreError> {
        loop {
            let now_ms = self.clock.now_ms();
            let due = self.store.due_schedules(now_ms, BATCH).await?;
            if due.is_empty() {
                return self.store.next_schedule().await;
            }
            // All at once, so that one wait for the disk serves all of them, and one that fails does not stop the
            // others.
            let advanced = join_all(due.iter().map(|schedule| self.advance(schedule, now_ms))).await;
            advanced.into_iter().collect::<Result<(), StoreError>>()?;
        }
    }

    /// Make the events of a schedule that is due, and say when it is due next: both or none.
    async fn advance(&self, schedule: &Trigger, now_ms: u64) -> Result<(), StoreError> {
        let Some(from_ms) = schedule.next_ms else { return Ok(()) };
        let (mut ops, next_ms) = self.due(schedule, from_ms, now_ms).await?;
        // If somebody has changed the schedule since it was read, that is another one, which says itself when it is
        // due. The events are still right: the time of the one that was there before had come before it was changed.
        let advance = EventOp::Advance { trigger: schedule.id, from_ms, next_ms };
        ops.push(advance.clone());
        match self.commit(schedule.app_id, ops).await {
            // Whoever tried it again would hold up the schedules of every other app.
            Err(CommitError::Quota(exceeded)) => {
                tracing::warn!(app = %schedule.app, trigger = %schedule.name, %exceeded, "a schedule is passed over");
                self.commit(schedule.app_id, vec![advance]).await.map_err(storage)
            }
            other => other.map_err(storage),
        }
    }

    /// The events of a schedule that is due, and when it is due next.
    async fn due(
        &self,
        schedule: &Trigger,
        next_ms: u64,
        now_ms: u64,
    ) -> Result<(Vec<EventOp>, Option<u64>), StoreError> {
        let Trigger { app, name, .. } = schedule;
        let cron = match cron_of(&schedule.config) {
            Ok(Some(cron)) => cron,
            Ok(None) => return Ok((Vec::new(), None)),
            // It was right when it was stored. The name of its time zone may be gone with an upgrade of the system.
            Err(error) => {
                tracing::error!(%app, trigger = %name, %error, "the schedule is not understood and runs no more");
                return Ok((Vec::new(), None));
            }
        };
        let TriggerConfig::Schedule { missed, overlap, jitter_ms, data, .. } = &schedule.config else {
            return Ok((Vec::new(), None));
        };
        let (missed, overlap) = (*missed, *overlap);
        let live = self.store.has_live_event(schedule.id).await?;
        let situation = Situation { cron: &cron, next_ms, now_ms, missed, overlap, live };
        let Decision { times_ms, too_many, next_ms } = decide(&situation);
        if too_many {
            let kept = MAX_EVENTS;
            tracing::warn!(%app, trigger = %name, kept, "a schedule has missed more than it can make up for");
        }
        let insert =
            |at_ms: &u64| occurrence::insert(schedule, data, *at_ms, occurrence::due_ms(*at_ms, *jitter_ms));
        Ok((times_ms.iter().map(insert).collect(), next_ms))
    }

    async fn commit(&self, app: AppId, ops: Vec<EventOp>) -> Result<(), CommitError> {
        let mut transaction = Transaction::new(app, self.kv.begin(), Cause::outside());
        transaction.events = ops;
        match self.kv.commit(transaction).await {
            Ok(_) | Err(CommitError::AppGone) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn storage(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        // It has read nothing and ends no event.
        error => StoreError(error.to_string()),
    }
}

/// The expression of a schedule; none for other kinds of triggers.
fn cron_of(config: &TriggerConfig) -> Result<Option<Cron>, CronError> {
    let TriggerConfig::Schedule { cron, timezone, .. } = config else { return Ok(None) };
    Cron::parse(cron, timezone).map(Some)
}
