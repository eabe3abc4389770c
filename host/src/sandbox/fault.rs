//! Tells faults apart: what the guest reports, what a trap means, what the host's fences found.

use picloud_sdk_wit::picloud::sdk::outcome::{self, FailureKind};
use wasmtime::Trap;

use crate::call::{Failure, Position};
use crate::limits::Limits;
use crate::problem::Code;
use crate::sandbox::CallState;

/// Longest message of a failure, in bytes. The guest writes it, so it is cut.
const MAX_MESSAGE: usize = 4096;

/// Ends a call from the epoch callback.
#[derive(Debug, thiserror::Error)]
#[error("the deadline has passed")]
pub(crate) struct DeadlineReached;

/// Ends a call from a host function, when storage fails: nothing that the script could handle.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct StorageFailed(#[from] crate::ports::StoreError);

/// Ends a call from a host function, when a script that it has called failed in a way that it could do nothing about.
#[derive(Debug, thiserror::Error)]
#[error("a script that was called failed: {}", .0.message)]
pub(crate) struct TreeFailed(pub(crate) Failure);

/// A failure that the guest reports.
pub(crate) fn of_guest(failure: outcome::Failure) -> Failure {
    let code = match failure.kind {
        FailureKind::Compile => Code::CompileFailed,
        FailureKind::Runtime => Code::ScriptError,
        FailureKind::Thrown => Code::ScriptThrew,
        FailureKind::Stack => Code::StackExhausted,
        FailureKind::Answer => Code::AnswerInvalid,
        FailureKind::Handler => Code::HandlerMissing,
    };
    Failure {
        code,
        message: cut(failure.message),
        position: failure.position.map(|at| Position { line: at.line, column: at.column }),
        // Only errors can be chosen: a thrown 200 would look like success.
        status: failure.status.filter(|status| (400..=599).contains(status)),
    }
}

/// A trap, or an error of a host function.
pub(crate) fn of_trap(error: &wasmtime::Error, state: &CallState) -> Failure {
    let limits = &state.limits;
    let out_of_memory = || {
        Failure::new(
            Code::MemoryExhausted,
            format!("the call needed more than its {} bytes of memory", limits.memory_bytes),
        )
    };
    if error.is::<DeadlineReached>() {
        return deadline(limits);
    }
    if error.is::<StorageFailed>() {
        let message = "the call could not reach its storage; nothing was changed";
        return Failure::new(Code::StorageUnavailable, message);
    }
    if let Some(TreeFailed(failure)) = error.downcast_ref() {
        return failure.clone();
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            Failure::new(Code::FuelExhausted, format!("the call used up its {} units of fuel", limits.fuel))
        }
        // The guest has two stacks. The second one is at the start of its memory and grows down: its overflow is an access
        // below address 0, and no other access of the guest is out of bounds.
        Some(Trap::StackOverflow | Trap::MemoryOutOfBounds) => Failure::new(
            Code::StackExhausted,
            "the call nested functions, expressions or values too deep".to_owned(),
        ),
        _ if panicked_for_order(state) => {
            Failure::new(Code::ScriptError, "sort: the order of the elements contradicts itself")
        }
        _ if state.memory.refused || panicked_for_memory(state) => out_of_memory(),
        _ => {
            let call = state.request.as_ref();
            let panic = state.panic.clone().map(|mut message| {
                // It may show a text that the script was working with.
                if let Some(redactor) = state.secrets.redactor() {
                    message.push('…');
                    redactor.redact(&mut message);
                }
                message
            });
            tracing::error!(
                error = %format!("{error:#}"),
                panic,
                execution_id = call.map(|call| tracing::field::display(call.execution_id)),
                app = call.map(|call| &*call.script.app),
                script = call.map(|call| &*call.script.script),
                "a sandbox failed"
            );
            Failure::new(Code::Internal, "the sandbox failed; the server's log has more")
        }
    }
}

/// A size that no memory could hold makes Rust's collections panic before they ask for it.
fn panicked_for_memory(state: &CallState) -> bool {
    state
        .panic
        .as_ref()
        .is_some_and(|message| message.contains("capacity overflow") || message.contains("allocation"))
}

/// Rust's sort may panic when the function that compares says that a is before b, b before c and c before a.
fn panicked_for_order(state: &CallState) -> bool {
    state.panic.as_ref().is_some_and(|message| message.contains("does not correctly implement a total order"))
}

/// The call took longer than it may.
pub(crate) fn deadline(limits: &Limits) -> Failure {
    Failure::new(Code::DeadlineExceeded, format!("the call took longer than its {} ms", limits.deadline_ms))
}

/// At most `MAX_MESSAGE` bytes, cut between characters.
fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.push('…');
        // The message goes into a record that waits to be written, and must not hold the room of what was cut.
        message.shrink_to_fit();
    }
    message
}
