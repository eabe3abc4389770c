//! Records of executions on their way to storage. Never in the way of a call: `record` takes a short lock, and what
//! cannot be kept is counted.
//!
//! In reading order: this file (what calls and readers see), `buffer` (records that wait), `rollup` (exact numbers by
//! minute), `totals` (counters for `/metrics`), `writer` (the task that stores it all), `open` (the file at start).

mod buffer;
mod open;
mod rollup;
#[cfg(test)]
pub(crate) mod tests;
mod totals;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use picloud_host::call::AppId;
use picloud_host::ports::{Clock, ExecutionLog, ExecutionRecord, StoreError};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::store::retention::{self, Bounds};
use crate::store::{Database, failed};

pub use buffer::Capacity;
use buffer::{Buffer, Refusal};
use rollup::Rollups;
pub(crate) use totals::APPS;
pub use totals::{AppTotals, ScriptTotals, Steps, Totals};
use writer::Writer;

/// How much telemetry is kept, and when it is written.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What may wait in memory.
    pub capacity: Capacity,
    /// What may be kept on disk.
    pub bounds: Bounds,
    /// How long to wait for more records before writing the first.
    pub gather: Duration,
    /// How long numbers by minute may wait to be written.
    pub gather_minutes: Duration,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            capacity: Capacity { records: 20_000, bytes: 32 << 20, records_per_second: 2_000 },
            bounds: Bounds { file_bytes: 256 << 20, record_age_ms: 7 * DAY_MS, minute_age_ms: 30 * DAY_MS },
            gather: Duration::from_millis(200),
            gather_minutes: Duration::from_secs(10),
        }
    }
}

/// Records executions, and lets what was recorded be read.
#[derive(Debug)]
pub struct Telemetry {
    state: Mutex<State>,
    /// Wakes the writer.
    wake: Notify,
    flushes: mpsc::Sender<Flush>,
    /// Counts the batches of records that were written.
    written: watch::Sender<u64>,
    /// None when the file could not be opened.
    database: Option<Database>,
    /// Minutes were deleted past the writer, which has to count anew.
    recount: AtomicBool,
    /// Ends the writer.
    stop: CancellationToken,
    /// Lets those go who follow what is written.
    closing: CancellationToken,
}

/// What a reader wants to see written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// Records of executions.
    Records,
    /// Records and numbers by minute.
    All,
}

/// A reader's wish.
#[derive(Debug)]
struct Flush {
    pending: Pending,
    done: oneshot::Sender<()>,
}

/// Everything that a call changes.
#[derive(Debug)]
struct State {
    buffer: Buffer,
    rollups: Rollups,
    /// Numbers by minute are being written right now.
    writing_rollups: bool,
    totals: Totals,
    counters: Counters,
    writer: WriterState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriterState {
    /// It waits to be woken.
    Asleep,
    /// It was told that there is something, and waits for more.
    Gathering,
    /// It was told to hurry.
    Hurrying,
    /// There is none, or no longer: nothing can be kept.
    Gone,
}

/// What became of the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Written.
    pub kept: u64,
    /// Not kept, because more came than may be written a second.
    pub over_rate: u64,
    /// Not kept, because too many waited, or too large ones.
    pub over_capacity: u64,
    /// Not kept, because storage failed or was closed.
    pub storage: u64,
    /// Calls that are missing in the numbers by minute.
    pub uncounted: u64,
    /// Waiting to be written.
    pub waiting: u64,
}

impl Telemetry {
    /// Open the file and start the task that writes to it. A damaged file is put aside; if none can be opened at all,
    /// nothing is kept, and that is counted.
    ///
    /// When `stop` is cancelled, the task writes what is left and ends. Cancel it after the last call has ended, and
    /// wait for the task. Cancel `closing` before, when the server begins to stop: it lets those go who follow what is
    /// written, or the server would wait for them.
    pub async fn start(
        path: &Path,
        settings: Settings,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
        closing: CancellationToken,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let opened = open::open(path).await;
        let (flushes, wishes) = mpsc::channel(64);
        let telemetry = Arc::new(Self {
            state: Mutex::new(State {
                buffer: Buffer::new(settings.capacity, Instant::now()),
                rollups: Rollups::default(),
                writing_rollups: false,
                totals: Totals::default(),
                counters: Counters::default(),
                writer: if opened.is_some() { WriterState::Asleep } else { WriterState::Gone },
            }),
            wake: Notify::new(),
            flushes,
            written: watch::Sender::new(0),
            database: opened.as_ref().map(|opened| opened.database.clone()),
            recount: AtomicBool::new(false),
            stop,
            closing,
        });
        let writer = opened.map(|opened| Writer::new(Arc::clone(&telemetry), opened, settings, clock));
        let task = tokio::spawn(async move {
            if let Some(writer) = writer {
                writer.run(wishes).await;
            }
        });
        (telemetry, task)
    }

