//! The commands about triggers and events.

use std::num::NonZeroU32;

use clap::{Args, Subcommand};

use super::AppOnly;

/// `picloud triggers`.
#[derive(Debug, Clone, Args)]
pub struct TriggersArgs {
    /// The app.
    #[command(flatten)]
    pub app: AppOnly,

    /// What to do; without it the triggers are listed
    #[command(subcommand)]
    pub command: Option<TriggersCommand>,
}

/// What to do with triggers.
#[derive(Debug, Clone, Subcommand)]
pub enum TriggersCommand {
    /// List the triggers
    List,
    /// Show one trigger
    Show {
        /// The trigger
        name: String,
    },
    /// Make a trigger, or give it another form
    #[command(after_help = "\
Examples:
  picloud triggers set low-stock '{\"kind\": \"kv\", \"prefix\": \"stock/\", \"script\": \"reorder\"}'
  picloud triggers set mails '{\"kind\": \"queue\", \"script\": \"send-mail\", \"concurrency\": 2}'
  picloud triggers set report '{\"kind\": \"schedule\", \"script\": \"report\", \"cron\": \"0 7 * * 1-5\",
                                \"timezone\": \"Europe/Berlin\"}'
  picloud triggers set push '{\"kind\": \"webhook\", \"scheme\": \"github\", \"secret\": \"github\", \"script\": \"on-push\"}'
  picloud triggers set heat @heat.json        from a file (`-` reads standard input)")]
    Set {
        /// The trigger
        name: String,
        /// What it is to be: JSON text, `@FILE` for a file, or `-` for standard input
        trigger: String,
    },
    /// Run a schedule now, whatever its times are
    Run {
        /// The schedule
        name: String,
    },
    /// Delete a trigger; events that it has made stay
    Rm {
        /// The trigger
        name: String,
    },
}

/// `picloud events`. A filter before a subcommand would be taken for the subcommand's own.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct EventsArgs {
    /// The app.
    #[command(flatten)]
    pub app: AppOnly,

    /// Which events
    #[command(flatten)]
    pub filter: EventFilter,

    /// Show at most this many
    #[arg(short = 'n', long, default_value = "50")]
    pub limit: NonZeroU32,

    /// What to do; without it the events are listed
    #[command(subcommand)]
    pub command: Option<EventsCommand>,
}

/// Which events are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct EventFilter {
    /// Only those that are waiting, running or dead
    #[arg(long)]
    pub state: Option<String>,

    /// Only those for this script
    #[arg(long)]
    pub script: Option<String>,

    /// Only those in this queue
    #[arg(long)]
    pub queue: Option<String>,

    /// Only those of this kind: kv, schedule, topic, queue, timer, webhook, mqtt, publish, callback or http
    #[arg(long)]
    pub kind: Option<String>,

    /// Only those that this execution has led to
    #[arg(long, value_name = "EXECUTION")]
    pub root: Option<String>,
}

/// What to do with events.
#[derive(Debug, Clone, Subcommand)]
pub enum EventsCommand {
    /// Show one event with its data, and why it failed
    Show {
        /// The event
        id: String,
    },
    /// Send an event: to a topic, a queue or a script
    #[command(after_help = "\
Examples:
  picloud events send --to-topic home/kitchen '{\"celsius\": 21.5}'
  picloud events send --to-queue mails @mail.json --delay 60
  picloud events send --to-script tidy-up null --at 2026-12-24T18:00:00+01:00")]
    Send(SendArgs),
    /// Take back an event that waits, or remove a dead one
    Rm {
        /// The event
        id: String,
    },
    /// Let a dead event, or with --all every dead event, wait again
    Replay(ManyArgs),
    /// Remove every dead event
    Purge {
        /// Which of them
        #[command(flatten)]
        filter: ManyFilter,
    },
}

/// `picloud events send`.
#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// Publish it to this topic
    #[arg(long, value_name = "TOPIC")]
    pub to_topic: Option<String>,

    /// Add it to this queue
    #[arg(long, value_name = "QUEUE")]
    pub to_queue: Option<String>,

    /// Let this script handle it
    #[arg(long, value_name = "SCRIPT")]
    pub to_script: Option<String>,

    /// Not before so many seconds have passed
    #[arg(long, value_name = "SECONDS", conflicts_with = "at")]
    pub delay: Option<u64>,

    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,

    /// Do not add it while one with this key waits or runs
    #[arg(long, value_name = "KEY")]
    pub dedupe_key: Option<String>,

    /// The data: JSON text, `@FILE` for a file, or `-` for standard input
    pub data: String,
}

/// One dead event or many.
#[derive(Debug, Clone, Args)]
pub struct ManyArgs {
    /// The event
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub id: Option<String>,

    /// Every dead event
    #[arg(long)]
    pub all: bool,

    /// Which of them
    #[command(flatten)]
    pub filter: ManyFilter,
}

/// Which dead events are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct ManyFilter {
    /// Only those for this script
    #[arg(long = "of-script", value_name = "SCRIPT")]
    pub script: Option<String>,

    /// Only those in this queue
    #[arg(long = "of-queue", value_name = "QUEUE")]
    pub queue: Option<String>,

    /// Only those of this kind, such as publish or callback
    #[arg(long = "of-kind", value_name = "KIND")]
    pub kind: Option<String>,
}

/// `picloud trace`.
#[derive(Debug, Clone, Args)]
pub struct TraceArgs {
    /// The execution, or the root_id of an event
    pub root: String,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}
