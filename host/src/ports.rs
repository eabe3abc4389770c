//! What the data plane needs from whoever stores things. `manager` implements these over SQL; `memory` in memory.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use uuid::Uuid;

pub use crate::clock::{Clock, SystemClock};

use crate::answer::{AnswerOp, Idempotency, KeptCall, KeptTotals};
use crate::call::{Answer, AppId, Cost, Fault, LogLine, Position, Principal, ScriptRef, VersionId};
use crate::event::{Cause, EventOp, Lane, StoredEvent};
use crate::problem::Code;
use crate::quota::StorageQuota;

/// Storage failed in a way that is ours: nothing was done, trying again later may help. The cause is logged where it
/// happens; it is not for users.
#[derive(Debug, thiserror::Error)]
#[error("storage is unavailable: {0}")]
pub struct StoreError(pub String);

/// Sources of script versions, for rebuilding the image of a cold script.
#[async_trait]
pub trait Scripts: Send + Sync {
    /// The source of a version; none when it has been deleted.
    async fn source(&self, version: VersionId) -> Result<Option<Arc<str>>, StoreError>;
}

/// A value in KV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvValue {
    /// JSON text, as written.
    Json(Arc<str>),
    /// Bytes.
    Blob(Bytes),
}

impl KvValue {
    /// Length in bytes, as the limits and quotas count it.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A key's value with what the transaction check needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEntry {
    /// The value.
    pub value: KvValue,
    /// The number of the commit that wrote it; grows with every commit.
    pub version: u64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
}

impl KvEntry {
    /// Whether the entry counts as gone at `now_ms`.
    #[must_use]
    pub fn expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at <= now_ms)
    }
}

/// A point in the order of commits, taken before the first read of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Snapshot(pub u64);

/// What a transaction has read and wants to write, for one app.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// The app whose keys these are.
    pub app: AppId,
    /// From [`Kv::begin`], before the first read.
    pub snapshot: Snapshot,
    /// Each key read, with the version seen: 0 when there was no entry at all. An entry that had expired is given with
    /// its own version.
    pub reads: Vec<(Arc<str>, u64)>,
    /// Each range of keys read.
    pub ranges: Vec<KeyRange>,
    /// Each key to write, in key order and without repetition; none deletes it.
    pub writes: Vec<(Arc<str>, Option<KvWrite>)>,
    /// What happens to events, in this order.
    pub events: Vec<EventOp>,
    /// What happens to answers that are kept, in this order.
    pub answers: Vec<AnswerOp>,
    /// Who does it: what its changes trigger belongs to the same chain.
    pub cause: Cause,
}

impl Transaction {
    /// Whether committing it would change nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.writes.is_empty() && self.events.is_empty() && self.answers.is_empty()
    }

    /// A transaction that has read nothing and writes nothing yet.
    #[must_use]
    pub fn new(app: AppId, snapshot: Snapshot, cause: Cause) -> Self {
        Self {
            app,
            snapshot,
            reads: Vec::new(),
            ranges: Vec::new(),
            writes: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            cause,
        }
    }
}

/// A value to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvWrite {
    /// The value.
    pub value: KvValue,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
}

/// Keys that start with `prefix`, are greater than `after` and not greater than `until`; an absent bound does not bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// What the keys start with.
    pub prefix: Arc<str>,
    /// Exclusive lower bound.
    pub after: Option<Arc<str>>,
    /// Inclusive upper bound.
    pub until: Option<Arc<str>>,
}

impl KeyRange {
    /// Whether a key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        key.starts_with(&*self.prefix)
            && self.after.as_deref().is_none_or(|after| key > after)
            && self.until.as_deref().is_none_or(|until| key <= until)
    }
}

/// How much to list at once.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Entries at most, at least 1.
    pub entries: usize,
    /// Stop after the entry that makes the keys and values longer than this, in bytes.
    pub bytes: usize,
}

/// Some entries of a range.
#[derive(Debug, Clone, Default)]
pub struct KvPage {
    /// In byte order of their keys; expired ones are among them.
    pub entries: Vec<(Arc<str>, KvEntry)>,
    /// Whether the range may hold more entries after the last one given.
    pub more: bool,
}

