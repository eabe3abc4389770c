//! Optimistic transactions over a plain store: commits are ordered in memory and become durable in groups.
//!
//! In reading order: `backend` (what a store must do), `range` (bounds and pages), `overlay` (the newest versions in
//! memory), `log` (who touched what since when), `claims` (whose an event is), `state` (the order of commits), `usage` (what apps keep, against their quotas), `writer`
//! (makes groups durable), `read` (gets and lists), `watch` (the events that follow from changes of keys), `reaper`
//! (deletes what has expired), and here the port that ties them together.
//!
//! # Why it is right
//!
//! * *Order.* A transaction is checked and numbered in one step under the mutex, so the numbers are an order in which
//!   each transaction sees exactly the effects of those before it. Groups become durable in this order, each whole.
//! * *Reading what is not durable yet* is allowed, because whoever has read it is behind it in the order: when its
//!   group fails, everything that is not durable fails with it, and nobody is answered before that is settled. A
//!   transaction that only reads waits in its commit for what it has read.
//! * *A failed group* leaves no trace: slots that are not durable are dropped, and the number moves on, so a version
//!   that was seen and lost never comes again and a later check of it fails.
//! * *A key without a slot* has in the store what it has in the order: a slot leaves only when it is durable, and is
//!   visible in the store before that. An answer of the store may be out of date when it arrives; it is kept only if
//!   nothing newer is there and nothing newer than the start of the read was evicted. It may be given to the reader
//!   all the same: the reader's snapshot is older than what was evicted, so its check looks into the log.

mod backend;
mod claims;
mod log;
mod overlay;
mod range;
mod read;
mod reaper;
mod state;
mod usage;
mod watch;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::active::Active;
use crate::answer::AnswerOp;
use crate::call::AppId;
use crate::dispatcher::Lanes;
use crate::event::{EventOp, Lane, StoredEvent};
use crate::follow::Followers;
use crate::ports::{
    Clock, CommitError, Events, KeyRange, Kv, KvEntry, KvPage, LaneDue, Page, Snapshot, StoreError,
    SystemClock, Transaction,
};

use crate::trigger::KvChange;

pub use backend::{Change, Expiring, Group, KvBackend};
pub use range::{Bounds, Filling, as_strs, bounds};
pub use usage::Usage;

use state::{Sequenced, State, Written};
use usage::{Fit, Replaced};

/// The unit in which room in the queue is counted, in bytes.
const ROOM_UNIT: usize = 1024;

/// How a sequencer is set up.
#[derive(Clone)]
pub struct SequencerOptions {
    /// Bytes of durable entries to keep in memory. Those that are not durable yet come on top.
    pub cache_bytes: usize,
    /// Bytes of keys and values that may wait to be written; beyond it, commits wait before they are ordered.
    pub queue_bytes: usize,
    /// How long the reaper rests between two passes, so that many keys that expire one after another go together.
    pub reaper_pause: Duration,
    /// The time by which entries expire.
    pub clock: Arc<dyn Clock>,
    /// Has the triggers that look at keys.
    pub active: Arc<Active>,
    /// Is told where events wait.
    pub lanes: Arc<Lanes>,
    /// Are told what has become durable about the calls that they follow.
    pub followers: Arc<Followers>,
}

impl Default for SequencerOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            queue_bytes: 64 << 20,
            reaper_pause: Duration::from_secs(1),
            clock: Arc::new(SystemClock),
            active: Arc::default(),
            lanes: Arc::default(),
            followers: Arc::default(),
        }
    }
}

/// [`Kv`] over a store. Dropping it takes no more commits; those in the queue are still written.
pub struct Sequencer<B: KvBackend> {
    shared: Arc<Shared<B>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    reaper: JoinHandle<()>,
}

/// What the port, the writer and the reaper share.
struct Shared<B> {
    backend: B,
    state: Mutex<State>,
    queue: Arc<Semaphore>,
    /// Wakes the writer.
    work: Notify,
    /// Wakes the reaper.
    expiry: Notify,
    options: SequencerOptions,
}

impl<B: KvBackend> Sequencer<B> {
    /// Start ordering commits. `newest` is the number of the newest commit in the store. Must be called in a Tokio
    /// runtime, in which two tasks will run: the writer and the reaper. Neither wakes up when there is nothing to do.
    #[must_use]
    pub fn start(backend: B, newest: u64, options: SequencerOptions) -> Self {
        let shared = Arc::new(Shared {
            backend,
            state: Mutex::new(State::new(newest, options.cache_bytes)),
            queue: Arc::new(Semaphore::new(options.queue_bytes / ROOM_UNIT + 1)),
            work: Notify::new(),
            expiry: Notify::new(),
            options,
        });
        let writer = tokio::spawn(writer::run(Arc::clone(&shared)));
        let reaper = tokio::spawn(reaper::run(Arc::clone(&shared)));
        Self { shared, writer: Mutex::new(Some(writer)), reaper }
    }

