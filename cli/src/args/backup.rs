//! The commands that make backups, take them back, and make a database file of another one.

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

The server has to be stopped first. Root works as the user whom the data directory belongs to. Secrets can be read only with the key
that they were set under, `secret.key` in the old data directory if nothing else was said: keep a copy of it, but not beside
the backups.";

/// `picloud restore`. The data directory is found as `picloud serve` finds it.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The backup, or `-` for standard input
    pub file: PathBuf,

    /// The server's data directory [default: ./data] [env: PICLOUD_DATA_DIR]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Read the server's settings from a TOML file [env: PICLOUD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What stands below the options of `picloud migrate`.
pub(super) const MIGRATE_EXAMPLES: &str = "\
Examples:
  picloud migrate --from /var/lib/picloud/picloud.db --to /mnt/disk/picloud.db      to another disk
  picloud migrate --from /var/lib/picloud/telemetry.db --to /mnt/disk/telemetry.db  what is known of executions, too
  picloud migrate --from monday.db --to new.db                                      an old backup, up to date

The server has to be stopped first. Secrets can be read only with the key that they were set under: `secret.key` in the
old data directory goes with picloud.db if nothing else was said.";

/// `picloud migrate`.
#[derive(Debug, Clone, Args)]
pub struct MigrateArgs {
    /// The database file to read, picloud.db or telemetry.db or a backup; it stays as it is
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,

    /// The database file to make; it must not be there yet
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}
