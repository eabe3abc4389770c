//! The options of `picloud doctor`.

use std::path::PathBuf;

use clap::Args;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud doctor                               this machine, ./data, and the server that commands talk to
  picloud doctor --data-dir /var/lib/picloud
  picloud doctor -o json | jq '.items[] | select(.state != \"ok\")'

Each check is ok, warn or fail, with what was found and what to do about it. The exit code is 1 when one fails.
It writes nothing but one file of a few KiB in the data directory, which it removes, to see how long the disk takes.";

/// `picloud doctor`. The data directory is found as `picloud serve` finds it.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// The server's data directory [default: ./data] [env: PICLOUD_DATA_DIR]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Read the server's settings from a TOML file [env: PICLOUD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
