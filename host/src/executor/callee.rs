//! Calls that scripts make: in a sandbox of their own, in the transaction of their caller.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::{Executor, answer, too_deep};
use crate::call::{Answer, Cost, ExecRequest, Failure, Outcome};
use crate::nested::NoSlot;
use crate::problem::Code;
use crate::sandbox::{CallState, Run, TreeFailed, fault};
use crate::services::scripts::Callees;

#[async_trait]
impl Callees for Executor {
    async fn run(
        self: Arc<Self>,
        caller: &mut CallState,
        request: Arc<ExecRequest>,
    ) -> Result<Result<Answer, Failure>, TreeFailed> {
        let place = caller.scripts.begin(request.clone(), caller.clock.now_ms());
        let outcome = self.callee(caller, request).await;
        let result = outcome.result.clone();
        let kept = Outcome { result: outcome.result.map(without_body), ..outcome };
        caller.scripts.end(place, kept);
        match result {
            // Nothing that the caller could do better: whoever called it may try again.
            Err(failure) if matches!(failure.code, Code::StorageUnavailable | Code::Saturated) => {
                Err(TreeFailed(failure))
            }
            result => Ok(result),
        }
    }

    fn longest_chain(&self) -> usize {
        self.nested.all()
    }
}

impl Executor {
    async fn callee(self: Arc<Self>, caller: &mut CallState, request: Arc<ExecRequest>) -> Outcome {
        let mut cost = Cost::default();
        let limits = request.limits.clone();
        if u64::from(request.trigger_depth) > limits.trigger_depth {
            return Outcome::failed(cost, too_deep(&request));
        }
        let asked = Instant::now();
        let deadline = caller.deadline.min(asked + limits.deadline());
        let slot = self.nested.acquire(caller.scripts.held(), deadline).await;
        cost.queue_us = micros(asked);
        let _slot = match slot {
            Ok(slot) => slot,
            Err(NoSlot::Late) => return Outcome::failed(cost, fault::deadline(&limits)),
            Err(NoSlot::Stuck | NoSlot::ChainTooLong) => return Outcome::failed(cost, no_sandbox()),
        };
        let started = Instant::now();
        let image = self.image(&request.script, &limits, deadline);
        let image = match tokio::time::timeout_at(deadline.into(), image).await {
            Ok(Ok(image)) => image,
            Ok(Err(failure)) => return Outcome::failed(cost, failure),
            Err(_) => return Outcome::failed(cost, fault::deadline(&limits)),
        };
        let mut state = self.state(Some(request), limits.clone(), deadline);
        state.scripts = caller.scripts.deeper();
        state.secrets = caller.secrets.clone();
        let before = caller.savepoint();
        caller.exchange_effects(&mut state);
        let Run { result, fuel, mut state } = self.sandbox.call(&image, state).await;
        caller.exchange_effects(&mut state);
        caller.irrevocable |= state.irrevocable;
        let result = result.and_then(|response| answer::check(response, &limits));
        if result.is_err() {
            caller.undo_to(before);
        }
        cost.fuel = fuel;
        cost.memory_bytes = state.memory.peak;
        cost.sandbox_us = micros(started);
        let (log, log_dropped) = (state.log.lines, state.log.dropped);
        Outcome { result, cost, log, log_dropped, repeats: false, callees: Vec::new() }
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Records need no body, and it would take memory until the tree has ended.
fn without_body(answer: Answer) -> Answer {
    Answer { body: bytes::Bytes::new(), ..answer }
}

fn no_sandbox() -> Failure {
    let message = "every sandbox for scripts that are called by scripts has one that waits for another; nothing was \
                   changed, and trying again may help";
    Failure::new(Code::Saturated, message)
}