/// Why a commit did not happen. Nothing of the transaction was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Something that was read has changed since: run the call again.
    #[error("the keys that were read have changed")]
    Conflict,
    /// An event that the transaction ends is not claimed any more.
    #[error("the event is not there any more")]
    EventGone,
    /// The app was deleted.
    #[error("the app is not there any more")]
    AppGone,
    /// More events would follow from the writes than one transaction may cause.
    #[error("more events follow from the changes than one transaction may cause")]
    TooManyEvents,
    /// The app would keep more than it may.
    #[error(transparent)]
    Quota(#[from] StorageQuota),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keys and values, with optimistic transactions.
///
/// A transaction is serializable: it commits only if every entry it read is still the newest. Entries that have
/// expired are returned as they are; the caller decides by its own clock.
#[async_trait]
pub trait Kv: Send + Sync {
    /// Take the point from which a transaction's reads are checked.
    fn begin(&self) -> Snapshot;

    /// Take the point up to which everything is on the disk: for a change that rests on what [`Events`] answers, when
    /// nobody has [settled](Self::settle) before the question.
    fn begin_stored(&self) -> Snapshot;

    /// The entry of each key, in the order of `keys`.
    async fn read(&self, app: AppId, keys: &[Arc<str>]) -> Result<Vec<Option<KvEntry>>, StoreError>;

    /// Entries of the range in byte order of their keys, within the bounds of the page.
    async fn list(&self, app: AppId, range: &KeyRange, page: Page) -> Result<KvPage, StoreError>;

    /// Wait until everything is durable that was committed before this call.
    ///
    /// # Errors
    ///
    /// It could not be written.
    async fn settle(&self) -> Result<(), StoreError>;

    /// Check the reads, write the writes and change the events, all or nothing, together with the events that follow
    /// from the writes. Returns when all of it is durable, with the commit's number.
    async fn commit(&self, transaction: Transaction) -> Result<u64, CommitError>;

    /// Take no more commits of an app that was deleted, and wait until those that were taken are durable: from then on
    /// nothing of it is written, and its rows can be removed. Its identity is never used again.
    ///
    /// # Errors
    ///
    /// What was taken could not be written. Nothing more is taken all the same.
    async fn forget(&self, app: AppId) -> Result<(), StoreError>;
}

/// How much waits in one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneDue {
    /// Whose lane it is.
    pub app: AppId,
    /// The lane.
    pub lane: Lane,
    /// When the first of its events may run, in milliseconds since the Unix epoch.
    pub due_ms: u64,
}

/// Stored events, as they are on the disk. Changes go through [`Kv::commit`], and an answer is good for a change only
/// with a snapshot that was taken before the question: by [`Kv::begin_stored`], or by [`Kv::begin`] with
/// [`Kv::settle`] after it.
#[async_trait]
pub trait Events: Send + Sync {
    /// Every lane in which events wait.
    async fn lanes(&self) -> Result<Vec<LaneDue>, StoreError>;

    /// The first waiting events of a lane, in the order in which they may run, also those that are not due yet.
    async fn waiting(&self, app: AppId, lane: &Lane, limit: usize) -> Result<Vec<StoredEvent>, StoreError>;

    /// One event; none when it is done, was removed, or is another app's.
    async fn event(&self, app: AppId, id: Uuid) -> Result<Option<StoredEvent>, StoreError>;

    /// The first waiting events for a script, in the order in which they may run.
    async fn waiting_for(
        &self,
        app: AppId,
        script: &str,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;
}

/// Answers that are kept, and what is known of the calls that they belong to, as it is on the disk. What has expired is
/// not there. Changes go through [`Kv::commit`].
#[async_trait]
pub trait Answers: Send + Sync {
    /// The call with this id; none when no answer to it is kept.
    async fn call(&self, app: AppId, id: Uuid) -> Result<Option<KeptCall>, StoreError>;

    /// The call of a script that came with this idempotency key, and what was kept of the request.
    async fn repeated(
        &self,
        app: AppId,
        script: &str,
        key: &str,
    ) -> Result<Option<(KeptCall, Idempotency)>, StoreError>;

    /// The answer to a call; none while there is none.
    async fn answer(&self, app: AppId, id: Uuid) -> Result<Option<Answer>, StoreError>;

    /// How much an app keeps. As long as that is not more than `room` bytes, what has expired may count.
    async fn totals(&self, app: AppId, room: u64) -> Result<KeptTotals, StoreError>;
}

/// Knows who sends requests to scripts.
pub trait Principals: Send + Sync {
    /// Who has sent a request with these headers to an app; none if that is nobody who may call its scripts. What says so
    /// is taken out of the headers: scripts have no use for it, and it may open more than they may have.
    fn take(&self, app: &str, headers: &mut HeaderMap) -> Option<Principal>;
}

/// The record of one execution.
#[derive(Debug, Clone)]
pub struct ExecutionRecord {
    /// UUIDv7.
    pub execution_id: Uuid,
    /// UUIDv7 of the root of the chain of triggers.
    pub root_execution_id: Uuid,
    /// The execution that made the event.
    pub parent_execution_id: Option<Uuid>,
    /// 0 for a direct call.
    pub trigger_depth: u32,
    /// What ran.
    pub script: Arc<ScriptRef>,
    /// What made it run: `http`, or the kind of event.
    pub trigger: &'static str,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// The status of the answer.
    pub status: u16,
    /// Why it failed, if it did.
    pub error: Option<RecordedError>,
    /// What it cost.
    pub cost: Cost,
    /// Method and path, for calls over HTTP.
    pub http: Option<(String, String)>,
    /// The request id that came with the call, or the execution id.
    pub request_id: Option<String>,
    /// What it logged.
    pub log: Vec<LogLine>,
    /// Log lines over the limit.
    pub log_dropped: u32,
}

/// An execution's error, as it is kept.
#[derive(Debug, Clone)]
pub struct RecordedError {
    /// Whose fault it was; none for an answer that the script chose with `throw` and a status under 500.
    pub fault: Option<Fault>,
    /// The stable code.
    pub code: Code,
    /// The message.
    pub message: String,
    /// Where in the source.
    pub position: Option<Position>,
}

/// Where executions are recorded.
pub trait ExecutionLog: Send + Sync {
    /// Keep a record. Never waits and never fails: what cannot be kept is counted.
    fn record(&self, record: ExecutionRecord);
}
