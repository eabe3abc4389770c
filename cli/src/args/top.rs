//! The options of `picloud top`.

use clap::Args;

use super::AppOnly;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud top                                the last hour, drawn anew every 2 seconds until Ctrl-C
  picloud top --since 1m --sort calls        what is called most now
  picloud top --once                         a table, as it also is when the output is no terminal
  picloud top -o json | jq '.items[0]'       the script that took the most fuel

Costs are counted by minute, so the time begins at a whole one. CALLS/S is what came between the last two drawings.";

/// `picloud top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// The time to look at: how long ago it began (1m, 2h, 7d), or when (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub since: String,

    /// What comes first: the most `fuel`, or the most `calls`
    #[arg(long, default_value = "fuel", value_parser = ["fuel", "calls"], hide_possible_values = true)]
    pub sort: String,

    /// Show at most this many scripts [default: as many as fit, or 100]
    #[arg(short = 'n', long, value_name = "SCRIPTS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: Option<u16>,

    /// Print the table once and end
    #[arg(long)]
    pub once: bool,

    /// Seconds between two drawings
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}
