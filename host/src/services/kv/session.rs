//! The transaction of one call: what it has read, what it wants to write, and its bounds.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use picloud_sdk_wit::picloud::sdk::kv::Error;

use crate::call::AppId;
use crate::event::Cause;
use crate::limits::Limits;
use crate::ports::{KeyRange, Kv, KvEntry, KvPage, KvValue, KvWrite, Page, Snapshot, Transaction};
use crate::sandbox::StorageFailed;
use crate::services::bound;

/// The outer error ends the call, the inner one is for the script.
type Answer<T> = Result<Result<T, Error>, StorageFailed>;

/// Bytes of keys and values in one page of a listing; more is fetched with the next page.
const PAGE_BYTES: usize = 1 << 20;

/// Entries of a listing as the script gets them, and where the next page starts.
type Listing = (Vec<(Arc<str>, KvValue)>, Option<Arc<str>>);

/// The writes at one moment. Keys and values are shared, so it is small.
pub(crate) struct Savepoint(BTreeMap<Arc<str>, Option<KvWrite>>);

/// Reads through to the store, remembers what it has seen, keeps writes to itself.
pub(crate) struct KvSession {
    kv: Arc<dyn Kv>,
    app: AppId,
    /// False while a script is loaded: then there is nothing to read, and nobody would commit.
    in_call: bool,
    limits: Arc<Limits>,
    /// Taken before the first read.
    snapshot: Option<Snapshot>,
    /// What each key read held: reading it again gives the same.
    reads: BTreeMap<Arc<str>, Option<KvEntry>>,
    ranges: Vec<KeyRange>,
    writes: BTreeMap<Arc<str>, Option<KvWrite>>,
    operations: u64,
    bytes_read: u64,
    bytes_written: u64,
}

impl KvSession {
    /// The session of a call of this app; without one, of a load.
    pub(crate) fn new(kv: Arc<dyn Kv>, app: Option<AppId>, limits: Arc<Limits>) -> Self {
        Self {
            kv,
            app: app.unwrap_or(AppId(0)),
            in_call: app.is_some(),
            limits,
            snapshot: None,
            reads: BTreeMap::new(),
            ranges: Vec::new(),
            writes: BTreeMap::new(),
            operations: 0,
            bytes_read: 0,
            bytes_written: 0,
        }
    }

    /// What to commit; none if the call has touched nothing.
    pub(crate) fn into_transaction(self, cause: Cause) -> Option<Transaction> {
        let untouched = self.reads.is_empty() && self.ranges.is_empty() && self.writes.is_empty();
        if untouched && self.snapshot.is_none() {
            return None;
        }
        Some(Transaction {
            app: self.app,
            snapshot: self.snapshot.unwrap_or_else(|| self.kv.begin()),
            reads: self
                .reads
                .into_iter()
                .map(|(key, entry)| (key, entry.map_or(0, |entry| entry.version)))
                .collect(),
            ranges: self.ranges,
            writes: self.writes.into_iter().collect(),
            events: Vec::new(),
            answers: Vec::new(),
            cause,
        })
    }

