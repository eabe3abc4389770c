//! Cancelling: the event is taken away, whether it waits or runs, in the transaction that says so in its answer.
//!
//! The call's effects need the same event. Whichever transaction comes first is taken, and the other one is refused.

use picloud_host::answer::{AnswerOp, Progress};
use picloud_host::deferred;
use picloud_host::event::{Cause, EventOp};
use picloud_host::ports::{CommitError, Transaction};
use picloud_host::problem::{Code, Problem};

use super::kept::cancelled;
use crate::api::State;
use crate::api::auth::ExecutionAccess;
use crate::api::events::commit_failed;
use crate::store::execution;
use crate::telemetry::Pending;

/// How often to look again because the event was touched meanwhile.
const ATTEMPTS: usize = 16;

/// Cancel a call.
pub(super) async fn cancel(state: &State, access: &ExecutionAccess) -> Result<(), Problem> {
    let (app, id) = (access.app_id, access.id);
    for _ in 0..ATTEMPTS {
        // Before the look: whoever touches the event after it makes the commit fail.
        let snapshot = state.kv.begin();
        state.kv.settle().await?;
        let Some(call) = state.answers.call(app, id).await? else {
            return Err(not_asynchronous(state, access).await?);
        };
        let op = match call.progress {
            Progress::Queued(_) => EventOp::Remove { id },
            Progress::Running(_) => EventOp::Complete { id },
            Progress::Done { .. } | Progress::Cancelled => return Err(refused("It has ended.")),
        };
        let expires_ms = state.clock.now_ms().saturating_add(state.limits_of(&access.app).answer_kept_ms);
        let answer = Box::new(cancelled(id));
        let callback = match state.events.event(app, id).await? {
            Some(stored) => deferred::callback(&stored.event, state.clock.now_ms()),
            None => None,
        };
        let mut transaction = Transaction::new(app, snapshot, Cause::outside());
        transaction.events = vec![op];
        transaction.events.extend(callback.map(|callback| EventOp::Insert(Box::new(callback))));
        // A late repetition of the request must not make the call after all: the key stays taken.
        transaction.answers = vec![AnswerOp::Keep { id, answer, expires_ms, frees_key: false }];
        match state.kv.commit(transaction).await {
            Ok(_) => {
                state.running.cancel(id);
                return Ok(());
            }
            // It has begun to run, or has ended.
            Err(CommitError::Conflict | CommitError::EventGone) => {}
            Err(error) => return Err(commit_failed(error)),
        }
    }
    Err(refused("It keeps changing its state."))
}

/// Why an execution of which no answer is kept cannot be cancelled.
async fn not_asynchronous(state: &State, access: &ExecutionAccess) -> Result<Problem, Problem> {
    state.telemetry.flush(Pending::Records).await;
    let found = execution::get(state.telemetry.database()?, access.app_id, access.id).await?;
    Ok(match found {
        Some(_) => refused("It has ended, and was not asynchronous."),
        None => Problem::new(Code::ExecutionNotFound)
            .detail("There is no asynchronous call with this id. One whose caller waits is not known before it has ended."),
    })
}

fn refused(detail: &str) -> Problem {
    Problem::new(Code::NotCancellable).detail(detail)
}
