//! Canaries: counts the calls of both versions while some of the calls of a script go to a new one, and tells when the new
//! one does worse.
//!
//! What is counted is in memory only: it begins anew when the server starts.

mod tally;
mod verdict;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use picloud_host::call::VersionId;
use picloud_host::ports::ExecutionRecord;
use serde::{Deserialize, Serialize};

use crate::store::canary::Canary;
pub use tally::{Counted, Tally};
pub use verdict::Regression;

/// What was counted of the canary and of the active version.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Comparison {
    /// Of the active version.
    pub active: Tally,
    /// Of the canary.
    pub canary: Tally,
}

/// The same when it has ended, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryResult {
    /// In what the canary did worse, if that is why it ended: `faults` or `fuel`.
    pub reason: Option<String>,
    /// Of the active version.
    pub active: Counted,
    /// Of the canary.
    pub canary: Counted,
}

impl Comparison {
    /// To be kept.
    #[must_use]
    pub fn result(&self, reason: Option<Regression>) -> CanaryResult {
        let reason = reason.map(|reason| reason.as_str().to_owned());
        CanaryResult { reason, active: self.active.shown(), canary: self.canary.shown() }
    }
}

impl CanaryResult {
    /// As text for the database.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A canary that runs.
#[derive(Debug)]
pub struct Watched {
    /// As it is stored.
    pub canary: Canary,
    counted: Arc<Mutex<Comparison>>,
    /// Somebody is ending it.
    ending: AtomicBool,
}

impl Watched {
    /// What was counted until now.
    #[must_use]
    pub fn comparison(&self) -> Comparison {
        *self.counted()
    }

    /// Nobody is ending it any more: that has failed.
    pub fn goes_on(&self) {
        self.ending.store(false, Ordering::Relaxed);
    }

    fn counted(&self) -> MutexGuard<'_, Comparison> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The canaries that run, with what was counted, by each of their two versions.
#[derive(Debug, Default)]
pub struct Canaries(ArcSwap<HashMap<VersionId, Arc<Watched>>>);

impl Canaries {
    /// Watch these and no others. Returns what was counted of those that are not among them any more.
    pub fn replace(&self, running: Vec<Canary>) -> Vec<(i64, CanaryResult)> {
        let before = self.0.load_full();
        let mut counted: HashMap<i64, Arc<Mutex<Comparison>>> =
            before.values().map(|watched| (watched.canary.id, watched.counted.clone())).collect();
        let mut now = HashMap::new();
        for canary in running {
            let counted = counted.remove(&canary.id).unwrap_or_default();
            let versions = [VersionId(canary.active_version_id), VersionId(canary.version_id)];
            let watched = Arc::new(Watched { canary, counted, ending: AtomicBool::new(false) });
            now.extend(versions.map(|version| (version, watched.clone())));
        }
        self.0.store(Arc::new(now));
        let ended = counted.into_iter().map(|(id, counted)| {
            let counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            (id, counted.result(None))
        });
        ended.collect()
    }

    /// What was counted of a canary that runs.
    #[must_use]
    pub fn counted(&self, canary: &Canary) -> Option<Comparison> {
        let set = self.0.load();
        let watched =
            set.get(&VersionId(canary.version_id)).filter(|watched| watched.canary.id == canary.id)?;
        Some(watched.comparison())
    }

    /// Count a call. Says so when that shows that its canary does worse; once, until [`Watched::goes_on`].
    pub fn count(&self, record: &ExecutionRecord) -> Option<(Arc<Watched>, Regression)> {
        let set = self.0.load();
        if set.is_empty() {
            return None;
        }
        let watched = set.get(&record.script.version_id)?;
        let of_canary = record.script.version_id.0 == watched.canary.version_id;
        let mut counted = watched.counted();
        let tally = if of_canary { &mut counted.canary } else { &mut counted.active };
        if !tally.count(record) || !of_canary {
            return None;
        }
        let regression = verdict::verdict(&watched.canary.rules, &counted.active, &counted.canary)?;
        drop(counted);
        let first = !watched.ending.swap(true, Ordering::Relaxed);
        first.then(|| (watched.clone(), regression))
    }
}
