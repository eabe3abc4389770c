//! What can be typed after `picloud`, with its help.

mod client;
mod event;
mod run;
mod serve;
mod settings;
mod test;
mod token;

use clap::{Parser, Subcommand};

use crate::exit::EXIT_CODES;
use crate::output::Format;

pub use client::{
    ClientCommand, DeployArgs, ExecutionsArgs, ExecutionsCommand, InvokeArgs, KvArgs, KvCommand, KvList,
    KvSet, LogsArgs, MAX_LOG_LINES, NameArgs, RequestArgs, RollbackArgs,
};
pub use event::{
    EventFilter, EventsArgs, EventsCommand, ManyArgs, ManyFilter, SendArgs, TraceArgs, TriggersArgs,
    TriggersCommand,
};
pub use run::{GivenArgs, RunArgs};
pub use serve::ServeArgs;
pub use settings::{
    ConfigArgs, ConfigCommand, HttpPolicyArgs, HttpPolicyCommand, HttpRule, SecretsArgs, SecretsCommand,
};
pub use test::{TestArgs, TestFormat};
pub use token::{TokenArgs, TokenCommand, TokenReplace};

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
