//! Taking events back, and letting dead ones wait again. An event that a call handles is left alone.

use picloud_host::call::AppId;
use picloud_host::event::{Cause, EventOp, EventState, StoredEvent};
use picloud_host::ports::{CommitError, Transaction};
use picloud_host::problem::{Code, Problem};
use uuid::Uuid;

use crate::api::State;
use crate::store::event::list::{EventKey, Filter as EventFilter};

/// How often to look again because the event was touched meanwhile.
const ATTEMPTS: usize = 8;

/// Events in one transaction when there are many.
const BATCH: u32 = 500;

/// Take an event back, or purge it.
pub(super) async fn remove(state: &State, app: AppId, id: Uuid) -> Result<(), Problem> {
    change(state, app, id, |event| match event.state {
        EventState::Running => Err(busy("A call handles the event at this moment.")),
        EventState::Waiting | EventState::Dead => Ok(EventOp::Remove { id }),
    })
    .await
}

/// Let a dead event wait again.
pub(super) async fn replay(state: &State, app: AppId, id: Uuid) -> Result<(), Problem> {
    let due_ms = state.clock.now_ms();
    change(state, app, id, |event| match event.state {
        EventState::Dead => Ok(EventOp::Replay { id, lane: event.event.lane.clone(), due_ms }),
        EventState::Running | EventState::Waiting => Err(busy("The event is not dead.")),
    })
    .await
}

async fn change(
    state: &State,
    app: AppId,
    id: Uuid,
    decide: impl Fn(&StoredEvent) -> Result<EventOp, Problem>,
) -> Result<(), Problem> {
    for _ in 0..ATTEMPTS {
        // Before the look: whoever touches the event after it makes the commit fail.
        let snapshot = state.kv.begin();
        state.kv.settle().await?;
        let found = state.events.event(app, id).await?.ok_or_else(|| Problem::new(Code::EventNotFound))?;
        let mut transaction = Transaction::new(app, snapshot, Cause::outside());
        transaction.events = vec![decide(&found)?];
        match state.kv.commit(transaction).await {
            Ok(_) => return Ok(()),
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(commit_failed(error)),
        }
    }
    Err(busy("The event keeps changing."))
}

/// Remove all events that fit. Returns how many.
pub(super) async fn remove_all(state: &State, app: AppId, filter: &EventFilter) -> Result<u64, Problem> {
    change_all(state, app, filter, |event| EventOp::Remove { id: event.id }).await
}

/// Let all dead events that fit wait again. Returns how many.
pub(super) async fn replay_all(state: &State, app: AppId, filter: EventFilter) -> Result<u64, Problem> {
    let due_ms = state.clock.now_ms();
    let filter = EventFilter { state: Some(EventState::Dead), ..filter };
    let replay = |event: &EventKey| EventOp::Replay { id: event.id, lane: event.lane.clone(), due_ms };
    change_all(state, app, &filter, replay).await
}

/// Batch by batch, each all or nothing. Those that are stored later are not meant, and neither are those that somebody
/// else is faster with: where there are some among many, they are found by halving.
async fn change_all(
    state: &State,
    app: AppId,
    filter: &EventFilter,
    op: impl Fn(&EventKey) -> EventOp,
) -> Result<u64, Problem> {
    state.kv.settle().await?;
    let until = state.store.newest_event().await?;
    let (mut after, mut changed, mut batch) = (0, 0, BATCH);
    loop {
        let snapshot = state.kv.begin();
        state.kv.settle().await?;
        let events = state.store.event_keys(app, filter, (after, until), batch).await?;
        let Some(last) = events.last() else { return Ok(changed) };
        let mut transaction = Transaction::new(app, snapshot, Cause::outside());
        transaction.events = events.iter().map(&op).collect();
        match state.kv.commit(transaction).await {
            Ok(_) => {
                changed += events.len() as u64;
                (after, batch) = (last.seq, BATCH);
            }
            Err(CommitError::Conflict) if events.len() > 1 => batch = (batch / 2).max(1),
            Err(CommitError::Conflict) => after = last.seq,
            Err(error) => return Err(commit_failed(error)),
        }
    }
}

/// The problem of a transaction that did not happen.
pub(in crate::api) fn commit_failed(error: CommitError) -> Problem {
    match error {
        CommitError::Store(error) => error.into(),
        CommitError::AppGone => Problem::new(Code::AppNotFound),
        CommitError::Quota(exceeded) => exceeded.into(),
        CommitError::TooManyEvents => Problem::new(Code::TooManyEvents),
        CommitError::Conflict | CommitError::EventGone => Problem::new(Code::EventBusy),
    }
}

fn busy(detail: &str) -> Problem {
    Problem::new(Code::EventBusy).detail(detail)
}
