//! The active set: which script version each name leads to. An immutable snapshot that is swapped whole, so that the
//! hot path reads no database and takes no lock, and a call keeps the version it started with.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::call::{AppId, ScriptRef};
use crate::limits::Limits;

/// Every app with its active scripts, at one moment.
#[derive(Debug, Default)]
pub struct ActiveSet {
    /// By name.
    pub apps: HashMap<Arc<str>, ActiveApp>,
}

/// An app in the active set.
#[derive(Debug)]
pub struct ActiveApp {
    /// Its identity in storage.
    pub id: AppId,
    /// The limits of its calls.
    pub limits: Limits,
    /// By name.
    pub scripts: HashMap<Arc<str>, ActiveScript>,
}

/// A script in the active set.
#[derive(Debug, Clone)]
pub struct ActiveScript {
    /// The version that is called.
    pub script: Arc<ScriptRef>,
    /// Whether it answers HTTP requests.
    pub handles_requests: bool,
    /// Whether it handles events.
    pub handles_events: bool,
}

/// The current active set, shared between the control plane, which publishes, and the data plane, which reads.
#[derive(Debug, Default)]
pub struct Active(ArcSwap<ActiveSet>);

impl Active {
    /// Replace the set. Calls under way are not touched.
    pub fn publish(&self, set: ActiveSet) {
        self.0.store(Arc::new(set));
    }

    /// The set of this moment.
    pub fn current(&self) -> arc_swap::Guard<Arc<ActiveSet>> {
        self.0.load()
    }
}
