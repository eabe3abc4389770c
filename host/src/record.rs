//! The record of an execution, from what was asked and what came of it: the same for every kind of call.

use crate::call::{Callee, ExecRequest, Failure, Outcome};
use crate::ports::{ExecutionLog, ExecutionRecord, RecordedError};

/// Keep the record of a call that ended with this status, and those of the scripts that it has called.
pub(crate) fn keep(
    log: &dyn ExecutionLog,
    request: &ExecRequest,
    mut outcome: Outcome,
    status: u16,
    started_ms: u64,
) {
    let callees = std::mem::take(&mut outcome.callees);
    log.record(record(request, outcome, status, started_ms));
    for Callee { request, started_ms, outcome } in callees {
        let status = outcome.status();
        log.record(record(&request, outcome, status, started_ms));
    }
}

fn record(request: &ExecRequest, outcome: Outcome, status: u16, started_ms: u64) -> ExecutionRecord {
    let call = request.payload.request();
    let http = call.map(|call| (call.method.clone(), call.path.clone()));
    let request_id = call.map(|call| call.request_id.clone());
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
