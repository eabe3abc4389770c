//! What the sequencer needs from a store: reads of what is durable, and writing a whole group of commits at once.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use crate::answer::AnswerOp;
use crate::call::AppId;
use crate::event::EventOp;
use crate::ports::{Events, KeyRange, KvEntry, KvPage, KvWrite, Page, StoreError};

use super::usage::Usage;

/// A store without any concurrency control of its own. The sequencer is the only one that writes to it.
///
/// A read that starts after [`apply`](Self::apply) has returned must see what was applied; a read that overlaps it
/// sees all of the group or nothing.
pub trait KvBackend: Send + Sync + 'static {
    /// The entry of each key, in the order of `keys`. A key may come twice.
    fn load(
        &self,
        app: AppId,
        keys: &[Arc<str>],
    ) -> impl Future<Output = Result<Vec<Option<KvEntry>>, StoreError>> + Send;

    /// Entries of the range in byte order of their keys, filled as [`Filling`](super::Filling) does it.
    fn list(
        &self,
        app: AppId,
        range: &KeyRange,
        page: Page,
    ) -> impl Future<Output = Result<KvPage, StoreError>> + Send;

    /// The stored events.
    fn events(&self) -> &dyn Events;

    /// Write a group, all or nothing, and return when it is durable.
    ///
    /// # Errors
    ///
    /// Nothing of the group was written.
    fn apply(&self, group: &Group) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What an app keeps, and the number of the newest commit that is in it: both at one moment.
    fn usage(&self, app: AppId) -> impl Future<Output = Result<(u64, Usage), StoreError>> + Send;

    /// The `limit` entries that expire first, in that order.
    fn expiring(&self, limit: usize) -> impl Future<Output = Result<Vec<Expiring>, StoreError>> + Send;
}

/// Commits that become durable together, merged: of several writes to one key only the last is left.
#[derive(Debug, Default)]
pub struct Group {
    /// The number of its newest commit, which the store must keep beside the entries.
    pub number: u64,
    /// By app and key.
    pub changes: BTreeMap<(AppId, Arc<str>), Change>,
    /// What happens to events, in the order of the commits.
    pub events: Vec<EventOp>,
    /// What happens to answers that are kept, in the order of the commits.
    pub answers: Vec<AnswerOp>,
}

/// What a group does to one key.
#[derive(Debug, Clone)]
pub struct Change {
    /// The number of the commit that wrote it.
    pub version: u64,
    /// The new value; none deletes the key.
    pub write: Option<KvWrite>,
}

/// An entry that expires.
#[derive(Debug, Clone)]
pub struct Expiring {
    /// Whose key it is.
    pub app: AppId,
    /// The key.
    pub key: Arc<str>,
    /// The number of the commit that wrote the entry.
    pub version: u64,
    /// Milliseconds since the Unix epoch.
    pub expires_ms: u64,
}
