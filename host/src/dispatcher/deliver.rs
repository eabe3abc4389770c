//! One turn of a lane whose events go to somebody outside: claim some, hand them over in their order, and what becomes
//! of each.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use std::panic::AssertUnwindSafe;

use super::attempt::{Attempt, Place};
use super::{AFTER_FAILURE, Dispatcher, News, Tasks, Turn};
use crate::call::Failure;
use crate::delivery::{Delivered, Delivery};
use crate::event::{EventOp, StoredEvent};
use crate::problem::Code;

impl Dispatcher {
    /// Claim events of a lane, one batch at a time, and hand them over.
    pub(super) async fn take_delivery_turn(
        self: Arc<Self>,
        turn: Turn,
        delivery: Arc<dyn Delivery>,
        tasks: Tasks,
    ) {
        let (batch, due_ms) = match delivery.ready() {
            // It notes the lane again when it is.
            false => (Vec::new(), None),
            true => match self.claim(&turn, delivery.batch()).await {
                Ok(claimed) => claimed,
                // The store has logged why.
                Err(_) => {
                    tokio::time::sleep(AFTER_FAILURE).await;
                    (Vec::new(), Some(0))
                }
            },
        };
        let (app, lane, started) = (turn.app, turn.lane.clone(), usize::from(!batch.is_empty()));
        tasks.tell(News::Looked { turn, started, due_ms });
        if batch.is_empty() {
            return;
        }
        let place = Place::new(&tasks, app, lane);
        let dispatcher = self.clone();
        tasks.spawn(async move {
            dispatcher.deliver(batch, &*delivery).await;
            drop(place);
        });
    }

    async fn deliver(&self, batch: Vec<Attempt>, delivery: &dyn Delivery) {
        let events: Vec<StoredEvent> = batch.iter().map(|attempt| attempt.stored.clone()).collect();
        // Whatever it left half done is dropped with it; the events must not stay claimed for ever.
        let delivered = AssertUnwindSafe(delivery.deliver(&events)).catch_unwind().await;
        let mut delivered = delivered.unwrap_or_default().into_iter();
        let settled = batch.iter().map(|attempt| {
            let missing = || Delivered::Failed(Failure::new(Code::Internal, "the delivery broke off"));
            let op = self.after_delivery(attempt, delivered.next().unwrap_or_else(missing));
            self.settle(attempt.stored.event.app, vec![op], Vec::new())
        });
        // They share a commit.
        join_all(settled.collect::<Vec<_>>()).await;
    }

    fn after_delivery(&self, attempt: &Attempt, delivered: Delivered) -> EventOp {
        let event = &attempt.stored.event;
        match delivered {
            Delivered::Done => EventOp::Complete { id: event.id },
            Delivered::Failed(failure) => self.retry_or_bury(attempt, failure, false, None),
            Delivered::Refused(failure) => self.retry_or_bury(attempt, failure, true, None),
            Delivered::NotTried => EventOp::Retry {
                id: event.id,
                lane: event.lane.clone(),
                due_ms: event.due_ms,
                attempt: attempt.stored.attempt,
                failure: None,
            },
        }
    }
}
