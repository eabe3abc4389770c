//! Calls whose answers are kept: how far they are, and their answers.

use jiff::Timestamp;
use picloud_host::answer::{KeptCall, Progress};
use picloud_host::call::{Answer, Failure};
use picloud_host::problem::{Code, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::State;
use crate::api::auth::ExecutionAccess;
use crate::api::timestamp::timestamp;

/// How far an asynchronous call is. Of a call with an idempotency key, whose caller has waited, that it is done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AsyncCall {
    /// UUIDv7 of the execution.
    id: Uuid,
    app: String,
    script: String,
    /// `queued`, `running` or `done`.
    #[schema(value_type = String)]
    pub(super) state: &'static str,
    /// When the request came.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
    /// Which attempt runs, from 1, or how many have come to no end, if it waits; null when it is done.
    #[schema(required)]
    attempt: Option<u32>,
    /// The status of the answer; null until there is one.
    #[schema(required)]
    status: Option<u16>,
    /// Until when the answer is kept; null until there is one.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    answer_expires_at: Option<Timestamp>,
}

impl AsyncCall {
    /// As the API tells it.
    pub(super) fn new(access: &ExecutionAccess, call: KeptCall) -> Self {
        let (state, attempt, status, expires_ms) = match call.progress {
            Progress::Queued(attempt) => ("queued", Some(attempt), None, None),
            Progress::Running(attempt) => ("running", Some(attempt), None, None),
            Progress::Done { status, expires_ms } => ("done", None, Some(status), Some(expires_ms)),
            Progress::Cancelled => ("done", None, Some(Code::Cancelled.status().as_u16()), None),
        };
        Self {
            id: call.id,
            app: access.app.to_string(),
            script: call.script.to_string(),
            state,
            accepted_at: timestamp(call.accepted_ms),
            attempt,
            status,
            answer_expires_at: expires_ms.map(timestamp),
        }
    }
}

/// The answer that is kept of an execution.
pub(super) async fn answer(state: &State, access: &ExecutionAccess) -> Result<Answer, Problem> {
    let not_kept = || {
        let detail = "No answer of it is kept: its caller has waited for it, or its time is over.";
        Problem::new(Code::ExecutionNotFound).detail(detail)
    };
    // Whoever was told that it is done has been told after it was durable.
    let call = state.answers.call(access.app_id, access.id).await?.ok_or_else(not_kept)?;
    match call.progress {
        Progress::Queued(_) | Progress::Running(_) => {
            Err(Problem::new(Code::AnswerPending).detail("The call has not ended yet.").retry_after(1))
        }
        Progress::Done { .. } => state.answers.answer(access.app_id, access.id).await?.ok_or_else(not_kept),
        Progress::Cancelled => Ok(cancelled(access.id)),
    }
}

/// The answer to a call that was cancelled.
pub(super) fn cancelled(id: Uuid) -> Answer {
    let failure =
        Failure::new(Code::Cancelled, "The call was cancelled before it ended; nothing was changed.");
    Answer::of_failure(&failure, id, None)
}
