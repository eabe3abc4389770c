//! The ports in memory: for tests and for running a script without a server. Nothing outlives the process.

mod event;
mod kv;
mod scripts;

pub use event::MemoryEvents;
pub use kv::{MemoryBackend, MemoryKv};
pub use scripts::MemoryScripts;

use std::sync::Arc;

use crate::active::Active;
use crate::executor::Services;
use crate::ports::Clock;
use crate::sequencer::SequencerOptions;

/// Services in memory as a server has them, with the scripts and triggers of `active` and without files. Must be called in a
/// Tokio runtime.
#[must_use]
pub fn services(active: Arc<Active>, clock: Arc<dyn Clock>) -> Services {
    let options = SequencerOptions {
        cache_bytes: 1 << 20,
        active: active.clone(),
        clock: clock.clone(),
        ..SequencerOptions::default()
    };
    let kv = Arc::new(MemoryKv::start(MemoryBackend::default(), 0, options));
    let (outbound, grants) = (Arc::default(), Arc::default());
    let (server, mqtt, test) = (true, false, None);
    Services { kv: kv.clone(), events: kv, active, outbound, grants, server, mqtt, clock, test }
}
