//! One turn of a lane, and one attempt at an event: claim, call, what becomes of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;

use super::retry::{BACKOFF_MS, backoff_ms};
use super::running::RunningCall;
use super::{AFTER_FAILURE, Dispatcher, News, Tasks, Turn};
use crate::answer::AnswerOp;
use crate::call::{AppId, ExecRequest, Failure, Payload};
use crate::event::{Cause, EventFailure, EventKind, EventOp, Lane, StoredEvent};
use crate::limits::Limits;
use crate::ports::{CommitError, StoreError, Transaction};
use crate::problem::Code;
use crate::record::keep;

/// How much longer than its call may take a claim lasts, in milliseconds: time for the commit.
const LEASE_MARGIN_MS: u64 = 60_000;

/// How many attempts more than it may have an event gets when they ended with the process: a power cut is not its fault,
/// but a handler that ends the process must not do so for ever.
const UNFINISHED_ATTEMPTS: u32 = 10;

/// The longest text of a failure that is kept with an event, in bytes.
const MAX_FAILURE_BYTES: usize = 4096;

/// An event that this process has claimed.
pub(super) struct Attempt {
    pub(super) stored: StoredEvent,
    /// From 1.
    pub(super) number: u32,
    /// For a request whose caller fetches the answer later.
    pub(super) running: Option<RunningCall>,
}

/// A call that has run.
pub(super) struct Ran {
    pub(super) request: Arc<ExecRequest>,
    pub(super) fuel: u64,
    /// Under which it is recorded.
    pub(super) execution_id: Uuid,
}

/// An event's place in its lane; told to be free when it is dropped.
pub(super) struct Place {
    tell: UnboundedSender<News>,
    app: AppId,
    lane: Lane,
}

impl Place {
    pub(super) fn new(tasks: &Tasks, app: AppId, lane: Lane) -> Self {
        Self { tell: tasks.tell.clone(), app, lane }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever is gone does not need the news.
        let _ = self.tell.send(News::Ended { app: self.app, lane: self.lane.clone() });
    }
}

impl Dispatcher {
    /// Claim as many events of a lane as there is room for, and run them.
    pub(super) async fn take_turn(self: Arc<Self>, turn: Turn, tasks: Tasks) {
        let (attempts, due_ms) = match self.claim(&turn, turn.room).await {
            Ok(claimed) => claimed,
            // The store has logged why.
            Err(_) => {
                tokio::time::sleep(AFTER_FAILURE).await;
                (Vec::new(), Some(0))
            }
        };
        let (app, lane, started) = (turn.app, turn.lane.clone(), attempts.len());
        tasks.tell(News::Looked { turn, started, due_ms });
        for attempt in attempts {
            let dispatcher = self.clone();
            let place = Place::new(&tasks, app, lane.clone());
            tasks.spawn(async move {
                dispatcher.attempt_to_the_end(attempt).await;
                drop(place);
            });
        }
    }

    /// A panic is a failure like any other: the event must not stay claimed for ever.
    async fn attempt_to_the_end(&self, attempt: Attempt) {
        // Whatever it left half done belonged to this call alone, and is dropped with it.
        if AssertUnwindSafe(self.attempt(&attempt)).catch_unwind().await.is_err() {
            let failure = Failure::new(Code::Internal, "something went wrong inside PiCloud");
            self.after_failure(&attempt, failure, false, None).await;
        }
    }

