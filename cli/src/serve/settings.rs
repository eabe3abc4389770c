//! What the parts of the server make of the configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use picloud_host::budget::Budget;
use picloud_host::gate::{Gate, GateConfig};
use picloud_host::grants::Grants;
use picloud_host::ingress::{AnswerMemory, BodyMemory, ServerConfig};
use picloud_host::pressure::Pressure;
use picloud_manager::store::retention::Bounds;
use picloud_manager::telemetry::{Capacity, Settings};

use super::PATIENCE;
use crate::config::{ServeConfig, TelemetryConfig};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The directories that scripts may use. None of them may hold the data directory, or be in it: what is in there is
/// beyond every grant.
pub(super) fn grants(config: &ServeConfig) -> Result<Grants> {
    let data = config.data_dir.canonicalize()?;
    let key_file = config.secret_key_file.as_deref().and_then(|file| std::path::absolute(file).ok());
    let key_folder = key_file.as_deref().and_then(Path::parent).and_then(|folder| folder.canonicalize().ok());
    for (name, grant) in &config.fs {
        // What is not there is told below.
        let Ok(path) = grant.path.canonicalize() else { continue };
        if path.starts_with(&data) || data.starts_with(&path) {
            bail!(
                "cannot grant {} as fs.{name}: the data directory {} must not be open to scripts",
                grant.path.display(),
                config.data_dir.display()
            );
        }
        if key_folder.as_ref().is_some_and(|folder| folder.starts_with(&path)) {
            bail!(
                "cannot grant {} as fs.{name}: the key file of secrets must not be open to scripts",
                grant.path.display()
            );
        }
    }
    Grants::open(&config.fs)
}

/// How much telemetry is kept.
pub(super) fn telemetry(config: &TelemetryConfig) -> Settings {
    let defaults = Settings::default();
    let age_ms = config.max_age_days.saturating_mul(DAY_MS);
    Settings {
        capacity: Capacity {
            records_per_second: u32::try_from(config.max_rows_per_second).unwrap_or(u32::MAX),
            ..defaults.capacity
        },
        bounds: Bounds {
            file_bytes: config.max_bytes,
            record_age_ms: age_ms,
            // Numbers by minute are small and stay longer than the records they sum up.
            minute_age_ms: age_ms.max(defaults.bounds.minute_age_ms),
        },
        ..defaults
    }
}

/// How many calls may run and wait.
fn places(config: &ServeConfig, budget: &Budget) -> GateConfig {
    let most = budget.call_slots();
    GateConfig {
        concurrent: config.max_concurrent_calls.map_or(most, usize::from).min(most),
        waiting: config.max_waiting_calls,
        patience: PATIENCE,
    }
}

/// The gate for calls, which is closed while memory runs short.
pub(super) fn gate(config: &ServeConfig, budget: &Budget) -> Arc<Gate> {
    let pressure = Pressure::new(&config.system_root, config.memory_reserve_bytes);
    Arc::new(Gate::new(places(config, budget)).under(pressure))
}

/// Memory for the bodies of requests.
pub(super) fn bodies(config: &ServeConfig, budget: &Budget) -> Arc<BodyMemory> {
    Arc::new(BodyMemory::new(body_memory(config, budget)))
}

/// As much again for answers that are not sent yet.
pub(super) fn answers(config: &ServeConfig, budget: &Budget) -> AnswerMemory {
    AnswerMemory::new(body_memory(config, budget))
}

/// A sixteenth of what there is, but room for a few of the largest bodies at least.
fn body_memory(config: &ServeConfig, budget: &Budget) -> usize {
    let least = config.limits.request_body_bytes.saturating_mul(4);
    let bytes = config.body_memory_bytes.unwrap_or_else(|| least.max(budget.memory / 16));
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// How connections are treated.
pub(super) fn server(config: &ServeConfig) -> ServerConfig {
    ServerConfig { drain: Duration::from_secs(config.drain_seconds), ..ServerConfig::default() }
}
