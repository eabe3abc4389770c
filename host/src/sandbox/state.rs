//! What a store holds besides the guest: the call, its meters, its effects.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::ResourceLimiter;

use crate::call::ExecRequest;
use crate::limits::Limits;
use crate::ports::Clock;
use crate::services::Services;
use crate::services::config::ConfigSession;
use crate::services::fs::FsSession;
use crate::services::http::HttpSession;
use crate::services::kv::{self, KvSession};
use crate::services::log::LogBuffer;
use crate::services::scripts::ScriptsSession;
use crate::services::secrets::SecretsSession;
use crate::services::triggers::{self, TriggersSession};
use crate::testing::TestKit;

/// The data of a store. Made for one load or one call and dropped after it.
pub(crate) struct CallState {
    /// The call; none during a load.
    pub(crate) request: Option<Arc<ExecRequest>>,
    pub(crate) limits: Arc<Limits>,
    /// When the call has to be over.
    pub(crate) deadline: Instant,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mode: Mode,
    pub(crate) memory: MemoryMeter,
    pub(crate) kv: KvSession,
    pub(crate) triggers: TriggersSession,
    pub(crate) fs: FsSession,
    pub(crate) http: HttpSession,
    pub(crate) scripts: ScriptsSession,
    pub(crate) secrets: SecretsSession,
    pub(crate) config: ConfigSession,
    /// What the test that all of it is for has set up.
    pub(crate) test: Option<Arc<TestKit>>,
    /// Whether the call has used anything that may be another the next time: keys, the time, random numbers, ids,
    /// other servers, secrets and configuration.
    pub(crate) outside: bool,
    /// Whether the call has changed something that is no part of its transaction, so that it must not run again.
    pub(crate) irrevocable: bool,
    pub(crate) log: LogBuffer,
    /// What the guest said when it panicked.
    pub(crate) panic: Option<String>,
}

/// What the sandbox is for.
pub(crate) enum Mode {
    /// Loading a script.
    Load(Capture),
    /// Running a loaded script.
    Call,
}

/// Whether the memory has been handed over.
pub(crate) enum Capture {
    Allowed,
    Done {
        /// The address of the first byte of `memory`.
        offset: u32,
        memory: Vec<u8>,
    },
}

impl CallState {
    pub(crate) fn new(
        request: Option<Arc<ExecRequest>>,
        limits: Arc<Limits>,
        deadline: Instant,
        services: &Services,
    ) -> Self {
        let app = request.as_ref().map(|request| request.script.app_id);
        let app_name = request.as_ref().map(|request| request.script.app.clone());
        Self {
            deadline,
            clock: services.clock.clone(),
            mode: Mode::Call,
            memory: MemoryMeter::new(limits.memory_bytes),
            kv: KvSession::new(services.kv.clone(), app, limits.clone()),
            triggers: TriggersSession::new(services, request.as_deref(), limits.clone()),
            fs: FsSession::new(services.grants.clone(), app_name, limits.clone()),
            http: HttpSession::new(services, request.as_deref(), limits.clone()),
            scripts: ScriptsSession::new(services.active.clone(), limits.clone()),
            secrets: SecretsSession::new(services, request.as_deref()),
            config: ConfigSession::new(services, request.as_deref()),
            test: services.test.clone(),
            outside: false,
            irrevocable: false,
            log: LogBuffer::new(&limits),
            panic: None,
            limits,
            request,
        }
    }

    /// Change places with another call of the same tree in what they share: the transaction, what is counted with it, and
    /// the moment of which they see the configuration.
    pub(crate) fn exchange_effects(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.kv, &mut other.kv);
        self.triggers.exchange(&mut other.triggers);
        std::mem::swap(&mut self.fs, &mut other.fs);
        std::mem::swap(&mut self.http, &mut other.http);
        std::mem::swap(&mut self.config, &mut other.config);
    }

    /// What the transaction is to change up to now.
    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint { kv: self.kv.savepoint(), triggers: self.triggers.savepoint() }
    }

    /// Forget what the transaction was to change since then. What was read stays read, and what was counted counted.
    pub(crate) fn undo_to(&mut self, savepoint: Savepoint) {
        self.kv.undo_to(savepoint.kv);
        self.triggers.undo_to(savepoint.triggers);
    }
}

/// The changes of a transaction at one moment.
pub(crate) struct Savepoint {
    kv: kv::Savepoint,
    triggers: triggers::Savepoint,
}

/// Bounds a sandbox's memory, and remembers how it went: a refused growth makes the guest abort, which by itself looks
/// like any other trap.
pub(crate) struct MemoryMeter {
    limit: usize,
    /// The most memory there was, in bytes.
    pub(crate) peak: u64,
    /// Whether more was asked for than is allowed.
    pub(crate) refused: bool,
}

impl MemoryMeter {
    fn new(limit_bytes: u64) -> Self {
        Self { limit: usize::try_from(limit_bytes).unwrap_or(usize::MAX), peak: 0, refused: false }
    }
}

/// Entries in a table of functions; the guest needs a few thousand and never grows its table.
const MAX_TABLE: usize = 100_000;

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.peak = self.peak.max(desired as u64);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE)
    }
}