    /// The events that may run now, claimed, `room` at most, and when the next one is due.
    pub(super) async fn claim(
        &self,
        turn: &Turn,
        room: usize,
    ) -> Result<(Vec<Attempt>, Option<u64>), StoreError> {
        // Before the look: whoever touches an event that is shown to us makes the claim fail.
        let snapshot = self.kv.begin_stored();
        let waiting = self.events.waiting(turn.app, &turn.lane, room + 1).await?;
        let now_ms = self.clock.now_ms();
        let (mut ready, mut due_ms) = (Vec::new(), None);
        for stored in waiting {
            if ready.len() == room || stored.event.due_ms > now_ms {
                due_ms = Some(stored.event.due_ms);
                break;
            }
            let running = is_deferred(&stored).then(|| self.running.add(stored.event.id));
            ready.push(Attempt { number: stored.attempt + 1, stored, running });
        }
        if ready.is_empty() {
            return Ok((ready, due_ms));
        }
        let lease_ms = now_ms + self.deadline_ms(turn.app, &turn.lane) + LEASE_MARGIN_MS;
        let mut transaction = Transaction::new(turn.app, snapshot, Cause::outside());
        let claim = |attempt: &Attempt| EventOp::Claim {
            id: attempt.stored.event.id,
            attempt: attempt.number,
            lease_ms,
        };
        transaction.events = ready.iter().map(claim).collect();
        match self.kv.commit(transaction).await {
            Ok(_) => Ok((ready, due_ms)),
            Err(CommitError::Store(error)) => Err(error),
            Err(CommitError::AppGone) => Ok((Vec::new(), None)),
            // Somebody has cancelled one of them: look again, once that can be seen.
            Err(_) => self.kv.settle().await.map(|()| (Vec::new(), Some(0))),
        }
    }

    /// How long a call may take.
    fn deadline_ms(&self, app: AppId, lane: &Lane) -> u64 {
        if let Some(delivery) = self.delivery(lane) {
            return delivery.deadline_ms();
        }
        let set = self.active.current();
        let limit = set.app(app).map_or(0, |app| app.limits.deadline_ms);
        let Lane::Queue(name) = lane else { return limit };
        let queue = set.triggers.get(&app).and_then(|triggers| triggers.queues.get(name));
        queue.and_then(|queue| queue.visibility_ms).map_or(limit, |visibility| visibility.min(limit))
    }

    /// Call the script, and do what follows from how that went.
    async fn attempt(&self, attempt: &Attempt) {
        let (failure, repeats, ran) = match self.request(attempt).await {
            Ok(request) => {
                let request = Arc::new(request);
                let (queued, started_ms) = (Instant::now(), self.clock.now_ms());
                let (app, quotas) = (request.script.app_id, self.quotas(request.script.app_id));
                let mut admission = self.gate.admit_behind(app, &quotas).await;
                let queue_us = u64::try_from(queued.elapsed().as_micros()).unwrap_or(u64::MAX);
                let mut outcome = self.until_cancelled(attempt, self.executor.execute(request.clone())).await;
                admission.charge(outcome.fuel());
                drop(admission);
                outcome.cost.queue_us = queue_us;
                let (failure, repeats) = (outcome.result.as_ref().err().cloned(), outcome.repeats);
                let execution_id = self.record_id(attempt, request.execution_id, failure.as_ref());
                let ran = Ran { fuel: outcome.fuel(), execution_id, request };
                let recorded = ExecRequest { execution_id, ..(*ran.request).clone() };
                let status = outcome.status();
                keep(&*self.log, &recorded, outcome, status, started_ms);
                (failure, repeats, Some(ran))
            }
            Err(failure) => (Some(failure), false, None),
        };
        if let Some(failure) = failure {
            self.after_failure(attempt, failure, repeats, ran).await;
        }
    }

