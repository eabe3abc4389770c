//! The options of `picloud logs`.

use clap::Args;

use super::AppOnly;

/// The most log lines that the server gives at once.
pub const MAX_LOG_LINES: u32 = 1000;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud logs hello --level warn -n 20      the newest 20
  picloud logs hello --since 1h              everything of the last hour, 1000 lines at most
  picloud logs -f                            follow, until interrupted

With -o json there is one document a line.";

/// `picloud logs`.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Only of this script
    pub name: Option<String>,

    /// Go on with new lines as they come, until interrupted
    #[arg(short, long)]
    pub follow: bool,

    /// Only lines that are at least this important
    #[arg(long, value_parser = ["debug", "info", "warn", "error"])]
    pub level: Option<String>,

    /// Show at most this many of the newest lines, 1000 at most [default: 100, with --since 1000]
    #[arg(short = 'n', long, value_name = "LINES",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LOG_LINES)))]
    pub limit: Option<u32>,

    /// Only lines from then on, of the newest 1000: how long ago (30s, 5m, 2h, 7d) or a time (2026-01-31T12:00:00Z).
    /// With -n the newest of them
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}
