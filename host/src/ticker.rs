//! The epoch ticker: it advances the engine's epoch while calls run, and sleeps without waking up when none do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use wasmtime::Engine;

/// How long a call may keep a processor to itself, and how exact deadlines are.
const TICK: Duration = Duration::from_millis(5);

/// How many ticks without a call before it goes to sleep. Going to sleep and waking up costs the next call a system
/// call, so a busy server does neither.
const LINGER: u32 = 20;

/// A thread of its own: calls may keep every worker of the runtime busy.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    /// Calls under way.
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// Keeps the epoch advancing until it is dropped.
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: Engine) -> Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let for_thread = shared.clone();
        let handle = std::thread::Builder::new()
            .name("epoch-ticker".to_owned())
            .spawn(move || for_thread.tick(&engine))
            .context("cannot start the epoch ticker")?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// Tick as long as the result lives.
    pub(crate) fn keep_ticking(&self) -> Ticking<'_> {
        // Sequentially consistent with the loop below: either it sees this call, or this sees that it sleeps.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn tick(&self, engine: &Engine) {
        let mut idle = 0;
        while !self.stop.load(Ordering::SeqCst) {
            if self.running.load(Ordering::SeqCst) > 0 {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle > LINGER {
                self.asleep.store(true, Ordering::SeqCst);
                while self.running.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                idle = 0;
            }
            std::thread::park_timeout(TICK);
            engine.increment_epoch();
        }
    }
}
