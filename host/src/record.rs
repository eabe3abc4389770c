//! The record of an execution, from what was asked and what came of it: the same for every kind of call.

use crate::call::{ExecRequest, Failure, Outcome, Payload};
use crate::ports::{ExecutionRecord, RecordedError};

/// Make the record of a call that ended with this status.
pub(crate) fn record(
    request: &ExecRequest,
    outcome: Outcome,
    status: u16,
    started_ms: u64,
) -> ExecutionRecord {
    let (http, request_id) = match &request.payload {
        Payload::Http(call) => {
            (Some((call.method.clone(), call.path.clone())), Some(call.request_id.clone()))
        }
        Payload::Event(_) => (None, None),
    };
    let Outcome { result, cost, log, log_dropped, .. } = outcome;
    ExecutionRecord {
        execution_id: request.execution_id,
        root_execution_id: request.root_execution_id,
        parent_execution_id: request.parent_execution_id,
        trigger_depth: request.trigger_depth,
        script: request.script.clone(),
        trigger: request.payload.trigger(),
        started_ms,
        status,
        error: result.err().map(recorded),
        cost,
        http,
        request_id,
        log,
        log_dropped,
    }
}

/// A status under 500 that the script chose with `throw` is an answer, nobody's fault.
fn recorded(failure: Failure) -> RecordedError {
    let fault = failure.code.fault().filter(|_| failure.status.is_none_or(|status| status >= 500));
    RecordedError { fault, code: failure.code, message: failure.message, position: failure.position }
}
