//! Answers on their way: what clients have not taken yet, counted in bytes over all connections.
//!
//! An answer is made as fast as the script runs and taken as slowly as its client likes. Without a bound a few
//! connections that never read would take all memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::Answer;
use crate::ingress::idle::{Activity, Sending};
use crate::problem::{Code, Problem};

/// Why there is no room.
pub(super) const FULL: &str = "answers that their clients do not take fill the memory there is for them";

/// How many answers that are kept are read at the same time.
const READING: usize = 4;

/// Memory for answers that are not sent yet. Its clones are the same memory.
#[derive(Debug, Clone)]
pub struct AnswerMemory {
    bytes: usize,
    used: Arc<AtomicUsize>,
    reading: Arc<Semaphore>,
}

/// The same memory, for answers that go over one connection. The control plane finds it among the extensions of a request.
#[derive(Debug, Clone)]
pub struct AnswerRoom {
    memory: AnswerMemory,
    connection: Arc<Activity>,
}

/// An answer's body, which counts until nobody holds it any more.
struct Counted {
    body: Bytes,
    used: Arc<AtomicUsize>,
    _sending: Sending,
}

impl AnswerMemory {
    /// Memory for so many bytes, and one answer of each call under way beyond that: how large an answer is turns out
    /// only when it is there, and then the call has had its effects.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { bytes, used: Arc::default(), reading: Arc::new(Semaphore::new(READING)) }
    }

    /// Wait for a turn to read an answer that is kept, which is held until the answer is counted: a thousand beside each
    /// other would all find room before any of them had counted.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed.
        self.reading.acquire().await.ok()
    }

    /// Whether it is full, so that no call should start.
    pub(super) fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.bytes
    }

    /// Count an answer until it has been sent over its connection.
    pub(super) fn count(&self, body: Bytes, connection: &Arc<Activity>) -> Bytes {
        if body.is_empty() {
            return body;
        }
        self.used.fetch_add(body.len(), Ordering::Relaxed);
        let sending = Activity::send(connection, body.len());
        Bytes::from_owner(Counted { body, used: self.used.clone(), _sending: sending })
    }
}

impl AnswerRoom {
    pub(super) fn new(memory: AnswerMemory, connection: Arc<Activity>) -> Self {
        Self { memory, connection }
    }

    /// For requests that come over no connection, as in tests of the control plane.
    #[must_use]
    pub fn without_connection(memory: AnswerMemory) -> Self {
        Self::new(memory, Arc::default())
    }

    /// Something of so many bytes is sent that is not in memory as a whole, until what is returned is dropped: the connection is
    /// not idle as long as the client takes it, and closed when the client takes too long.
    #[must_use]
    pub fn sending(&self, bytes: u64) -> impl Send + Sync + 'static + use<> {
        self.connection.send(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Read an answer that is kept, and count it until it has been sent.
    ///
    /// # Errors
    ///
    /// There is no room, or that of `read`.
    pub async fn read(&self, read: impl Future<Output = Result<Answer, Problem>>) -> Result<Answer, Problem> {
        let _turn = self.memory.turn().await;
        if self.memory.is_full() {
            return Err(Problem::new(Code::Saturated).detail(FULL).retry_after(1));
        }
        let mut answer = read.await?;
        answer.body = self.memory.count(answer.body, &self.connection);
        Ok(answer)
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.used.fetch_sub(self.body.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_until_its_last_piece_is_gone() {
        let (memory, connection) = (AnswerMemory::new(10), Arc::new(Activity::default()));
        let answer = memory.count(Bytes::from_static(b"more than ten"), &connection);
        let piece = answer.slice(3..5);
        drop(answer);
        assert!(memory.is_full());
        assert_eq!(&piece[..], b"e ");
        drop(piece);
        assert!(!memory.is_full());
    }
}
