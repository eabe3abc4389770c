//! The commands that make backups and take them back.

use std::path::PathBuf;

use clap::Args;

/// `picloud backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// The file to write; it must not be there yet
    pub file: PathBuf,
}

/// What stands below the options of `picloud restore`.
pub(super) const RESTORE_EXAMPLES: &str = "\
Examples:
  picloud restore monday.db --data-dir /var/lib/picloud
  picloud restore monday.db --data-dir ./other          into a new data directory

The server has to be stopped first. Secrets can be read only with the key that they were set under, `secret.key` in the
old data directory if nothing else was said: keep a copy of it, but not beside the backups.";

/// `picloud restore`. The data directory is found as `picloud serve` finds it.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The backup
    pub file: PathBuf,

    /// The server's data directory [default: ./data] [env: PICLOUD_DATA_DIR]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Read the server's settings from a TOML file [env: PICLOUD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
