//! Calls that can be cancelled while they run: those whose callers do not wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The calls of this process that can be cancelled.
#[derive(Debug, Default)]
pub struct RunningCalls(Mutex<HashMap<Uuid, Arc<CancellationToken>>>);

/// One of them, until it is dropped.
pub(super) struct RunningCall {
    calls: Arc<RunningCalls>,
    id: Uuid,
    cancelled: Arc<CancellationToken>,
}

impl RunningCalls {
    /// End a call whose event was taken away from it: whatever it does now, it cannot commit. Does nothing when it does
    /// not run any more.
    pub fn cancel(&self, id: Uuid) {
        if let Some(call) = self.lock().get(&id) {
            call.cancel();
        }
    }

    /// A call is about to run. Before its event is claimed, so that nobody can take it away unheard.
    pub(super) fn add(self: &Arc<Self>, id: Uuid) -> RunningCall {
        let cancelled = Arc::new(CancellationToken::new());
        self.lock().insert(id, cancelled.clone());
        RunningCall { calls: self.clone(), id, cancelled }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<CancellationToken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningCall {
    /// Completes when the call is cancelled.
    pub(super) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let mut calls = self.calls.lock();
        // Another attempt may have begun meanwhile.
        if calls.get(&self.id).is_some_and(|running| Arc::ptr_eq(running, &self.cancelled)) {
            calls.remove(&self.id);
        }
    }
}
