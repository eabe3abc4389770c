//! The executor: runs a call in the sandbox of its script's image, and commits its effects if it succeeds.

mod answer;
mod callee;
mod secrecy;
mod trial;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::answer::KeepAnswer;
use crate::aot::AotCache;
use crate::budget::Budget;
use crate::call::{
    Answer, AppId, Cost, ExecRequest, Failure, Fault, NO_APP, Outcome, Payload, ScriptRef, SourceHash,
};
use crate::engine::GuestEngine;
use crate::event::EventOp;
use crate::fair::FairSemaphore;
pub use crate::image::ImageStats;
use crate::image::{Image, ImageCache};
use crate::limits::Limits;
use crate::loader::LoadReport;
use crate::nested::NestedSlots;
use crate::ports::{CommitError, Scripts, Transaction};
use crate::problem::Code;
use crate::sandbox::{CallState, Run, Sandbox, fault};
pub use crate::services::Services;
use crate::services::kv::KvSession;
use crate::services::triggers::TriggersSession;

/// How often a conflict makes a call run again before it fails.
const MAX_RERUNS: u32 = 24;

/// From this rerun on the call waits a little before it tries again.
const PATIENCE: u32 = 8;

/// Uploads of one app that may wait for a sandbox: each holds its source.
const MAX_WAITING_LOADS: usize = 64;

/// How long an upload may wait for one.
const LOAD_PATIENCE: Duration = Duration::from_secs(30);

/// What an executor is made of.
pub struct ExecutorConfig {
    /// What the machine allows.
    pub budget: Budget,
    /// Where compiled code is kept.
    pub aot: AotCache,
    /// Bytes of images kept in memory.
    pub image_cache_bytes: usize,
    /// Sources of cold scripts.
    pub scripts: Arc<dyn Scripts>,
    /// What calls work with.
    pub services: Services,
}

/// Runs calls. Cheap to share.
#[derive(Clone)]
pub struct Executor {
    sandbox: Arc<Sandbox>,
    images: Arc<ImageCache>,
    scripts: Arc<dyn Scripts>,
    services: Services,
    /// One permit for each sandbox that is kept for uploads. A call loads its cold script in its own, and does not wait
    /// for uploads.
    loads: FairSemaphore,
    /// The sandboxes that are kept for scripts which scripts call.
    nested: NestedSlots,
}

impl Executor {
    /// Prepare the sandbox. Takes seconds if the compiled code is not in the cache.
    ///
    /// # Errors
    ///
    /// The address space is too small even for one sandbox, or this build has no guest.
    pub fn new(config: ExecutorConfig) -> Result<Self> {
        let guest = GuestEngine::new(&config.budget, &config.aot)?;
        Ok(Self {
            sandbox: Arc::new(Sandbox::new(guest, usize::try_from(config.budget.cpus)?)?),
            images: Arc::new(ImageCache::new(config.image_cache_bytes)),
            scripts: config.scripts,
            services: config.services,
            loads: FairSemaphore::new(config.budget.load_slots()),
            nested: NestedSlots::new(config.budget.nested_slots()),
        })
    }

    /// One that shares everything with this one but what calls work with.
    #[must_use]
    pub fn with_services(&self, services: Services) -> Self {
        Self { services, ..self.clone() }
    }

    /// Load a source, and tell which of its functions test it.
    ///
    /// # Errors
    ///
    /// As those of [`Loader::load`](crate::loader::Loader::load).
    pub async fn tests(&self, source: &str, limits: &Limits) -> Result<Vec<String>, Failure> {
        Ok(self.loaded(NO_APP, source, limits).await.0?.tests.clone())
    }

    /// Run a call to its end: image, sandbox, commit, and again if what it read has changed meanwhile.
    pub async fn execute(self: &Arc<Self>, request: Arc<ExecRequest>) -> Outcome {
        let started = Instant::now();
        let deadline = started + request.limits.deadline();
        let mut outcome = self.attempts(&request, deadline).await;
        let spent = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        outcome.cost.sandbox_us = spent.saturating_sub(outcome.cost.commit_us);
        outcome
    }

