//! The admission gate: so many calls at once, so many waiting, shared fairly between apps and within their quotas, and a
//! clear no with a time to come back for the rest.
//!
//! `line` decides who gets a place, under one lock that nobody holds for longer than that takes; here is who waits for it.

mod line;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::call::AppId;
use crate::pressure::Pressure;
use crate::problem::{Code, Problem};
use crate::quota::{CallQuota, QuotaExceeded, Quotas};

use line::{Entered, Line, Place, Waiter, Word};

/// How long a call that nobody waits for lets pass before it looks again whether there is memory.
const PRESSURE_PAUSE: Duration = Duration::from_secs(1);

/// When a call should come back that finds no memory, in seconds: nobody can know, and calls end in no time.
const PRESSURE_RETRY_SECONDS: u64 = 2;

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

/// Why a call was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The server has no room.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The app has used up what it may have.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
}

impl From<Overloaded> for Problem {
    fn from(overloaded: Overloaded) -> Self {
        Self::new(Code::Saturated).detail(overloaded.to_string()).retry_after(overloaded.retry_after_secs)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Overloaded(overloaded) => overloaded.into(),
            Refused::Quota(exceeded) => exceeded.into(),
        }
    }
}

/// Admits calls.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    pressure: Option<Pressure>,
    line: Mutex<Line>,
    /// As in `line`, for whoever only wants to know.
    running: AtomicUsize,
    waiting: AtomicUsize,
    refused: AtomicU64,
}

/// A call's place; given back when dropped.
#[derive(Debug)]
pub struct Admission<'a> {
    gate: &'a Gate,
    place: Place,
    admitted: Instant,
    fuel: u64,
}

/// One of the waiting. Whatever becomes of it, its place in the queue or the one it was granted is not lost.
struct InLine<'a> {
    gate: &'a Gate,
    place: Place,
    /// None when it is over.
    waiter: Option<Waiter>,
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new(config: GateConfig) -> Self {
        Self {
            config,
            pressure: None,
            line: Mutex::new(Line::new(config)),
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// A gate that is closed while memory runs short.
    #[must_use]
    pub fn under(self, pressure: Pressure) -> Self {
        Self { pressure: Some(pressure), ..self }
    }

    /// Wait for a place for a call of an app that has these quotas.
    ///
    /// # Errors
    ///
    /// The app has used up a quota; too many are waiting already, or the wait took too long; or memory runs short.
    pub async fn admit(&self, app: AppId, quotas: &Quotas) -> Result<Admission<'_>, Refused> {
        if self.is_under_pressure() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Overloaded { retry_after_secs: PRESSURE_RETRY_SECONDS }.into());
        }
        let (now, place) = (Instant::now(), Place { app, behind: false });
        match self.in_line(|line| line.enter(app, quotas, now)) {
            Entered::In => Ok(self.admission(place, now)),
            Entered::Full => Err(self.refuse().into()),
            Entered::Over(exceeded) => Err(exceeded.into()),
            Entered::Waiting(waiter) => {
                let in_line = InLine { gate: self, place, waiter: Some(waiter) };
                match tokio::time::timeout(self.config.patience, in_line.told()).await {
                    Ok(Some(Word::Granted)) => Ok(self.admission(place, Instant::now())),
                    _ => Err(self.refuse().into()),
                }
            }
        }
    }

    /// Wait for a place for a call that nobody waits for, and until the quotas of its app allow it. Others go first, as
    /// long as it has not waited for longer than they may: then it stands in line with them. Of these calls half as many
    /// run at once as of all.
    pub async fn admit_behind(&self, app: AppId, quotas: &Quotas) -> Admission<'_> {
        while self.is_under_pressure() {
            tokio::time::sleep(PRESSURE_PAUSE).await;
        }
        // Before it stands in line, so that it holds up nobody.
        while let Err(wait) = self.in_line(|line| line.begin_behind(app, quotas, Instant::now())) {
            tokio::time::sleep(wait).await;
        }
        let place = Place { app, behind: true };
        let waiter = self.in_line(|line| line.enter_behind(app, quotas, Instant::now()));
        match (InLine { gate: self, place, waiter: Some(waiter) }).told().await {
            Some(Word::Granted) => self.admission(place, Instant::now()),
            // Nobody is told anything else while the gate is there.
            _ => std::future::pending().await,
        }
    }

    /// Whether an app may load a source now, as far as its fuel is concerned.
    ///
    /// # Errors
    ///
    /// It has used up what it may have.
    pub fn check_load(&self, app: AppId, quotas: &Quotas) -> Result<(), QuotaExceeded> {
        self.in_line(|line| line.check_load(app, quotas, Instant::now()))
    }

    /// An app has used so much fuel for loading a source.
    pub fn charge_load(&self, app: AppId, fuel: u64) {
        self.in_line(|line| line.charge_load(app, fuel, Instant::now()));
    }

    /// How many calls of an app its rates allow now, and if none how long it takes until they do.
    pub(crate) fn ready(&self, app: AppId, quotas: &Quotas) -> (usize, Duration) {
        if quotas.calls_per_second.is_none() && quotas.fuel_per_second.is_none() {
            return (usize::MAX, Duration::ZERO);
        }
        self.in_line(|line| line.ready(app, quotas, Instant::now()))
    }

    /// How many calls that nobody waits for run at once.
    #[must_use]
    pub fn behind(&self) -> usize {
        behind(&self.config)
    }

    /// Calls under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Calls waiting, without those that nobody waits for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Calls that were refused for want of room since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many calls were refused since the start because of which quota of which app; what never happened is left out.
    #[must_use]
    pub fn over_quota(&self) -> Vec<(AppId, CallQuota, u64)> {
        self.line().refused()
    }

    /// Turn a call away.
    pub(crate) fn refuse(&self) -> Overloaded {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Overloaded { retry_after_secs: self.line().retry_after_secs() }
    }

    fn is_under_pressure(&self) -> bool {
        self.pressure.as_ref().is_some_and(Pressure::is_high)
    }

    fn admission(&self, place: Place, admitted: Instant) -> Admission<'_> {
        Admission { gate: self, place, admitted, fuel: 0 }
    }

    /// Do something to the line, and note how long it is then.
    fn in_line<T>(&self, what: impl FnOnce(&mut Line) -> T) -> T {
        let mut line = self.line();
        let done = what(&mut line);
        self.running.store(line.running, Ordering::Relaxed);
        self.waiting.store(line.waiting, Ordering::Relaxed);
        done
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing that runs under the lock panics half way.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Half of the places, one at least.
fn behind(config: &GateConfig) -> usize {
    config.concurrent.div_ceil(2)
}

impl InLine<'_> {
    /// What it is told.
    async fn told(mut self) -> Option<Word> {
        let word = match &mut self.waiter {
            Some(waiter) => (&mut waiter.told).await.ok(),
            None => None,
        };
        self.waiter = None;
        word
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if let Some(mut waiter) = self.waiter.take() {
            self.gate.in_line(|line| line.give_up(self.place, &mut waiter, Instant::now()));
        }
    }
}

impl Admission<'_> {
    /// The call has used so much fuel, which its app is charged when the place is given back.
    pub fn charge(&mut self, fuel: u64) {
        self.fuel = self.fuel.saturating_add(fuel);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let held = now.saturating_duration_since(self.admitted);
        self.gate.in_line(|line| line.leave(self.place, self.fuel, held, now));
    }
}
