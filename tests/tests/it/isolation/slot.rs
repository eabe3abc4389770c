//! An executor with a single slot.

use std::sync::Arc;

use picloud_host::call::{HttpCall, Payload, ScriptRef};
use picloud_host::limits::Limits;
use picloud_tests::BareExecutor;

/// Fuel of each call.
pub(super) const FUEL: u64 = 2_000_000_000;

/// See the module.
pub(super) struct Slot(pub(super) BareExecutor);

/// Everything that can be seen of a call from outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Status and body, or the code of the failure.
    pub(super) answer: String,
    fuel: u64,
    memory_bytes: u64,
    pub(super) log: Vec<String>,
}

impl Slot {
    pub(super) async fn new() -> Self {
        Self(BareExecutor::with_budget(|budget| budget.slots = 1).await)
    }

    /// A script of an app.
    pub(super) fn script(&self, app: i64, source: &str) -> Arc<ScriptRef> {
        self.0.script(app, source)
    }

    /// Call a script with `then` as its only parameter.
    pub(super) async fn call(&self, script: &Arc<ScriptRef>, then: &str) -> Seen {
        self.call_within(script, then, Limits { fuel: FUEL, ..Limits::default() }).await
    }

    /// The same, with other limits.
    pub(super) async fn call_within(&self, script: &Arc<ScriptRef>, then: &str, limits: Limits) -> Seen {
        let payload = Payload::Http(HttpCall {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            query: (!then.is_empty()).then(|| format!("then={then}")),
            ..HttpCall::default()
        });
        let outcome = self.0.call(script, limits, 0, payload).await;
        let answer = match outcome.result {
            Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(failure) => failure.code.as_str().to_owned(),
        };
        Seen {
            answer,
            fuel: outcome.cost.fuel,
            memory_bytes: outcome.cost.memory_bytes,
            log: outcome.log.into_iter().map(|line| line.message).collect(),
        }
    }
}
