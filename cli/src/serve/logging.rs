//! The server's log: for people on a terminal, JSON for programs otherwise.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Write events of this level and above to standard error, from now on.
pub(super) fn start(config: &LogConfig) -> Result<()> {
    let filter =
        EnvFilter::try_new(&config.level).with_context(|| format!("log level {:?}", config.level))?;
    let pretty = match config.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = if pretty { builder.try_init() } else { builder.json().flatten_event(true).try_init() };
    result.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}