    /// The database, for reading what is written.
    ///
    /// # Errors
    ///
    /// It could not be opened at start.
    pub fn database(&self) -> Result<&Database, StoreError> {
        self.database
            .as_ref()
            .ok_or_else(|| StoreError("the telemetry database could not be opened".to_owned()))
    }

    /// Wait until everything recorded before is written, so that a reader finds it. Gives up after a few seconds:
    /// then the reader sees a little less.
    pub async fn flush(&self, pending: Pending) {
        const PATIENCE: Duration = Duration::from_secs(5);
        if !self.lock().has(pending) {
            return;
        }
        let (done, written) = oneshot::channel();
        let flush = async {
            if self.flushes.send(Flush { pending, done }).await.is_ok() {
                let _ = written.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, flush).await;
    }

    /// Changes whenever records were written, for readers that follow them. They look first, then wait.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Returns when the server begins to stop, so that whoever follows what is written must not wait longer. What is
    /// recorded after that is still written.
    pub async fn stopping(&self) {
        self.closing.cancelled().await;
    }

    /// Delete everything about an app that is gone. Calls that still run are recorded when they end, and kept as long as
    /// others.
    ///
    /// # Errors
    ///
    /// The database failed, or could not be opened at start.
    pub async fn forget(&self, app: AppId) -> Result<(), StoreError> {
        self.flush(Pending::All).await;
        let database = self.database()?;
        loop {
            let deleted = retention::delete_of_app(&database.write, app).await.map_err(failed)?;
            if deleted == 0 {
                return Ok(());
            }
            self.recount.store(true, Ordering::Relaxed);
        }
    }

    /// Close the file. For after the task has ended, when nobody reads any more.
    pub async fn close(&self) {
        if let Some(database) = &self.database {
            database.close().await;
        }
    }

    /// What became of the records.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let state = self.lock();
        Counters { waiting: state.buffer.len() as u64, ..state.counters }
    }

    /// Calls and costs since the start of the process.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.lock().totals.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExecutionLog for Telemetry {
    fn record(&self, record: ExecutionRecord) {
        let now = Instant::now();
        let mut state = self.lock();
        let refused = state.record(record, now);
        let wake = state.must_wake();
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        // Freed when nobody waits for the lock any more.
        drop(refused);
    }
}

impl State {
    /// Gives back a record that is not kept.
    fn record(&mut self, record: ExecutionRecord, now: Instant) -> Option<ExecutionRecord> {
        let counted = self.rollups.record(&record, &mut self.totals, now);
        self.counters.uncounted += u64::from(!counted);
        if self.writer == WriterState::Gone {
            self.counters.storage += 1;
            return Some(record);
        }
        let (record, refusal) = self.buffer.push(record, now).err()?;
        match refusal {
            Refusal::Rate => self.counters.over_rate += 1,
            Refusal::Full => self.counters.over_capacity += 1,
        }
        Some(record)
    }

    /// Whether the writer must be woken now that there is something to write.
    fn must_wake(&mut self) -> bool {
        let hurry = self.buffer.is_half_full();
        self.writer = match self.writer {
            WriterState::Asleep if !hurry => WriterState::Gathering,
            WriterState::Asleep | WriterState::Gathering if hurry => WriterState::Hurrying,
            _ => return false,
        };
        true
    }

    fn has(&self, pending: Pending) -> bool {
        let rollups = self.rollups.since().is_some() || self.writing_rollups;
        self.buffer.len() > 0 || (pending == Pending::All && rollups)
    }
}