    async fn attempts(self: &Arc<Self>, request: &Arc<ExecRequest>, deadline: Instant) -> Outcome {
        let mut cost = Cost::default();
        if u64::from(request.trigger_depth) > request.limits.trigger_depth {
            return Outcome { repeats: true, ..Outcome::failed(cost, too_deep(request)) };
        }
        // Whoever else builds the image may take longer than this call has.
        let image = self.image(&request.script, &request.limits, deadline);
        let image = match tokio::time::timeout_at(deadline.into(), image).await {
            Ok(Ok(image)) => image,
            Ok(Err(failure)) => return Outcome::failed(cost, failure),
            Err(_) => return Outcome::failed(cost, fault::deadline(&request.limits)),
        };
        loop {
            let mut state = self.state(Some(request.clone()), request.limits.clone(), deadline);
            state.scripts.open(self.clone());
            let run = self.sandbox.call(&image, state).await;
            let Run { result, fuel, state } = run;
            cost.fuel = fuel;
            cost.memory_bytes = state.memory.peak;
            let mut callees = state.scripts.into_callees();
            let (mut log, log_dropped) = (state.log.lines, state.log.dropped);
            let redactor = state.secrets.redactor();
            let may_rerun = !(state.irrevocable || state.http.has_sent());
            let repeats = !(state.outside || state.kv.is_used() || state.triggers.is_used());
            let result = result.and_then(|response| answer::check(response, &request.limits));

            let transaction = self.transaction(request, state.kv, state.triggers);
            if let Some(redactor) = &redactor {
                secrecy::redact(redactor, &mut log, &mut callees).await;
            }
            let result = secrecy::keep(redactor, result, transaction.as_ref()).await;
            let commit = Instant::now();
            let all_fuel =
                callees.iter().fold(fuel, |sum, callee| sum.saturating_add(callee.outcome.cost.fuel));
            let committed = self.commit(request, transaction, &result, all_fuel).await;
            if result.is_ok() {
                cost.commit_us += u64::try_from(commit.elapsed().as_micros()).unwrap_or(u64::MAX);
            }
            let result = match committed {
                Ok(()) => result,
                Err(CommitError::Conflict)
                    if may_rerun && cost.reruns < MAX_RERUNS && Instant::now() < deadline =>
                {
                    cost.reruns += 1;
                    back_off(cost.reruns).await;
                    continue;
                }
                Err(CommitError::Conflict) if !may_rerun => Err(conflict_of_irrevocable()),
                Err(error) => Err(commit_failed(&error)),
            };
            let repeats = repeats && result.as_ref().is_err_and(repeatable);
            return Outcome { result, cost, log, log_dropped, repeats, callees };
        }
    }

    /// Everything that the call has read and wants to change; none if that is nothing.
    fn transaction(
        &self,
        request: &ExecRequest,
        kv: KvSession,
        triggers: TriggersSession,
    ) -> Option<Transaction> {
        let cause = request.cause();
        let mut events = triggers.into_ops();
        events.extend(request.completes.map(|id| EventOp::Complete { id }));
        let transaction = kv.into_transaction(cause);
        if transaction.is_none() && events.is_empty() && request.keeps.is_none() {
            return None;
        }
        let app = request.script.app_id;
        let nothing = || Transaction::new(app, self.services.kv.begin(), cause);
        Some(Transaction { events, ..transaction.unwrap_or_else(nothing) })
    }

    /// Commit the effects of a call that succeeded. A call that the script ended with an error has none, but what it read
    /// is checked: the error may say it, and it may not be durable yet, or never have been there at the same time.
    async fn commit(
        &self,
        request: &ExecRequest,
        transaction: Option<Transaction>,
        result: &Result<Answer, Failure>,
        fuel: u64,
    ) -> Result<(), CommitError> {
        let Some(mut transaction) = transaction else { return Ok(()) };
        match result {
            Ok(_) => {
                transaction.answers = request.kept(result, fuel, self.services.clock.now_ms());
                transaction.events.extend(request.keeps.as_ref().and_then(KeepAnswer::tells));
            }
            Err(failure) if failure.code.fault() != Some(Fault::Script) => return Ok(()),
            Err(_) => {
                transaction.writes.clear();
                transaction.events.clear();
            }
        }
        self.services.kv.commit(transaction).await.map(drop)
    }