    /// Take no more commits, and return when all that were taken are written.
    pub async fn close(&self) {
        self.stop();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the writer of keys and values has failed");
        }
    }

    fn stop(&self) {
        self.reaper.abort();
        self.shared.lock().close();
        self.shared.work.notify_one();
    }
}

impl<B: KvBackend> Drop for Sequencer<B> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<B: KvBackend> Shared<B> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock leaves the state half changed on a panic that could be survived.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Snapshot {
        Snapshot(self.lock().number())
    }

    async fn settle(&self) -> Result<(), StoreError> {
        // Bound to a name so that the lock is given back before anything is awaited.
        let settling = self.lock().settle();
        match settling {
            Some(written) => heard(written.await).map(drop),
            None => Ok(()),
        }
    }

    /// Put a transaction into the order as it is, and wait until it is durable.
    async fn order(&self, transaction: Transaction) -> Result<u64, CommitError> {
        let sequenced = if transaction.is_read_only() {
            self.lock().confirm(&transaction)?
        } else {
            let room = Arc::clone(&self.queue)
                .acquire_many_owned(self.room_for(&transaction))
                .await
                .map_err(|_| StoreError("it has been closed".into()))?;
            let sequenced = self.sequence(transaction, room).await?;
            self.work.notify_one();
            sequenced
        };
        match sequenced {
            Sequenced::Done(number) => Ok(number),
            Sequenced::Wait(written) => Ok(heard(written.await)?),
        }
    }

    /// Put a transaction that writes into the order, if the quotas of its app allow it.
    async fn sequence(
        &self,
        transaction: Transaction,
        room: OwnedSemaphorePermit,
    ) -> Result<Sequenced, CommitError> {
        let (app, quotas) = (transaction.app, self.quotas(transaction.app));
        let mut replaced = None;
        loop {
            let fit = {
                let mut state = self.lock();
                match state.fits(&transaction, &quotas, replaced.as_ref().unwrap_or(&Replaced::new())) {
                    Fit::Yes(growth) => return state.sequence(transaction, growth, room),
                    // Whoever runs again may want less.
                    Fit::No(_) if !state.is_current(&transaction) => return Err(CommitError::Conflict),
                    fit => fit,
                }
            };
            match fit {
                Fit::No(exceeded) if replaced.is_some() => return Err(exceeded.into()),
                Fit::No(_) => {
                    replaced = Some(self.replaced(&transaction).await?);
                    self.learn_usage(app).await?;
                }
                _ => self.learn_usage(app).await?,
            }
        }
    }

    /// Units of room that a transaction needs in the queue, at most all there are.
    fn room_for(&self, transaction: &Transaction) -> u32 {
        let bytes: usize =
            transaction.writes.iter().map(|(key, write)| overlay::size(key, write.as_ref())).sum();
        let bytes = bytes + transaction.events.iter().map(EventOp::size).sum::<usize>();
        let bytes = bytes + transaction.answers.iter().map(AnswerOp::size).sum::<usize>();
        let units = (bytes.div_ceil(ROOM_UNIT)).min(self.options.queue_bytes / ROOM_UNIT + 1);
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

/// What the writer said, if it lived to say it.
fn heard(word: Result<Written, RecvError>) -> Written {
    word.unwrap_or_else(|_| Err(StoreError("the writer has stopped".into())))
}

#[async_trait]
impl<B: KvBackend> Kv for Sequencer<B> {
    fn begin(&self) -> Snapshot {
        self.shared.begin()
    }

    fn begin_stored(&self) -> Snapshot {
        Snapshot(self.shared.lock().durable())
    }

    async fn read(&self, app: AppId, keys: &[Arc<str>]) -> Result<Vec<Option<KvEntry>>, StoreError> {
        self.shared.read(app, keys).await
    }

    async fn list(&self, app: AppId, range: &KeyRange, page: Page) -> Result<KvPage, StoreError> {
        self.shared.list(app, range, page).await
    }

    async fn settle(&self) -> Result<(), StoreError> {
        self.shared.settle().await
    }

    async fn commit(&self, transaction: Transaction) -> Result<u64, CommitError> {
        self.shared.commit(transaction, KvChange::Delete).await
    }

    async fn forget(&self, app: AppId) -> Result<(), StoreError> {
        self.shared.lock().forget(app);
        self.shared.settle().await
    }
}

#[async_trait]
impl<B: KvBackend> Events for Sequencer<B> {
    async fn lanes(&self) -> Result<Vec<LaneDue>, StoreError> {
        self.shared.backend.events().lanes().await
    }

    async fn waiting(&self, app: AppId, lane: &Lane, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.shared.backend.events().waiting(app, lane, limit).await
    }

    async fn event(&self, app: AppId, id: Uuid) -> Result<Option<StoredEvent>, StoreError> {
        self.shared.backend.events().event(app, id).await
    }

    async fn waiting_for(
        &self,
        app: AppId,
        script: &str,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.shared.backend.events().waiting_for(app, script, limit).await
    }
}
