//! What can be typed after `picloud`, with its help.

mod app;
mod apps;
mod client;
mod deploy;
mod dev;
mod doctor;
mod event;
mod executions;
mod init;
mod invoke;
mod kv;
mod logs;
mod manual;
mod run;
mod scripts;
mod serve;
mod settings;
mod test;
mod token;
mod tokens;
mod top;

use clap::{Parser, Subcommand};

use crate::exit::EXIT_CODES;
use crate::output::Format;

pub use app::{AppOnly, DEFAULT_APP};
pub use apps::{AppSettings, AppsArgs, AppsCommand};
pub use client::ClientCommand;
pub use deploy::DeployArgs;
pub use dev::DevArgs;
pub use doctor::DoctorArgs;
pub use event::{
    EventFilter, EventsArgs, EventsCommand, ManyArgs, ManyFilter, SendArgs, TraceArgs, TriggersArgs,
    TriggersCommand,
};
pub use executions::{ExecutionsArgs, ExecutionsCommand};
pub use init::InitArgs;
pub use invoke::{InvokeArgs, RequestArgs};
pub use kv::{KvArgs, KvCommand, KvList, KvSet};
pub use logs::{LogsArgs, MAX_LOG_LINES};
pub use manual::{CompletionsArgs, ManArgs};
pub use run::{GivenArgs, RunArgs};
pub use scripts::{NameArgs, RollbackArgs};
pub use serve::ServeArgs;
pub use settings::{
    ConfigArgs, ConfigCommand, HttpPolicyArgs, HttpPolicyCommand, HttpRule, SecretsArgs, SecretsCommand,
};
pub use test::{TestArgs, TestFormat};
pub use token::{TokenArgs, TokenCommand, TokenReplace};
pub use tokens::{AuditArgs, NewToken, TokensArgs, TokensCommand};
pub use top::TopArgs;

const EXAMPLES: &str = "\
Examples:
  picloud serve --dev                        start a server on this machine
  picloud deploy examples/                   upload every *.rhai in a folder
  picloud invoke hello /world -d '{\"a\": 1}'  call a script, see the answer and what it cost
  picloud logs hello -f                      follow what a script logs";

const SETTINGS: &str = "\
The server and the token come from --server and --token, else from PICLOUD_SERVER and PICLOUD_TOKEN, else from
client.toml in $XDG_CONFIG_HOME/picloud or ~/.config/picloud, which the first local start of a server writes,
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

    /// Replace a lost admin token, in the data directory of a server that does not run
    Token(TokenArgs),

    /// Make a project: a folder with a script, its tests and a picloud.toml
    #[command(after_help = init::EXAMPLES)]
    Init(InitArgs),

    /// Check this machine, the data directory and the server
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(DoctorArgs),

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

    /// The words of a line as a shell would see them, without what follows a `#`. Enough for the documentation.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for c in line.chars() {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, '#') if word.is_none() => break,
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
