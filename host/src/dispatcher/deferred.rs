//! What is other with a request whose caller fetches the answer later: it runs as a request, its end is final whatever it
//! is, and it can be cancelled while it runs.
//!
//! Only what is no end is tried again: a fault of the platform, and the end of the process. When there is nothing left to
//! try, the last problem is the answer, so such an event never becomes a dead letter: somebody may have read the answer.
//!
//! Whoever cancels it completes its event, with the answer that it was cancelled. So either that transaction is taken or
//! the one with the call's effects: both end the same claim.

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::Dispatcher;
use super::attempt::{Attempt, Ran, kept};
use crate::answer::{AnswerOp, KeepAnswer};
use crate::call::{Answer, AppId, Cost, ExecRequest, Failure, Fault, Outcome, Payload, ScriptRef};
use crate::deferred::Stored;
use crate::event::{EventOp, NewEvent};
use crate::limits::Limits;
use crate::problem::Code;

impl Dispatcher {
    /// The call that the event stands for. Its execution has the id of the event.
    pub(super) fn deferred_request(
        &self,
        event: &NewEvent,
        script: Arc<ScriptRef>,
        limits: Arc<Limits>,
    ) -> Result<ExecRequest, Failure> {
        let Stored { call, traceparent, principal, callback } = crate::deferred::stored(event)?;
        let tells = callback.map(|url| Box::new(crate::callback::event(event, &url, self.clock.now_ms())));
        Ok(ExecRequest {
            script,
            execution_id: event.id,
            root_execution_id: event.cause.root,
            parent_execution_id: event.cause.parent,
            trigger_depth: event.trigger_depth(),
            completes: Some(event.id),
            keeps: Some(KeepAnswer::Expected { tells }),
            principal,
            limits,
            traceparent,
            payload: Payload::Http(call),
        })
    }

    /// Whether the answers that an app keeps leave room for another one. How large it will be is not known before, so there
    /// may be one of each call that runs beyond it.
    pub(super) async fn check_room(&self, event: &NewEvent) -> Result<(), Failure> {
        let room = self.limits(event.app).answers_kept_bytes;
        // The store has logged why.
        let failed = |_| Failure::new(Code::StorageUnavailable, "what is kept of answers cannot be read");
        let kept = self.answers.totals(event.app, room).await.map_err(failed)?;
        if kept.bytes <= room {
            return Ok(());
        }
        let message = format!("the answers that the app keeps fill the {room} bytes there are for them");
        Err(Failure::new(Code::Saturated, message))
    }

    fn limits(&self, app: AppId) -> Arc<Limits> {
        self.active.current().app(app).map(|app| app.limits.clone()).unwrap_or_default()
    }

    /// Run a call, but not on when it is cancelled. Its effects are out of the question by then.
    pub(super) async fn until_cancelled(
        &self,
        attempt: &Attempt,
        call: impl Future<Output = Outcome>,
    ) -> Outcome {
        let Some(running) = &attempt.running else { return call.await };
        let started = Instant::now();
        let cancelled =
            || Failure::new(Code::Cancelled, "the call was cancelled while it ran; nothing was changed");
        tokio::select! {
            mut outcome = call => {
                // It was faster than the word that its event was taken away.
                if outcome.result.as_ref().is_err_and(|failure| failure.code == Code::EventGone) {
                    outcome.result = Err(cancelled());
                }
                outcome
            }
            () = running.cancelled() => {
                let sandbox_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                let cost = Cost { sandbox_us, ..Cost::default() };
                Outcome::failed(cost, cancelled())
            }
        }
    }

    /// Under which id an attempt is recorded. That of a request's execution is for the attempt that counts.
    pub(super) fn record_id(&self, attempt: &Attempt, execution: Uuid, failure: Option<&Failure>) -> Uuid {
        let counts = attempt.running.is_none() || failure.is_none_or(|failure| is_final(attempt, failure));
        if counts { execution } else { Uuid::now_v7() }
    }

    /// What becomes of a request whose call has failed.
    pub(super) async fn after_failed_request(&self, attempt: &Attempt, failure: &Failure, ran: Option<Ran>) {
        let event = &attempt.stored.event;
        if failure.code == Code::Cancelled {
            // Whoever has cancelled it has written everything down. If that gets lost before it is durable, the event is
            // this attempt's again, and waits for another one; else this does nothing.
            let _ = self.kv.settle().await;
            let op = self.retry(attempt, kept(failure.clone(), None));
            return self.settle(event.app, vec![op], Vec::new()).await;
        }
        if !is_final(attempt, failure) {
            let op = self.retry(attempt, kept(failure.clone(), ran.map(|ran| ran.execution_id)));
            return self.settle(event.app, vec![op], Vec::new()).await;
        }
        let answer = match &ran {
            Some(ran) => Answer::of_call(&ran.request, &Err(failure.clone()), ran.fuel),
            None => Answer::of_failure(failure, event.id, event.call.subject.clone()),
        };
        let kept_ms = self.limits(event.app).answer_kept_ms;
        let expires_ms = self.clock.now_ms().saturating_add(kept_ms);
        let keep = AnswerOp::Keep { id: event.id, answer: Box::new(answer), expires_ms, frees_key: true };
        let mut events = vec![EventOp::Complete { id: event.id }];
        let callback = crate::deferred::callback(event, self.clock.now_ms());
        events.extend(callback.map(|callback| EventOp::Insert(Box::new(callback))));
        self.settle(event.app, events, vec![keep]).await;
    }
}

/// Whether a failure is the end of a request.
fn is_final(attempt: &Attempt, failure: &Failure) -> bool {
    failure.code.fault() != Some(Fault::Platform) || attempt.number >= attempt.stored.event.max_attempts
}
