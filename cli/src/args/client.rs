//! The commands that talk to a server.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use picloud_host::event::EventKind;

use super::apps::AppsArgs;
use super::event::{EventsArgs, TraceArgs, TriggersArgs};
use super::settings::{ConfigArgs, HttpPolicyArgs, SecretsArgs};
use super::tokens::{AuditArgs, TokensArgs};

/// The most log lines that the server gives at once.
pub const MAX_LOG_LINES: u32 = 1000;

/// A command that talks to a server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Upload scripts; each one becomes an HTTP endpoint
    #[command(after_help = "\
Examples:
  picloud deploy hello.rhai                  as the script `hello` of the app `default`
  picloud deploy examples/ --app shop        every *.rhai in the folder
  picloud deploy v2/hello.rhai --name hello2 under another name

A script that does not compile changes nothing; the other files are uploaded, and the exit code is 1.")]
    Deploy(DeployArgs),

    /// Call a script: its answer on standard output, what it cost on standard error
    #[command(after_help = "\
Examples:
  picloud invoke hello
  picloud invoke orders '/42?full=1' -H 'accept: application/json'
  picloud invoke orders -d @order.json       POST a file (`-d -` reads standard input)
  picloud invoke hello -o json | jq .fuel    everything in one document
  picloud invoke report --async              run it later; `--wait` waits for the answer
  picloud invoke orders -d @order.json --idempotency-key 8e03978e

The exit code is 0 for a status under 400, else 1.")]
    Invoke(InvokeArgs),

    /// Show what scripts have logged
    #[command(after_help = "\
Examples:
  picloud logs hello --level warn -n 20      the newest 20
  picloud logs hello --since 1h              everything of the last hour, 1000 lines at most
  picloud logs -f                            follow, until interrupted

With -o json there is one document a line.")]
    Logs(LogsArgs),

    /// List executions, or show one
    #[command(after_help = "\
Examples:
  picloud executions hello --limit 20
  picloud executions --fault any --since 2h --until 1h
  picloud executions show 01931e2c-...
  picloud executions cancel 01931e2c-...     an asynchronous call that waits or runs")]
    Executions(ExecutionsArgs),

    /// List the scripts of an app
    Scripts(AppOnly),

    /// Delete a script with all its versions
    Rm(NameArgs),

    /// List the versions of a script
    Versions(NameArgs),

    /// Make an older version of a script the active one
    Rollback(RollbackArgs),

    /// Read and write the keys and values of an app
    Kv(KvArgs),

    /// Set the secrets of an app, which only its scripts can read
    Secrets(SecretsArgs),

    /// Set values for the scripts of an app to read
    Config(ConfigArgs),

    /// Say which requests the scripts of an app may send to other servers
    HttpPolicy(HttpPolicyArgs),

    /// Let changes of keys, messages and queues call scripts
    Triggers(TriggersArgs),

    /// See what is still to happen and what has failed; send events, take them back, replay them
    #[command(after_help = "\
Examples:
  picloud events                              what waits, runs and is dead
  picloud events --state dead --queue mails
  picloud events replay --all --of-queue mails")]
    Events(EventsArgs),

    /// Count what waits, runs and is dead, by queue and by script
    Queues(AppOnly),

    /// Show what one call has led to, as a tree
    Trace(TraceArgs),

    /// Make apps, choose the limits of their calls, delete them
    Apps(AppsArgs),

    /// Make and revoke tokens
    Tokens(TokensArgs),

    /// Show who has changed what
    #[command(after_help = "\
Examples:
  picloud audit --app shop --since 7d
  picloud audit --by ci -n 10
  picloud audit --all -o json > audit.jsonl   everything that is kept, a document a line")]
    Audit(AuditArgs),
}

/// The app that a command is about.
#[derive(Debug, Clone, Args)]
pub struct AppOnly {
    /// The app
    #[arg(long, default_value = "default")]
    pub app: String,
}

/// `picloud deploy`.
#[derive(Debug, Clone, Args)]
pub struct DeployArgs {
    /// Scripts, and folders whose *.rhai files are all meant but those that end in _test.rhai
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// The script's name; without it the name of the file, without `.rhai`
    #[arg(long)]
    pub name: Option<String>,

