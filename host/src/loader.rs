//! Loading a source before it becomes a version: what the control plane asks of the executor at upload.

use async_trait::async_trait;

use crate::call::Failure;
use crate::limits::Limits;

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

/// Compiles a source in a sandbox and keeps its image for the first call.
#[async_trait]
pub trait Loader: Send + Sync {
    /// Load `source` under the same limits as a call.
    ///
    /// # Errors
    ///
    /// `compile-failed` and `top-level-failed` with a position, `top-level-limit`, or a platform fault.
    async fn load(&self, source: &str, limits: &Limits) -> Result<LoadReport, Failure>;
}
