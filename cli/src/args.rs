//! What can be typed after `picloud`, with its help.

mod app;
mod apps;
mod backup;
mod canary;
mod client;
mod deploy;
mod dev;
mod doctor;
mod event;
mod executions;
mod explain;
mod init;
mod invoke;
mod kv;
mod logs;
mod manual;
mod metrics;
mod routes;
mod run;
mod scripts;
mod serve;
mod session;
mod settings;
mod test;
mod token;
mod tokens;
mod top;
mod users;

use clap::{Parser, Subcommand};

use crate::exit::EXIT_CODES;
use crate::output::Format;

pub use app::{AppOnly, DEFAULT_APP};
pub use apps::{AppSettings, AppsArgs, AppsCommand};
pub use backup::{BackupArgs, MigrateArgs, RestoreArgs};
pub use canary::{CanaryArgs, CanaryCommand, NewCanary};
pub use client::ClientCommand;
pub use deploy::DeployArgs;
pub use dev::DevArgs;
pub use doctor::DoctorArgs;
pub use event::{
    EventFilter, EventsArgs, EventsCommand, ManyArgs, ManyFilter, SendArgs, TraceArgs, TriggersArgs,
    TriggersCommand,
};
pub use executions::{ExecutionsArgs, ExecutionsCommand};
pub use explain::ExplainArgs;
pub use init::InitArgs;
pub use invoke::{InvokeArgs, RequestArgs};
pub use kv::{KvArgs, KvCommand, KvList, KvSet};
pub use logs::{LogsArgs, MAX_LOG_LINES};
pub use manual::{CompletionsArgs, ManArgs};
pub use metrics::MetricsArgs;
pub use routes::{AccessArgs, NewRoute, RoutesArgs, RoutesCommand};
pub use run::{GivenArgs, RunArgs};
pub use scripts::{NameArgs, RollbackArgs, SourceArgs};
pub use serve::ServeArgs;
pub use session::{LoginArgs, PasswdArgs};
pub use settings::{
    ConfigArgs, ConfigCommand, HttpPolicyArgs, HttpPolicyCommand, HttpRule, SecretsArgs, SecretsCommand,
};
pub use test::{TestArgs, TestFormat};
pub use token::{TokenArgs, TokenCommand, TokenReplace};
pub use tokens::{AuditArgs, NewToken, TokensArgs, TokensCommand};
pub use top::TopArgs;
pub use users::{NewUser, PasswordInput, UsersArgs, UsersCommand};

const EXAMPLES: &str = "\
Examples:
  picloud serve --dev                        start a server on this machine
  picloud init shop && cd shop               make a project with a script and its tests
  picloud deploy                             upload the scripts of the project
  picloud invoke hello /world -d '{\"a\": 1}'  call a script, see the answer and what it cost
  picloud logs hello -f                      follow what a script logs
  picloud doctor                             check this machine and the server";

const SETTINGS: &str = "\
The server and the token come from --server and --token, else from PICLOUD_SERVER and PICLOUD_TOKEN, else from
client.toml in $XDG_CONFIG_HOME/picloud or ~/.config/picloud, which the first local start of a server and
`picloud login` write,
else the server is http://127.0.0.1:8080, without a token. A token is sent to the server it belongs to only.";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "picloud",
    bin_name = "picloud",
    version,
    about = "Upload a Rhai script, get an HTTP endpoint: the server and its client.",
    after_help = format!("{EXAMPLES}\n\n{SETTINGS}\n\n{EXIT_CODES}"),
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub struct Args {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that may stand before or after the command.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The server to talk to, such as http://127.0.0.1:8080 [env: PICLOUD_SERVER]
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<String>,

    /// The token to show it; other users of this machine can see it in the list of processes, unlike a variable
    /// [env: PICLOUD_TOKEN]
    #[arg(long, value_name = "TOKEN", global = true, hide_short_help = true)]
    pub token: Option<String>,

    /// How to print: `table` for people, or `json` (errors too, on standard error)
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        global = true,
        hide_possible_values = true
    )]
    pub output: Format,

    /// Give up when the server takes longer than this many seconds [default: 60, for invoke 960]
    #[arg(long, value_name = "SECONDS", global = true, hide_short_help = true,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: Option<u64>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server
    #[command(after_help = serve::EXAMPLES)]
    Serve(Box<ServeArgs>),

    /// Call a script once, without a server
    #[command(after_help = run::EXAMPLES)]
    Run(RunArgs),

    /// Run the tests of scripts, without a server
    #[command(after_help = test::EXAMPLES)]
    Test(TestArgs),

    /// Put a backup into the data directory of a server that does not run
    #[command(after_help = backup::RESTORE_EXAMPLES)]
    Restore(RestoreArgs),

    /// Make a database file of another one: on another disk, up to date, without gaps
    #[command(after_help = backup::MIGRATE_EXAMPLES)]
    Migrate(MigrateArgs),

    /// Replace a lost admin token, in the data directory of a server that does not run
    #[command(after_help = "\