    /// The app to upload to
    #[arg(long, default_value = "default")]
    pub app: String,
}

/// An HTTP request, as `invoke` and `run` take it.
#[derive(Debug, Clone, Args)]
pub struct RequestArgs {
    /// What follows the script in the URL, with the query
    #[arg(value_name = "PATH", default_value = "/")]
    pub path: String,

    /// The method; without it GET, or POST when there is a body
    #[arg(short = 'X', long)]
    pub method: Option<String>,

    /// The body: the text itself, `@FILE` for a file, or `-` for standard input
    #[arg(short, long, value_name = "BODY", allow_hyphen_values = true)]
    pub data: Option<String>,

    /// A header, as `name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
}

/// `picloud invoke`.
#[derive(Debug, Clone, Args)]
pub struct InvokeArgs {
    /// The script
    pub name: String,

    /// The request
    #[command(flatten)]
    pub request: RequestArgs,

    /// Do not wait for the answer: print where it will be
    #[arg(long = "async")]
    pub respond_async: bool,

    /// With --async: wait all the same until the call has ended, then print its answer
    #[arg(long, requires = "respond_async")]
    pub wait: bool,

    /// Do it once, however often it is sent with this key. For POST and PATCH
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,

    /// Send the token along, so that the script sees who calls. The script can read it
    #[arg(long)]
    pub with_token: bool,

    /// The app of the script
    #[arg(long, default_value = "default")]
    pub app: String,
}

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

    /// The app
    #[arg(long, default_value = "default")]
    pub app: String,
}

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

    /// The app
    #[arg(long, default_value = "default", global = true)]
    pub app: String,

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
    /// Cancel an asynchronous call that waits or runs; it has no effects
    Cancel {
        /// The id, as `picloud invoke --async` prints it
        id: String,
    },
}

/// A script, for commands that need nothing else.
#[derive(Debug, Clone, Args)]
pub struct NameArgs {
    /// The script
    pub name: String,

    /// The app of the script
    #[arg(long, default_value = "default")]
    pub app: String,
}

/// `picloud rollback`.
#[derive(Debug, Clone, Args)]
pub struct RollbackArgs {
    /// The script
    pub name: String,

    /// The number of the version, as `picloud versions` shows it
    pub version: NonZeroU32,

    /// The app of the script
    #[arg(long, default_value = "default")]
    pub app: String,
}

/// `picloud kv`.
#[derive(Debug, Clone, Args)]
pub struct KvArgs {
    /// The app
    #[arg(long, default_value = "default", global = true)]
    pub app: String,

    /// What to do
    #[command(subcommand)]
    pub command: KvCommand,
}

/// What to do with keys and values.
#[derive(Debug, Clone, Subcommand)]
pub enum KvCommand {
    /// Print the value of a key
    Get {
        /// The key
        key: String,
    },
    /// Set a key
    #[command(after_help = "\
Examples:
  picloud kv set greeting '\"hello\"'          JSON
  picloud kv set greeting hello --text       text, without the quotes of JSON
  picloud kv set logo @logo.png --blob       bytes")]
    Set(KvSet),
    /// List keys with their values
    List(KvList),
    /// Delete a key
    Rm {
        /// The key
        key: String,
    },
}

/// `picloud kv set`.
#[derive(Debug, Clone, Args)]
pub struct KvSet {
    /// The key
    pub key: String,

    /// The value: JSON text, `@FILE` for a file, or `-` for standard input
    #[arg(allow_hyphen_values = true)]
    pub value: String,

    /// The value is text, to be stored as a JSON string
    #[arg(long, conflicts_with = "blob")]
    pub text: bool,

    /// The value is bytes, to be stored as they are
    #[arg(long)]
    pub blob: bool,

    /// Forget the key after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub ttl: Option<u64>,
}

/// `picloud kv list`.
#[derive(Debug, Clone, Args)]
pub struct KvList {
    /// Only keys that start with this
    #[arg(default_value = "")]
    pub prefix: String,

    /// Show at most this many
    #[arg(short = 'n', long, default_value = "100")]
    pub limit: NonZeroU32,
}
