//! The options of `picloud executions`.

use std::num::NonZeroU32;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use picloud_host::event::EventKind;

use super::AppOnly;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud executions hello --limit 20
  picloud executions --fault any --since 2h --until 1h
  picloud executions show 01931e2c-...
  picloud executions answer 01931e2c-...     what an asynchronous call has answered
  picloud executions cancel 01931e2c-...     an asynchronous call that waits or runs";

/// `picloud executions`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ExecutionsArgs {
    /// Only of this script
    pub name: Option<String>,

    /// Only with this status, such as 500, or 5xx
    #[arg(long)]
    pub status: Option<String>,

    /// Only with this fault: script, limit, platform, any (all that failed) or none
    #[arg(long, value_parser = ["script", "limit", "platform", "any", "none"], hide_possible_values = true)]
    pub fault: Option<String>,

    /// Only those that failed with this error code, such as deadline-exceeded
    #[arg(long)]
    pub code: Option<String>,

    /// Only of this version of the script
    #[arg(long)]
    pub version: Option<NonZeroU32>,

    /// Only those that this made run: http, call (another script), a kind of event (kv, schedule, topic, queue, timer,
    /// webhook or mqtt), or event for all of these kinds
    #[arg(long, value_parser = PossibleValuesParser::new(triggers()), hide_possible_values = true)]
    pub trigger: Option<String>,

    /// Only the execution with this id, and those that its triggers led to
    #[arg(long, value_name = "ID")]
    pub root: Option<String>,

    /// Only from then on: how long ago (30s, 5m, 2h, 7d) or a time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Only before then; as --since
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// Which come first: desc (the newest) or asc (the oldest)
    #[arg(long, default_value = "desc", value_parser = ["desc", "asc"], hide_possible_values = true)]
    pub order: String,

    /// Show at most this many
    #[arg(short = 'n', long, default_value = "50")]
    pub limit: NonZeroU32,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,

    /// Show one instead
    #[command(subcommand)]
    pub command: Option<ExecutionsCommand>,
}

/// Everything that can make a script run, as records of executions name it.
fn triggers() -> impl Iterator<Item = &'static str> {
    EventKind::ALL.iter().map(|kind| kind.as_str()).chain(["call"])
}

/// `picloud executions show`.
#[derive(Debug, Clone, Subcommand)]
pub enum ExecutionsCommand {
    /// Show one execution: what it cost, why it failed, what it logged, or how far it is
    Show {
        /// The id, as in the header PiCloud-Execution-Id
        id: String,
    },
    /// Print the answer of an asynchronous call, or of one with an idempotency key
    Answer {
        /// The id, as `picloud invoke --async` prints it
        id: String,
    },
    /// Cancel an asynchronous call that waits or runs; it has no effects
    Cancel {
        /// The id, as `picloud invoke --async` prints it
        id: String,
    },
}
