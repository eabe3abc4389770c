//! The commands that talk to a server.

use clap::Subcommand;

use super::AppOnly;
use super::apps::AppsArgs;
use super::backup::BackupArgs;
use super::canary::CanaryArgs;
use super::deploy::{self, DeployArgs};
use super::dev::{self, DevArgs};
use super::event::{EventsArgs, TraceArgs, TriggersArgs};
use super::executions::{self, ExecutionsArgs};
use super::invoke::{self, InvokeArgs};
use super::kv::KvArgs;
use super::logs::{self, LogsArgs};
use super::metrics::{self, MetricsArgs};
use super::routes::{AccessArgs, RoutesArgs};
use super::scripts::{NameArgs, RollbackArgs, SourceArgs};
use super::session::{self, LoginArgs, PasswdArgs};
use super::settings::{ConfigArgs, HttpPolicyArgs, SecretsArgs};
use super::tokens::{AuditArgs, TokensArgs};
use super::top::{self, TopArgs};
use super::users::UsersArgs;

/// A command that talks to a server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Upload scripts; each one becomes an HTTP endpoint
    #[command(after_help = deploy::EXAMPLES)]
    Deploy(DeployArgs),

    /// Upload scripts when they are saved, and show what calls log and cost
    #[command(after_help = dev::EXAMPLES)]
    Dev(DevArgs),

    /// Call a script: its answer on standard output, what it cost on standard error
    #[command(after_help = invoke::EXAMPLES)]
    Invoke(InvokeArgs),

    /// Show what scripts have logged
    #[command(after_help = logs::EXAMPLES)]
    Logs(LogsArgs),

    /// List executions, or show one
    #[command(after_help = executions::EXAMPLES)]
    Executions(ExecutionsArgs),

    /// Show which scripts take the fuel, again and again
    #[command(after_help = top::EXAMPLES)]
    Top(TopArgs),

    /// Show what the calls of a script cost, by version
    #[command(after_help = metrics::EXAMPLES)]
    Metrics(MetricsArgs),

    /// List the scripts of an app
    #[command(after_help = "\
Examples:
  picloud scripts
  picloud scripts -o json | jq -r '.items[].name'")]
    Scripts(AppOnly),

    /// Delete a script with all its versions
    #[command(after_help = "\
Examples:
  picloud rm hello
  picloud rm hello --app shop")]
    Rm(NameArgs),

    /// List the versions of a script
    #[command(after_help = "\
Examples:
  picloud versions hello
  picloud versions hello -o json | jq '.items[0].load_fuel'")]
    Versions(NameArgs),

    /// Print the source of a script as it is deployed
    #[command(after_help = "\
Examples:
  picloud source hello                       that of the active version
  picloud source hello 3 > hello.rhai
  diff <(picloud source hello 3) <(picloud source hello)")]
    Source(SourceArgs),

    /// Make an older version of a script the active one
    #[command(after_help = "\
Examples:
  picloud versions hello                     which versions there are
  picloud rollback hello                     to the version that was active before
  picloud rollback hello 3                   from the next call on it is version 3")]
    Rollback(RollbackArgs),

    /// Let some of the calls of a script go to a new version, which ends by itself if that does worse
    #[command(after_help = "\
Examples:
  picloud deploy order.rhai --canary 10      upload a version; one call in ten goes to it
  picloud canary show order                  how both versions do
  picloud canary promote order               all calls go to it from now on
  picloud canary stop order                  none does")]
    Canary(CanaryArgs),

    /// Read and write the keys and values of an app
    #[command(after_help = "\
Examples:
  picloud kv set greeting '\"hello\"'
  picloud kv get greeting
  picloud kv list visits/
  picloud kv export > keys.jsonl")]
    Kv(KvArgs),

    /// Set the secrets of an app, which only its scripts can read
    #[command(after_help = "\
Examples:
  picloud secrets                            their names; nothing shows a value
  pass show mail | picloud secrets set mail-password
  picloud secrets rm mail-password")]
    Secrets(SecretsArgs),

    /// Set values for the scripts of an app to read
    #[command(after_help = "\
Examples:
  picloud config set threshold 21.5
  picloud config get threshold
  picloud config -o json")]
    Config(ConfigArgs),

    /// Say which requests the scripts of an app may send to other servers
    #[command(after_help = "\