    /// What is to be written up to now.
    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint(self.writes.clone())
    }

    /// Forget what was to be written since then. What was read stays read, and what was counted counted.
    pub(crate) fn undo_to(&mut self, savepoint: Savepoint) {
        self.writes = savepoint.0;
    }

    /// Check a key.
    pub(super) fn key(&self, key: &str) -> Result<Arc<str>, Error> {
        if key.is_empty() || key.len() as u64 > self.limits.kv_key_bytes {
            return Err(Error::KeyInvalid(bound(self.limits.kv_key_bytes)));
        }
        Ok(key.into())
    }

    /// Check the prefix of a listing: no key starts with one that is longer than a key may be.
    pub(super) fn prefix(&self, prefix: &str) -> Result<(), Error> {
        if prefix.len() as u64 > self.limits.kv_key_bytes {
            return Err(Error::KeyInvalid(bound(self.limits.kv_key_bytes)));
        }
        Ok(())
    }

    /// Check a value.
    pub(super) fn value(&self, value: KvValue) -> Result<KvValue, Error> {
        if value.len() as u64 > self.limits.kv_value_bytes {
            return Err(Error::ValueTooLarge(bound(self.limits.kv_value_bytes)));
        }
        if let KvValue::Json(text) = &value
            && serde_json::from_str::<&serde_json::value::RawValue>(text).is_err()
        {
            return Err(Error::ValueInvalid);
        }
        Ok(value)
    }

    /// Count operations against the limit.
    pub(super) fn operations(&mut self, count: usize) -> Result<(), Error> {
        if !self.in_call {
            return Err(Error::NoCall);
        }
        self.operations = self.operations.saturating_add(count as u64);
        if self.operations > self.limits.kv_operations {
            return Err(Error::TooManyOperations(bound(self.limits.kv_operations)));
        }
        Ok(())
    }

    /// The value of a key, as this call sees it.
    pub(super) async fn get(&mut self, key: &Arc<str>, now_ms: u64) -> Answer<Option<KvValue>> {
        Ok(self.entry(key, now_ms).await?.map(|entry| entry.map(|entry| entry.value)))
    }

    /// Value and expiry of a key, as this call sees them.
    pub(super) async fn entry(&mut self, key: &Arc<str>, now_ms: u64) -> Answer<Option<KvWrite>> {
        if let Some(write) = self.writes.get(key) {
            return Ok(Ok(write.clone().filter(|write| write.expires_ms.is_none_or(|at| at > now_ms))));
        }
        let entry = match self.reads.get(key) {
            Some(entry) => entry.clone(),
            None => {
                self.start();
                let mut entries = self.kv.read(self.app, std::slice::from_ref(key)).await?;
                let entry = entries.pop().flatten();
                let size = entry.as_ref().map_or(0, |entry| key.len() + entry.value.len());
                // Also if it was too much: that the script knows then, and may act on it.
                self.reads.insert(key.clone(), entry.clone());
                if let Err(error) = self.count_read(size) {
                    return Ok(Err(error));
                }
                entry
            }
        };
        let live = entry.filter(|entry| !entry.expired(now_ms));
        Ok(Ok(live.map(|entry| KvWrite { value: entry.value, expires_ms: entry.expires_ms })))
    }

    /// Keep a write until the call succeeds; none deletes.
    pub(super) fn put(&mut self, key: Arc<str>, write: Option<KvWrite>) -> Result<(), Error> {
        let size = key.len() + write.as_ref().map_or(0, |write| write.value.len());
        self.bytes_written = self.bytes_written.saturating_add(size as u64);
        if self.bytes_written > self.limits.kv_call_bytes {
            return Err(Error::TooManyBytes(bound(self.limits.kv_call_bytes)));
        }
        self.writes.insert(key, write);
        Ok(())
    }

    /// Entries that start with `prefix`, after the key `after`: what is stored, with this call's writes over it.
    pub(super) async fn list(
        &mut self,
        prefix: &Arc<str>,
        mut after: Option<Arc<str>>,
        limit: usize,
        now_ms: u64,
    ) -> Answer<Listing> {
        self.start();
        let first = after.clone();
        let mut listed = Vec::new();
        let mut bytes = 0;
        loop {
            let range = KeyRange { prefix: prefix.clone(), after: after.clone(), until: None };
            let page = Page { entries: limit - listed.len(), bytes: PAGE_BYTES - bytes };
            let stored = self.kv.list(self.app, &range, page).await?;
            let size = stored.entries.iter().map(|(key, entry)| key.len() + entry.value.len()).sum::<usize>();
            let until = stored.entries.last().map(|(key, _)| key.clone()).filter(|_| stored.more);
            if let Err(error) = self.count_read(size) {
                self.ranges.push(KeyRange { prefix: prefix.clone(), after: first, until });
                return Ok(Err(error));
            }
            let more = stored.more && until.is_some();
            for (key, value) in self.overlay(&range, until.as_deref(), stored, now_ms) {
                if listed.len() == limit || bytes >= PAGE_BYTES {
                    return Ok(Ok(self.page_ends(prefix, first, listed)));
                }
                bytes += key.len() + value.len();
                listed.push((key, value));
            }
            if !more {
                self.ranges.push(KeyRange { prefix: prefix.clone(), after: first, until: None });
                return Ok(Ok((listed, None)));
            }
            if listed.len() == limit || bytes >= PAGE_BYTES {
                return Ok(Ok(self.page_ends(prefix, first, listed)));
            }
            after = until;
        }
    }

    /// A full page: what was read reaches to its last key, and the next page starts there.
    fn page_ends(
        &mut self,
        prefix: &Arc<str>,
        after: Option<Arc<str>>,
        listed: Vec<(Arc<str>, KvValue)>,
    ) -> Listing {
        let last = listed.last().map(|(key, _)| key.clone());
        self.ranges.push(KeyRange { prefix: prefix.clone(), after, until: last.clone() });
        (listed, last)
    }

    /// Stored entries up to `until`, with this call's writes over them, in key order, without what has expired.
    fn overlay(
        &self,
        range: &KeyRange,
        until: Option<&str>,
        stored: KvPage,
        now_ms: u64,
    ) -> BTreeMap<Arc<str>, KvValue> {
        let mut merged: BTreeMap<_, _> = stored
            .entries
            .into_iter()
            .filter(|(_, entry)| !entry.expired(now_ms))
            .map(|(key, entry)| (key, entry.value))
            .collect();
        let start = range.after.as_deref().unwrap_or(&range.prefix);
        for (key, write) in self.writes.range::<str, _>((Bound::Included(start), Bound::Unbounded)) {
            if !key.starts_with(&*range.prefix) || until.is_some_and(|until| &**key > until) {
                break;
            }
            if !range.contains(key) {
                continue;
            }
            match write {
                Some(write) if write.expires_ms.is_none_or(|at| at > now_ms) => {
                    merged.insert(key.clone(), write.value.clone());
                }
                _ => {
                    merged.remove(key);
                }
            }
        }
        merged
    }

    /// Whether the call has used keys at all.
    pub(crate) fn is_used(&self) -> bool {
        self.operations > 0
    }

    /// Take the snapshot, if that has not been done yet.
    pub(in crate::services) fn start(&mut self) {
        if self.snapshot.is_none() {
            self.snapshot = Some(self.kv.begin());
        }
    }

    fn count_read(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes_read = self.bytes_read.saturating_add(bytes as u64);
        if self.bytes_read > self.limits.kv_call_bytes {
            return Err(Error::TooManyBytes(bound(self.limits.kv_call_bytes)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryKv;

    const APP: AppId = AppId(1);

    async fn stored(key: &str, value: &str) -> Arc<MemoryKv> {
        let kv = Arc::new(MemoryKv::new());
        let write = KvWrite { value: KvValue::Json(value.into()), expires_ms: None };
        let writes = vec![(Arc::from(key), Some(write))];
        let snapshot = kv.begin();
        let transaction = Transaction { writes, ..Transaction::new(APP, snapshot, Cause::outside()) };
        kv.commit(transaction).await.unwrap();
        kv
    }

    /// A script can catch the error and write because of it: then what it has learnt is part of the transaction.
    #[tokio::test]
    async fn what_was_too_much_to_read_counts_as_read() {
        let kv = stored("key", "\"more than ten bytes\"").await;
        let limits = Limits { kv_call_bytes: 10, ..Limits::default() };
        let mut session = KvSession::new(kv.clone(), Some(APP), Arc::new(limits));
        assert!(session.entry(&"key".into(), 0).await.unwrap().is_err());
        assert_eq!(session.into_transaction(Cause::outside()).unwrap().reads.len(), 1);

        let mut session = KvSession::new(kv, Some(APP), Arc::new(limits));
        assert!(session.list(&"k".into(), None, 10, 0).await.unwrap().is_err());
        assert!(session.into_transaction(Cause::outside()).unwrap().ranges[0].contains("key"));
    }
}