    async fn image(
        &self,
        script: &ScriptRef,
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Arc<Image>, Failure> {
        let build = || async {
            // The store has logged why.
            let source =
                self.scripts.source(script.version_id).await.map_err(|_| {
                    Failure::new(Code::StorageUnavailable, "the script's source cannot be read")
                })?;
            let source = source
                .ok_or_else(|| Failure::new(Code::ScriptNotFound, "the script has just been deleted"))?;
            self.build(script.app_id, &source, limits, deadline).await.0
        };
        self.images.get_or_build(script.source_hash, build).await.map_err(at_call)
    }

    async fn build(
        &self,
        app: AppId,
        source: &str,
        limits: &Limits,
        deadline: Instant,
    ) -> (Result<Image, Failure>, u64) {
        self.sandbox.load(app, source, self.state(None, Arc::new(*limits), deadline)).await
    }

    /// The image of a source, and the fuel that making it has used.
    async fn loaded(&self, app: AppId, source: &str, limits: &Limits) -> (Result<Arc<Image>, Failure>, u64) {
        let spent = AtomicU64::new(0);
        let build = || async {
            if self.loads.waiting(app) >= MAX_WAITING_LOADS {
                return Err(Failure::new(Code::Saturated, "too many uploads of the app wait already"));
            }
            let permit = tokio::time::timeout(LOAD_PATIENCE, self.loads.acquire(app)).await;
            let _permit =
                permit.map_err(|_| Failure::new(Code::Saturated, "the upload has waited for too long"))?;
            let (image, fuel) = self.build(app, source, limits, Instant::now() + limits.deadline()).await;
            spent.store(fuel, Ordering::Relaxed);
            image
        };
        let image = self.images.get_or_build(SourceHash::of(source), build).await.map_err(at_upload);
        (image, spent.into_inner())
    }

    /// Load a source of an app under the same limits as a call, and keep its image. With it comes the fuel that this has used,
    /// also if it fails; none if the image was there already.
    ///
    /// # Errors
    ///
    /// As those of [`Loader::load`](crate::loader::Loader::load), but for quotas.
    pub async fn load(
        &self,
        app: AppId,
        source: &str,
        limits: &Limits,
    ) -> (Result<LoadReport, Failure>, u64) {
        let (image, fuel) = self.loaded(app, source, limits).await;
        (image.map(|image| image.report), fuel)
    }

    /// What the images in memory take.
    #[must_use]
    pub fn images(&self) -> ImageStats {
        self.images.stats()
    }

    fn state(
        &self,
        request: Option<Arc<ExecRequest>>,
        limits: Arc<Limits>,
        deadline: Instant,
    ) -> Box<CallState> {
        Box::new(CallState::new(request, limits, deadline, &self.services))
    }
}

/// A failure of a load, in the words of an upload.
fn at_upload(failure: Failure) -> Failure {
    let code = match failure.code {
        Code::ScriptError | Code::ScriptThrew => Code::TopLevelFailed,
        Code::FuelExhausted | Code::MemoryExhausted | Code::DeadlineExceeded | Code::StackExhausted => {
            Code::TopLevelLimit
        }
        other => other,
    };
    Failure { code, status: None, ..failure }
}

/// A failure of a load, in the words of a call: the source loaded once, but limits may have changed since, or PiCloud.
/// That is nothing that the caller could do better.
fn at_call(failure: Failure) -> Failure {
    let code = match failure.code {
        Code::CompileFailed => Code::ScriptError,
        other => other,
    };
    Failure { code, status: None, ..failure }
}

/// Wait longer the more often a call has lost, and not the same time as the others that lost with it.
async fn back_off(reruns: u32) {
    if reruns < PATIENCE {
        return;
    }
    let random = getrandom::u32().unwrap_or_default() % (reruns * 400);
    tokio::time::sleep(Duration::from_micros(u64::from(random))).await;
}

fn too_deep(request: &ExecRequest) -> Failure {
    let kind = match request.payload {
        Payload::Http(_) | Payload::Call(_) => "calls",
        Payload::Event(_) => "triggers",
        Payload::Test(_) => "tests",
    };
    Failure::new(
        Code::DepthExceeded,
        format!("more than {} {kind} followed on one another", request.limits.trigger_depth),
    )
}

/// Whether a failure comes from the script and its event alone, if nothing else was used.
fn repeatable(failure: &Failure) -> bool {
    match failure.code {
        Code::DeadlineExceeded => false,
        code => code.fault() != Some(Fault::Platform),
    }
}

/// Running the call again would do twice what it has done outside of its transaction.
fn conflict_of_irrevocable() -> Failure {
    Failure::new(
        Code::KvConflict,
        "another call changed keys that this call read; no key was changed, but what this call has done outside, to \
         files or with HTTP requests, stays, so it was not run again",
    )
}

fn commit_failed(error: &CommitError) -> Failure {
    match error {
        CommitError::EventGone => {
            Failure::new(Code::EventGone, "the event was taken away from this call; nothing was changed")
        }
        CommitError::AppGone => {
            Failure::new(Code::AppNotFound, "the app was deleted while the call ran; nothing was changed")
        }
        CommitError::TooManyEvents => Failure::new(
            Code::TooManyEvents,
            "triggers would make more events of the changes of this call than one call may cause; nothing was changed",
        ),
        CommitError::Quota(exceeded) => {
            Failure::new(exceeded.code(), format!("{exceeded}; nothing was changed"))
        }
        CommitError::Conflict => Failure::new(
            Code::KvConflict,
            "other calls kept changing the keys that this call read; nothing was changed, and trying again may help",
        ),
        // The store has logged why.
        CommitError::Store(_) => Failure::new(
            Code::StorageUnavailable,
            "the effects of the call could not be stored; nothing was changed",
        ),
    }
}