Examples:
  picloud http-policy                        what is allowed
  picloud http-policy allow api.example.org --method GET")]
    HttpPolicy(HttpPolicyArgs),

    /// List the directories of the server that the scripts of an app may use
    #[command(after_help = "\
Examples:
  picloud grants
  picloud grants -o json | jq -r '.items[].name'

Who runs the server grants them, with `picloud serve --fs` or in its settings.")]
    Grants(AppOnly),

    /// Let changes of keys, messages and queues call scripts
    #[command(after_help = "\
Examples:
  picloud triggers
  picloud triggers -o json | jq '.items[].name'")]
    Triggers(TriggersArgs),

    /// See what is still to happen and what has failed; send events, take them back, replay them
    #[command(after_help = "\
Examples:
  picloud events                              what waits, runs and is dead
  picloud events --state dead --queue mails
  picloud events replay --all --of-queue mails")]
    Events(EventsArgs),

    /// Count what waits, runs and is dead, by queue and by script
    #[command(
        visible_alias = "queue",
        after_help = "\
Examples:
  picloud queues
  picloud events --queue mails               what is in one of them
  picloud events send --to-queue mails @mail.json"
    )]
    Queues(AppOnly),

    /// Show what one call has led to, as a tree
    #[command(after_help = "\
Examples:
  picloud trace 01931e2c-...                 the id, as `picloud executions` shows it")]
    Trace(TraceArgs),

    /// Say which requests an app takes beside those for its scripts
    #[command(after_help = "\
Examples:
  picloud routes
  picloud routes set users --path '/users/{id}' --script users
  picloud routes rm users")]
    Routes(RoutesArgs),

    /// Say who has to be there for a request for a script to be taken
    #[command(after_help = "\
Examples:
  picloud access order token                 one with the scope app:APP:invoke
  picloud access order basic:users           a name and its password, of the secret `users`
  picloud access order hmac:key              a signature of the body with the secret `key`
  picloud access order none                  everybody")]
    Access(AccessArgs),

    /// Make apps, choose the limits of their calls, delete them
    #[command(after_help = "\
Examples:
  picloud apps
  picloud apps create shop
  picloud apps set shop --limit fuel=10000000 --quota calls_per_second=50
  picloud apps rm shop --confirm shop")]
    Apps(AppsArgs),

    /// Make and revoke tokens
    #[command(after_help = "\
Examples:
  picloud tokens
  picloud tokens create ci --scope app:shop:deploy --expires 90d
  picloud tokens rm ci")]
    Tokens(TokensArgs),

    /// Log in with a name and a password, for the commands that follow
    #[command(after_help = session::LOGIN_EXAMPLES)]
    Login(LoginArgs),

    /// Log out, on the server and here
    #[command(after_help = "\
Examples:
  picloud logout
  picloud logout --server https://pi.example.org")]
    Logout,

    /// Show who the server takes you for
    #[command(after_help = "\
Examples:
  picloud whoami
  picloud whoami -o json | jq -r .name")]
    Whoami,

    /// Set your own password; it is asked for, or comes from standard input
    #[command(after_help = session::PASSWD_EXAMPLES)]
    Passwd(PasswdArgs),

    /// Make users, choose what they may do, set their passwords
    #[command(after_help = "\
Examples:
  picloud users
  picloud users create ann --scope admin
  picloud users set-scopes bob --scope app:shop:deploy
  picloud users passwd bob")]
    Users(UsersArgs),

    /// Write a backup of all that a server has, while it runs
    #[command(after_help = "\
Examples:
  picloud backup monday.db
  picloud backup \"$(date +%F).db\" && picloud restore ...   see `picloud restore --help`

Apps, scripts, keys, events, tokens and the audit log, as they were at one moment, and secrets as the server's key has
encrypted them. The key itself and the records of executions are not in it.")]
    Backup(BackupArgs),

    /// Show who has changed what
    #[command(after_help = "\
Examples:
  picloud audit --app shop --since 7d
  picloud audit --by ci -n 10
  picloud audit --all -o json > audit.jsonl   everything that is kept, a document a line")]
    Audit(AuditArgs),
}
