//! The commands that talk to a server.

use clap::Subcommand;

use super::AppOnly;
use super::apps::AppsArgs;
use super::deploy::{self, DeployArgs};
use super::event::{EventsArgs, TraceArgs, TriggersArgs};
use super::executions::{self, ExecutionsArgs};
use super::invoke::{self, InvokeArgs};
use super::kv::KvArgs;
use super::logs::{self, LogsArgs};
use super::scripts::{NameArgs, RollbackArgs};
use super::settings::{ConfigArgs, HttpPolicyArgs, SecretsArgs};
use super::tokens::{AuditArgs, TokensArgs};

/// A command that talks to a server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Upload scripts; each one becomes an HTTP endpoint
    #[command(after_help = deploy::EXAMPLES)]
    Deploy(DeployArgs),

    /// Call a script: its answer on standard output, what it cost on standard error
    #[command(after_help = invoke::EXAMPLES)]
    Invoke(InvokeArgs),

    /// Show what scripts have logged
    #[command(after_help = logs::EXAMPLES)]
    Logs(LogsArgs),

    /// List executions, or show one
    #[command(after_help = executions::EXAMPLES)]
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
