//! Loading a source before it becomes a version: what the control plane asks of the executor at upload.

use std::sync::Arc;

use async_trait::async_trait;

use crate::call::{AppId, Failure, HttpCall, Outcome};
use crate::executor::Executor;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::quota::{QuotaExceeded, Quotas};

/// What a source that loads can do, and what loading it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadReport {
    /// It answers HTTP requests.
    pub handles_requests: bool,
    /// It handles events.
    pub handles_events: bool,
    /// Bytes of its image that are not zero.
    pub image_bytes: u64,
    /// Fuel that compiling it and running its top level took.
    pub fuel: u64,
}

/// A source that is to be loaded.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// Whose it is.
    pub app: AppId,
    /// The source.
    pub source: &'a str,
    /// The limits.
    pub limits: &'a Limits,
    /// What its app may have; none where it must not be kept from it by what it has used, as from going back to a version that
    /// is better.
    pub quotas: Option<&'a Quotas>,
}

/// Why a source is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Its app has used up its fuel for now.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// It does not load.
    #[error("{}", .0.message)]
    Failed(Failure),
}

impl From<Failure> for LoadError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// One call of a source, to see how it goes.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The app whose keys, secrets and configuration it sees.
    pub app: AppId,
    /// The app's name.
    pub app_name: Arc<str>,
    /// The script's name.
    pub script: Arc<str>,
    /// The source. It has been loaded.
    pub source: Arc<str>,
    /// The request.
    pub call: HttpCall,
    /// The limits of the call.
    pub limits: Limits,
    /// What its app may have.
    pub quotas: Quotas,
}

/// Compiles a source in a sandbox and keeps its image for the first call.
#[async_trait]
pub trait Loader: Send + Sync {
    /// Load a source under the same limits as a call. Its app may use as much fuel for this as for calls, besides.
    ///
    /// # Errors
    ///
    /// `compile-failed` and `top-level-failed` with a position, `top-level-limit`, or a platform fault; `quota-exceeded` and
    /// `saturated`.
    async fn load(&self, load: Load<'_>) -> Result<LoadReport, LoadError>;

    /// Call a source once, so that nothing of it stays: what it writes and sends is not done. It is a call like others to the
    /// gate and to the quotas of its app.
    ///
    /// # Errors
    ///
    /// It was not let in: `saturated` or `quota-exceeded`.
    async fn trial(&self, trial: Trial) -> Result<Outcome, Problem>;
}

/// The executor, with the gate before it.
pub struct GatedLoader {
    /// Loads and calls.
    pub executor: Arc<Executor>,
    /// Lets calls in.
    pub gate: Arc<Gate>,
}

#[async_trait]
impl Loader for GatedLoader {
    async fn load(&self, load: Load<'_>) -> Result<LoadReport, LoadError> {
        let Load { app, source, limits, quotas } = load;
        if let Some(quotas) = quotas {
            self.gate.check_load(app, quotas)?;
        }
        let (report, fuel) = self.executor.load(app, source, limits).await;
        self.gate.charge_load(app, fuel);
        Ok(report?)
    }

    async fn trial(&self, trial: Trial) -> Result<Outcome, Problem> {
        let mut admission = self.gate.admit(trial.app, &trial.quotas).await?;
        let outcome = self.executor.trial(trial).await;
        admission.charge(outcome.fuel());
        Ok(outcome)
    }
}
