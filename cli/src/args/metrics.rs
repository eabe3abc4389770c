//! The options of `picloud metrics`.

use clap::Args;

use super::AppOnly;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud metrics hello                      the last hour
  picloud metrics hello --since 7d
  picloud metrics hello -o json | jq '.minutes[-1]'   minute by minute

Every call is counted, also those without a record. Costs are counted by minute, so the time begins at a whole one.";

/// `picloud metrics`.
#[derive(Debug, Clone, Args)]
pub struct MetricsArgs {
    /// The script
    pub name: String,

    /// The time to look at: how long ago it began (1m, 2h, 7d), or when (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub since: String,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}
