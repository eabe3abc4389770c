//! Deliveries: events that no script handles, because they are for somebody outside.
//!
//! A call cannot take back what it has told others, so it stores what it has to say with its other effects, and the
//! dispatcher says it once they are durable (a transactional outbox). The other side hears of it at least once.

use async_trait::async_trait;

use crate::call::Failure;
use crate::event::StoredEvent;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// The other side has it.
    Done,
    /// It may or may not have it: this attempt counts.
    Failed(Failure),
    /// It does not have it, and another attempt would not change that.
    Refused(Failure),
    /// Nothing was sent: this attempt does not count.
    NotTried,
}

/// Hands events of one kind to somebody outside.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// Whether it makes sense to try now. When that changes to yes, whoever implements this notes its lanes again.
    fn ready(&self) -> bool;

    /// How many events of one lane are handed over at once.
    fn batch(&self) -> usize;

    /// How long one attempt may take, in milliseconds.
    fn deadline_ms(&self) -> u64;

    /// Deliver events of one lane, which wait in this order. Answers with one result for each. Dropping the future ends it.
    async fn deliver(&self, events: &[StoredEvent]) -> Vec<Delivered>;
}
