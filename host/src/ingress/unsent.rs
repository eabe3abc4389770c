//! Answers on their way: what clients have not taken yet, counted in bytes over all connections.
//!
//! An answer is made as fast as the script runs and taken as slowly as its client likes. Without a bound a few
//! connections that never read would take all memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::ingress::idle::{Activity, Sending};

/// Memory for answers that are not sent yet.
#[derive(Debug)]
pub struct AnswerMemory {
    bytes: usize,
    used: Arc<AtomicUsize>,
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
        Self { bytes, used: Arc::default() }
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