Examples:
  picloud token replace --data-dir /var/lib/picloud")]
    Token(TokenArgs),

    /// Make a project: a folder with a script, its tests and a picloud.toml
    #[command(after_help = init::EXAMPLES)]
    Init(InitArgs),

    /// Check this machine, the data directory and the server
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(DoctorArgs),

    /// Explain an error code
    #[command(after_help = explain::EXAMPLES)]
    Explain(ExplainArgs),

    /// Print what a shell needs to complete commands
    #[command(after_help = manual::COMPLETIONS)]
    Completions(CompletionsArgs),

    /// Write manual pages
    #[command(after_help = manual::MAN)]
    Man(ManArgs),

    /// A command that talks to a server.
    #[command(flatten)]
    Client(ClientCommand),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    /// The words of a line as a shell would see them, without what follows a `#`, `>` or `&&`. Enough for the documentation.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for c in line.chars() {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, '#' | '>' | '&') if word.is_none() => break,
                (None, c) if c.is_whitespace() => words.extend(word.take()),
                (_, c) => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }

    fn pages(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        let below = folders.iter().flat_map(|folder| pages(folder));
        below.chain(files).filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
    }

    #[test]
    fn every_command_of_the_documentation_is_one() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (mut seen, mut wrong) = (0, Vec::new());
        for page in pages(&root.join("docs")).into_iter().chain([root.join("README.md")]) {
            let text = std::fs::read_to_string(&page).unwrap();
            let mut fence = None;
            for line in text.lines() {
                if let Some(opened) = line.strip_prefix("```") {
                    fence = if fence.is_none() { Some(opened) } else { None };
                    continue;
                }
                let command = line.rsplit("| ").next().filter(|line| line.starts_with("picloud "));
                let Some(command) = command.filter(|_| fence == Some("sh")) else { continue };
                seen += 1;
                if let Err(error) = Args::try_parse_from(words(command))
                    && error.use_stderr()
                {
                    wrong.push(format!("{}: {command}\n{error}", page.display()));
                }
            }
        }
        assert!(wrong.is_empty() && seen > 20, "{seen} commands\n{}", wrong.join("\n"));
    }

    /// Every command below one with what it is about, as `picloud kv set`.
    fn commands_below(command: &clap::Command, path: &str, all: &mut Vec<(String, clap::Command)>) {
        for below in
            command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
        {
            let path = format!("{path} {}", below.get_name());
            all.push((path.clone(), below.clone()));
            commands_below(below, &path, all);
        }
    }

    fn all_commands() -> Vec<(String, clap::Command)> {
        let mut all = Vec::new();
        commands_below(&Args::command(), "picloud", &mut all);
        all
    }

    #[test]
    fn the_page_lists_every_command_as_it_is() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CLI.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `picloud ")?.split_once("` | "));
        let mut listed: Vec<String> = rows
            .map(|(usage, about)| {
                let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
                let words: Vec<&str> = usage.split(' ').take_while(is_name).collect();
                format!("picloud {} | {}", words.join(" "), about.trim_end_matches(" |"))
            })
            .collect();
        let about =
            |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
        let mut defined: Vec<String> =
            all_commands().iter().map(|(path, command)| format!("{path} | {}", about(command))).collect();
        listed.sort();
        defined.sort();
        let missing: Vec<_> = defined.iter().filter(|row| !listed.contains(row)).collect();
        let stale: Vec<_> = listed.iter().filter(|row| !defined.contains(row)).collect();
        assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:#?}\nstale: {stale:#?}");
    }

    #[test]
    fn every_command_shows_examples() {
        let shows =
            |command: &clap::Command| command.clone().render_long_help().to_string().contains("Examples:");
        let top = |path: &str| path.split(' ').count() == 2;
        let without: Vec<String> = all_commands()
            .into_iter()
            .filter(|(path, command)| top(path) && !shows(command))
            .map(|(path, _)| path)
            .collect();
        assert!(without.is_empty(), "{without:?}");
    }

    #[test]
    fn options_may_stand_on_either_side_of_the_command() {
        for line in ["picloud -o json --server http://a scripts", "picloud scripts --server http://a -o json"]
        {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(args.global.server.as_deref(), Some("http://a"));
            assert_eq!(args.global.output, Format::Json);
        }
    }

    #[test]
    fn the_help_names_every_exit_code() {
        let help = Args::command().render_long_help().to_string();
        for code in ["0  it worked", "1  the operation failed", "2  the command line", "3  no PiCloud server"]
        {
            assert!(help.contains(code), "{code}");
        }
    }

    #[test]
    fn executions_takes_a_script_or_show() {
        let of = |line: &str| match Args::try_parse_from(line.split(' ')).unwrap().command {
            Command::Client(ClientCommand::Executions(args)) => args,
            other => panic!("{other:?}"),
        };
        assert_eq!(of("picloud executions hello").name.as_deref(), Some("hello"));
        assert!(
            matches!(of("picloud executions show 0192").command, Some(ExecutionsCommand::Show { id }) if id == "0192")
        );
    }
}
