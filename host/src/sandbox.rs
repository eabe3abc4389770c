//! The sandbox: one store for each load and each call, with its three fences, and nothing that outlives it.

pub(crate) mod fault;
mod state;

pub(crate) use fault::{StorageFailed, TreeFailed};
pub(crate) use state::{CallState, Capture, Mode};

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use picloud_sdk_wit::picloud::sdk::outcome;
use picloud_sdk_wit::{Script, ScriptPre};
use wasmtime::component::Linker;
use wasmtime::{Module, Store};

use crate::call::{AppId, Failure, NO_APP, Payload};
use crate::engine::GuestEngine;
use crate::guest::BLANK_IMAGE;
use crate::image::{self, Image};
use crate::limits::Limits;
use crate::loader::LoadReport;
use crate::problem::Code;
use crate::services;
use crate::ticker::Ticker;
use crate::turns::{Turn, Turns};

/// How much later than the deadline the outermost fence ends a call: the epoch fence, which is exact for code in the
/// sandbox, gets the first chance.
const GRACE: std::time::Duration = std::time::Duration::from_millis(100);

/// How many bytes one call of a host function may take from the guest, if its whole memory is not more: an image does.
const MAX_HOSTCALL_BYTES: usize = 128 << 20;

/// Makes stores and runs the guest in them.
pub(crate) struct Sandbox {
    guest: GuestEngine,
    linker: Linker<CallState>,
    blank: ScriptPre<CallState>,
    ticker: Ticker,
    turns: Turns,
}

/// A run of the guest that ended by itself, whatever it says.
pub(crate) struct Run<T> {
    pub(crate) result: Result<T, Failure>,
    /// Fuel used.
    pub(crate) fuel: u64,
    /// What the run left behind: log, effects, peak of memory, captured image.
    pub(crate) state: Box<CallState>,
}

impl Sandbox {
    /// A sandbox for a machine with so many processors.
    pub(crate) fn new(guest: GuestEngine, cpus: usize) -> Result<Self> {
        let linker = services::linker(&guest.engine)?;
        let blank = pre_instance(&guest, &linker, BLANK_IMAGE)?;
        let ticker = Ticker::start(guest.engine.clone())?;
        Ok(Self { guest, linker, blank, ticker, turns: Turns::new(cpus) })
    }

    /// Load a source of an app into a blank sandbox and make an image of it. With it comes the fuel that this has used, also
    /// if it fails.
    pub(crate) async fn load(
        &self,
        app: AppId,
        source: &str,
        mut state: Box<CallState>,
    ) -> (Result<Image, Failure>, u64) {
        state.mode = Mode::Load(Capture::Allowed);
        let limits = state.limits.clone();
        let load =
            async |script: &Script, store: &mut Store<CallState>| script.call_load(store, source).await;
        let run = self.run(&self.blank, app, state, load).await;
        let fuel = run.fuel;
        (self.image(run, &limits).await, fuel)
    }

    /// The image of a script that was loaded.
    async fn image(&self, run: Run<outcome::Loaded>, limits: &Limits) -> Result<Image, Failure> {
        let loaded = run.result?;
        let Mode::Load(Capture::Done { offset, memory }) = run.state.mode else {
            return Err(platform("the guest loaded a script without handing over its memory"));
        };
        let report = LoadReport {
            handles_requests: loaded.handles_requests,
            handles_events: loaded.handles_events,
            image_bytes: image::resident_bytes(&memory),
            fuel: run.fuel,
        };
        if report.image_bytes > limits.image_bytes {
            return Err(Failure::new(
                Code::MemoryExhausted,
                format!(
                    "the script's image would have {} bytes, and {} are allowed",
                    report.image_bytes, limits.image_bytes
                ),
            ));
        }
        let (guest, linker) = (self.guest.clone(), self.linker.clone());
        // Milliseconds for each megabyte, and nobody else's call should have to wait for them.
        let made = tokio::task::spawn_blocking(move || {
            let encoded = image::encode(offset, &memory);
            drop(memory);
            pre_instance(&guest, &linker, &encoded)
        });
        let pre = made.await.map_err(anyhow::Error::from).flatten().map_err(|error| {
            tracing::error!(error = %format!("{error:#}"), "cannot make an image of a loaded script");
            platform("the script's image cannot be made")
        })?;
        Ok(Image { pre, report, tests: loaded.tests })
    }

    /// Run one call in a fresh sandbox. An event's handler and a test give no answer.
    pub(crate) async fn call(&self, image: &Image, state: Box<CallState>) -> Run<Option<outcome::Response>> {
        let request = state.request.clone();
        let app = request.as_ref().map_or(NO_APP, |request| request.script.app_id);
        self.run(&image.pre, app, state, async |script, store| {
            Ok(match request.as_ref().map(|request| &request.payload) {
                Some(Payload::Event(_)) => script.call_on_event(store).await?.map(|()| None),
                Some(Payload::Test(function)) => script.call_run_test(store, function).await?.map(|()| None),
                _ => script.call_handle(store).await?.map(Some),
            })
        })
        .await
    }

    /// Instantiate, run `entry`, take everything apart. Fences: fuel, the epoch deadline for code in the sandbox, and a
    /// timer for host functions that wait, which neither fuel nor epochs would end.
    async fn run<T>(
        &self,
        pre: &ScriptPre<CallState>,
        app: AppId,
        state: Box<CallState>,
        entry: impl AsyncFnOnce(&Script, &mut Store<CallState>) -> wasmtime::Result<Result<T, outcome::Failure>>,
    ) -> Run<T> {
        let _ticking = self.ticker.keep_ticking();
        let deadline = state.deadline;
        let limits = state.limits.clone();
        let turn = self.turns.join(app);
        let mut store = self.store(state, turn.clone());
        let call = turn.run(async {
            let script = pre.instantiate_async(&mut store).await?;
            entry(&script, &mut store).await
        });
        let ended = tokio::time::timeout_at((deadline + GRACE).into(), call).await;
        let fuel = limits.fuel - store.get_fuel().unwrap_or(0).min(limits.fuel);
        let state = Box::new(store.into_data());
        let result = match ended {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(failure))) => Err(fault::of_guest(failure)),
            Ok(Err(error)) => Err(fault::of_trap(&error, &state)),
            Err(_) => Err(fault::deadline(&limits)),
        };
        Run { result, fuel, state }
    }

    /// The only place where stores are made.
    fn store(&self, state: Box<CallState>, turn: Arc<Turn>) -> Store<CallState> {
        let fuel = state.limits.fuel;
        let memory = usize::try_from(state.limits.memory_bytes).unwrap_or(usize::MAX);
        let mut store = Store::new(&self.guest.engine, *state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(MAX_HOSTCALL_BYTES.max(memory));
        store.set_fuel(fuel).unwrap_or_else(|error| tracing::error!(%error, "fuel is not configured"));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |context| {
            if Instant::now() >= context.data().deadline {
                return Err(fault::DeadlineReached.into());
            }
            Ok(turn.tick())
        });
        store
    }
}

/// The guest's component with `image` as its memory, ready to be instantiated.
fn pre_instance(
    guest: &GuestEngine,
    linker: &Linker<CallState>,
    image: &[u8],
) -> Result<ScriptPre<CallState>> {
    let module = Module::new(&guest.engine, image)?;
    let mut linker = linker.clone();
    linker.root().module("image", &module)?;
    Ok(ScriptPre::new(linker.instantiate_pre(&guest.component)?)?)
}

fn platform(message: &str) -> Failure {
    Failure::new(Code::Internal, message)
}
