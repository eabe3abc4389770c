//! Requests as transactions: what a request decides rests on what it read, or it decides again.

use std::sync::Arc;

use picloud_host::call::AppId;
use picloud_host::event::Cause;
use picloud_host::ports::{CommitError, KeyRange, KvEntry, KvPage, KvWrite, Page, Transaction};
use picloud_host::problem::{Code, Problem};

use crate::api::State;

/// How often a request decides again because others have changed what it read. Nothing is awaited between a read from
/// memory and its check, so even a key that changes all the time does not use them up.
const ATTEMPTS: u32 = 32;

/// What a request does about one key, given its entry.
pub(super) struct Decision<T> {
    /// The change: none leaves the key alone, `Some(None)` deletes it.
    write: Option<Option<KvWrite>>,
    /// What the client is told when the change, if there is one, is durable.
    answer: Result<T, Problem>,
}

impl<T> Decision<T> {
    /// Change nothing.
    pub(super) fn only(answer: Result<T, Problem>) -> Self {
        Self { write: None, answer }
    }

    /// Set the key, or with none delete it.
    pub(super) fn write(write: Option<KvWrite>, answer: T) -> Self {
        Self { write: Some(write), answer: Ok(answer) }
    }
}

/// Let `decide` see the entry of a key, if there is one that has not expired, and the time in milliseconds; do what it
/// says. Returns its answer with the number of the commit.
///
/// # Errors
///
/// What `decide` answers, `kv-conflict`, `storage-unavailable`.
pub(super) async fn transact<T>(
    state: &State,
    app: AppId,
    key: &Arc<str>,
    decide: impl Fn(Option<&KvEntry>, u64) -> Decision<T>,
) -> Result<(T, u64), Problem> {
    for _ in 0..ATTEMPTS {
        let snapshot = state.kv.begin();
        let entry = state.kv.read(app, std::slice::from_ref(key)).await?.pop().flatten();
        let seen = entry.as_ref().map_or(0, |entry| entry.version);
        let now = state.clock.now_ms();
        let Decision { write, answer } = decide(entry.as_ref().filter(|entry| !entry.expired(now)), now);
        let writes = write.map(|write| (Arc::clone(key), write)).into_iter().collect();
        let reads = vec![(Arc::clone(key), seen)];
        let transaction = Transaction { reads, writes, ..Transaction::new(app, snapshot, Cause::outside()) };
        if let Some(number) = settled(state.kv.commit(transaction).await)? {
            return answer.map(|answer| (answer, number));
        }
        tokio::task::yield_now().await;
    }
    Err(given_up())
}

/// A page of a range as it is at one moment.
///
/// # Errors
///
/// `kv-conflict`, `storage-unavailable`.
pub(super) async fn list(state: &State, app: AppId, range: KeyRange, page: Page) -> Result<KvPage, Problem> {
    for _ in 0..ATTEMPTS {
        let snapshot = state.kv.begin();
        let listed = state.kv.list(app, &range, page).await?;
        let mut seen = range.clone();
        if listed.more {
            seen.until = listed.entries.last().map(|(key, _)| Arc::clone(key));
        }
        let (reads, writes) = (Vec::new(), Vec::new());
        let transaction = Transaction {
            reads,
            ranges: vec![seen],
            writes,
            ..Transaction::new(app, snapshot, Cause::outside())
        };
        if settled(state.kv.commit(transaction).await)?.is_some() {
            return Ok(listed);
        }
        tokio::task::yield_now().await;
    }
    Err(given_up())
}

/// The number of the commit; none after a conflict.
fn settled(committed: Result<u64, CommitError>) -> Result<Option<u64>, Problem> {
    match committed {
        Ok(number) => Ok(Some(number)),
        Err(CommitError::Conflict) => Ok(None),
        Err(CommitError::TooManyEvents | CommitError::EventGone) => Err(Problem::new(Code::TooManyEvents)),
        Err(CommitError::AppGone) => Err(Problem::new(Code::AppNotFound)),
        Err(CommitError::Store(error)) => Err(error.into()),
        Err(CommitError::Quota(exceeded)) => Err(exceeded.into()),
    }
}

fn given_up() -> Problem {
    Problem::new(Code::KvConflict).detail("Others keep changing these keys.").retry_after(1)
}
