//! The admission gate: so many calls at once, so many waiting, and a clear no with a time to come back for the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// How many calls the gate lets through and lets wait.
#[derive(Debug, Clone, Copy)]
pub struct GateConfig {
    /// Calls at the same time, at most the number of sandboxes.
    pub concurrent: usize,
    /// Calls waiting for their turn.
    pub waiting: usize,
    /// How long a call may wait.
    pub patience: Duration,
}

/// No room: try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is saturated; try again in {retry_after_secs} s")]
pub struct Overloaded {
    /// When there should be room, from how long calls take at present; at least 1.
    pub retry_after_secs: u64,
}

/// Admits calls.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    refused: AtomicU64,
    /// Moving average of how long a call holds its permit, in microseconds.
    service_us: AtomicU64,
    /// Half of the places at most, for calls that nobody waits for.
    behind: Semaphore,
    /// Wakes those of them that let others go first.
    freed: Notify,
}

/// A call's place; given back when dropped.
#[derive(Debug)]
pub struct Admission<'a> {
    gate: &'a Gate,
    admitted: Instant,
    /// Taken only when it is dropped.
    permit: Option<OwnedSemaphorePermit>,
    /// For a call that nobody waits for.
    _behind: Option<SemaphorePermit<'a>>,
}

/// One of the waiting; counted until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new(config: GateConfig) -> Self {
        let permits = Arc::new(Semaphore::new(config.concurrent));
        Self {
            config,
            permits,
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            service_us: AtomicU64::new(1000),
            behind: Semaphore::new(behind(&config)),
            freed: Notify::new(),
        }
    }

    /// Wait for a place, in the order of arrival.
    ///
    /// # Errors
    ///
    /// Too many are waiting already, or the wait took too long.
    pub async fn admit(&self) -> Result<Admission<'_>, Overloaded> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Ok(self.admission(permit, None));
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.config.waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(self.refuse());
        }
        let _waiting = Waiting(&self.waiting);
        match tokio::time::timeout(self.config.patience, self.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(self.admission(permit, None)),
            _ => Err(self.refuse()),
        }
    }

    /// Wait for a place for a call that nobody waits for. Others go first, as long as it has not waited for longer than
    /// they may: then it stands in line with them. Of these calls half as many run at once as of all.
    pub async fn admit_behind(&self) -> Admission<'_> {
        // Neither semaphore is ever closed.
        let behind = self.behind.acquire().await.ok();
        let yielding = async {
            loop {
                // Before the look: who leaves after it leaves a permit behind.
                let freed = self.freed.notified();
                if self.waiting.load(Ordering::Relaxed) == 0
                    && let Ok(permit) = self.permits.clone().try_acquire_owned()
                {
                    return Some(permit);
                }
                freed.await;
            }
        };
        let permit = match tokio::time::timeout(self.config.patience, yielding).await {
            Ok(permit) => permit,
            Err(_) => self.permits.clone().acquire_owned().await.ok(),
        };
        // More of them may be able to start.
        self.freed.notify_one();
        match permit {
            Some(permit) => self.admission(permit, behind),
            None => std::future::pending().await,
        }
    }

    /// How many calls that nobody waits for run at once.
    #[must_use]
    pub fn behind(&self) -> usize {
        behind(&self.config)
    }

    /// Calls under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.config.concurrent.saturating_sub(self.permits.available_permits())
    }

    /// Calls waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Calls that were refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Turn a call away.
    pub(crate) fn refuse(&self) -> Overloaded {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.overloaded()
    }

    fn admission<'a>(
        &'a self,
        permit: OwnedSemaphorePermit,
        behind: Option<SemaphorePermit<'a>>,
    ) -> Admission<'a> {
        Admission { gate: self, admitted: Instant::now(), permit: Some(permit), _behind: behind }
    }

    /// When to come back: everybody who is here has to be served first.
    fn overloaded(&self) -> Overloaded {
        let ahead = (self.running() + self.waiting()) as u64;
        let service_us = self.service_us.load(Ordering::Relaxed);
        let wait_us = ahead.saturating_mul(service_us) / self.config.concurrent.max(1) as u64;
        Overloaded { retry_after_secs: wait_us.div_ceil(1_000_000).clamp(1, 3600) }
    }
}

/// Half of the places, one at least.
fn behind(config: &GateConfig) -> usize {
    config.concurrent.div_ceil(2)
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let us = u64::try_from(self.admitted.elapsed().as_micros()).unwrap_or(u64::MAX);
        let average = &self.gate.service_us;
        // A lost update among concurrent ones does not matter to an average.
        let old = average.load(Ordering::Relaxed);
        average.store(old - old / 16 + us / 16, Ordering::Relaxed);
        // The place is free before anybody looks for it.
        drop(self.permit.take());
        self.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(concurrent: usize, waiting: usize, patience_ms: u64) -> Gate {
        Gate::new(GateConfig { concurrent, waiting, patience: Duration::from_millis(patience_ms) })
    }

    #[tokio::test]
    async fn a_full_gate_refuses_at_once_when_nobody_may_wait() {
        let gate = gate(1, 0, 10_000);
        let first = gate.admit().await.unwrap();
        assert_eq!(gate.admit().await.unwrap_err(), Overloaded { retry_after_secs: 1 });
        drop(first);
        assert!(gate.admit().await.is_ok());
    }

    #[tokio::test]
    async fn waiting_ends_with_patience_and_is_no_longer_counted() {
        let gate = gate(1, 1, 20);
        let _first = gate.admit().await.unwrap();
        assert!(gate.admit().await.is_err());
        assert_eq!((gate.waiting(), gate.refused()), (0, 1));
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_goes_to_who_waits() {
        let gate = gate(1, 1, 10_000);
        let first = gate.admit().await.unwrap();
        let (second, ()) = tokio::join!(gate.admit(), async {
            tokio::task::yield_now().await;
            assert_eq!(gate.waiting(), 1);
            drop(first);
        });
        assert!(second.is_ok());
    }

    #[tokio::test]
    async fn calls_that_nobody_waits_for_let_others_go_first() {
        let gate = gate(1, 2, 10_000);
        let order = std::sync::Mutex::new(Vec::new());
        let first = gate.admit().await.unwrap();
        let run = async |name, admission: Admission<'_>| {
            order.lock().unwrap().push(name);
            tokio::task::yield_now().await;
            drop(admission);
        };
        tokio::join!(
            async { run("behind", gate.admit_behind().await).await },
            async { run("a", gate.admit().await.unwrap()).await },
            async { run("b", gate.admit().await.unwrap()).await },
            async {
                tokio::task::yield_now().await;
                drop(first);
            }
        );
        assert_eq!(*order.lock().unwrap(), ["a", "b", "behind"]);
    }

    #[tokio::test]
    async fn who_let_others_go_first_for_long_enough_gets_in() {
        let gate = gate(1, 0, 20);
        let first = gate.admit().await.unwrap();
        let (second, ()) = tokio::join!(gate.admit_behind(), async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            drop(first);
        });
        assert_eq!(gate.running(), 1);
        drop(second);
        // Half of the places, but one at least.
        let one = gate.admit_behind().await;
        let two = tokio::time::timeout(Duration::from_millis(30), gate.admit_behind()).await;
        assert!(two.is_err());
        drop(one);
    }

    #[tokio::test]
    async fn slow_calls_make_retry_after_longer() {
        let gate = gate(1, 0, 0);
        gate.service_us.store(30_000_000, Ordering::Relaxed);
        let _first = gate.admit().await.unwrap();
        assert_eq!(gate.admit().await.unwrap_err().retry_after_secs, 30);
    }
}