    async fn request(&self, attempt: &Attempt) -> Result<ExecRequest, Failure> {
        let event = &attempt.stored.event;
        if attempt.number > event.max_attempts.saturating_add(UNFINISHED_ATTEMPTS) {
            let message = "the server ended during most of the attempts; this event may be why";
            return Err(Failure::new(Code::Internal, message));
        }
        if is_deferred(&attempt.stored) {
            self.check_room(event).await?;
        }
        let set = self.active.current();
        let found = set.app(event.app).and_then(|app| Some((app, app.scripts.get(&event.script)?)));
        let Some((app, script)) = found else {
            let message = format!("there is no script {}", event.script);
            return Err(Failure::new(Code::ScriptNotFound, message));
        };
        if is_deferred(&attempt.stored) {
            return self.deferred_request(event, script.version_for(event.id).clone(), app.limits.clone());
        }
        if !script.handles_events {
            let message = format!("the script {} has no function on_event", event.script);
            return Err(Failure::new(Code::HandlerMissing, message));
        }
        let deadline_ms = self.deadline_ms(event.app, &event.lane);
        let limits = match deadline_ms == app.limits.deadline_ms {
            true => app.limits.clone(),
            false => Arc::new(Limits { deadline_ms, ..*app.limits }),
        };
        let execution_id = Uuid::now_v7();
        Ok(ExecRequest {
            script: script.version_for(execution_id).clone(),
            execution_id,
            root_execution_id: event.cause.root,
            parent_execution_id: event.cause.parent,
            trigger_depth: event.trigger_depth(),
            completes: Some(event.id),
            keeps: None,
            principal: None,
            limits,
            traceparent: None,
            payload: Payload::Event(event.call.clone()),
        })
    }

    /// Another attempt later, or none.
    async fn after_failure(&self, attempt: &Attempt, failure: Failure, repeats: bool, ran: Option<Ran>) {
        if is_deferred(&attempt.stored) {
            return self.after_failed_request(attempt, &failure, ran).await;
        }
        if failure.code == Code::EventGone {
            return;
        }
        let op = self.retry_or_bury(attempt, failure, repeats, ran.map(|ran| ran.execution_id));
        self.settle(attempt.stored.event.app, vec![op], Vec::new()).await;
    }

    pub(super) fn retry_or_bury(
        &self,
        attempt: &Attempt,
        failure: Failure,
        repeats: bool,
        execution: Option<Uuid>,
    ) -> EventOp {
        let event = &attempt.stored.event;
        if repeats || attempt.number >= event.max_attempts {
            tracing::debug!(event_id = %event.id, code = failure.code.as_str(), attempt = attempt.number, "an event is dead");
            return EventOp::Bury { id: event.id, failure: kept(failure, execution) };
        }
        self.retry(attempt, kept(failure, execution))
    }

    pub(super) fn retry(&self, attempt: &Attempt, failure: EventFailure) -> EventOp {
        let event = &attempt.stored.event;
        let random = getrandom::u64().unwrap_or_default();
        let wait_ms = backoff_ms(attempt.number, self.backoff_ms(event.app, &event.lane), random);
        EventOp::Retry {
            id: event.id,
            lane: event.lane.clone(),
            due_ms: self.clock.now_ms().saturating_add(wait_ms),
            attempt: attempt.number,
            failure: Some(failure),
        }
    }

    fn backoff_ms(&self, app: AppId, lane: &Lane) -> u64 {
        let Lane::Queue(name) = lane else { return BACKOFF_MS };
        let set = self.active.current();
        let queue = set.triggers.get(&app).and_then(|triggers| triggers.queues.get(name));
        queue.map_or(BACKOFF_MS, |queue| queue.backoff_ms)
    }

    /// Write down what became of an event, however often that takes: until then the claim is held.
    pub(super) async fn settle(&self, app: AppId, events: Vec<EventOp>, answers: Vec<AnswerOp>) {
        loop {
            let mut transaction = Transaction::new(app, self.kv.begin(), Cause::outside());
            transaction.events.clone_from(&events);
            transaction.answers.clone_from(&answers);
            match self.kv.commit(transaction).await {
                Err(CommitError::Store(_)) => tokio::time::sleep(AFTER_FAILURE).await,
                _ => return,
            }
        }
    }
}

/// Why an attempt failed, as it is kept with the event.
pub(super) fn kept(failure: Failure, execution: Option<Uuid>) -> EventFailure {
    let mut message = failure.message;
    message.truncate(message.floor_char_boundary(MAX_FAILURE_BYTES));
    EventFailure { code: failure.code.as_str().to_owned(), message, execution }
}

/// Whether the event is a request whose caller fetches the answer later.
fn is_deferred(stored: &StoredEvent) -> bool {
    stored.event.call.trigger == EventKind::Http
}
