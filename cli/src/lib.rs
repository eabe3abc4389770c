//! The command line: `picloud serve` puts the server together, nearly every other command speaks REST with one.
//!
//! In reading order: what can be typed (`args`), how a command ends (`exit`), what it prints (`output`); the server's
//! configuration (`config`), its data directory (`data_dir`) and the server (`serve`), a new token for one that does
//! not run (`token`), a backup for it (`restore`), its files in another place (`migrate`), a script without a server
//! (`run`), and its tests (`test`); a folder of scripts (`project`) and a new one (`init`); the connection to a server
//! (`client`) and the commands that use it (`commands`); what is wrong with all of it (`doctor`), what errors mean
//! (`explain`), and the command line itself for shells and readers (`manual`).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

pub mod args;
pub mod client;
pub mod commands;
pub mod config;
mod data_dir;
pub mod doctor;
pub mod env;
pub mod exit;
pub mod explain;
pub mod init;
pub mod manual;
pub mod migrate;
pub mod output;
mod owner;
pub mod project;
pub mod restore;
pub mod run;
mod secret_key;
pub mod serve;
pub mod test;
pub mod token;

use args::{Args, ClientCommand, Command};
use env::Env;
use exit::{CliError, Exit};
use output::{Format, Terminal};

/// The whole process: reads the arguments and the environment, runs the command, tells how it ended.
#[must_use]
pub fn main() -> ExitCode {
    // The allocator's arenas and wasmtime's reservations are sparse: huge pages under them cost 30 MB on an idle server.
    // A kernel without them refuses, which is as good.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let env = Env::process();
    let mut terminal = Terminal::process(&env);
    let exit = match parse(std::env::args_os(), &mut terminal) {
        Ok(args) => match owner::run_as_owner(&args, &env) {
            Ok(Some(exit)) => exit,
            Ok(None) => match runtime(&args.command) {
                Ok(runtime) => runtime.block_on(execute(args, &env, &mut terminal)),
                Err(error) => terminal.report(&CliError::Failed(format!("cannot start: {error}"))),
            },
            Err(error) => terminal.report(&error),
        },
        Err(exit) => exit,
    };
    exit.into()
}

/// Read the arguments. Help and mistakes are printed here, and end with the exit code that is returned.
///
/// # Errors
///
/// There is no command to execute: help was asked for, or the arguments are wrong.
pub fn parse(args: impl IntoIterator<Item = OsString>, terminal: &mut Terminal) -> Result<Args, Exit> {
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed = Args::try_parse_from(&args).map_err(|error| {
        if !error.use_stderr() {
            return terminal.help(&error.render()).map_or_else(|error| error.exit(), |()| Exit::Ok);
        }
        if wants_json(&args) {
            terminal.format = Format::Json;
            let text = error.render().to_string();
            return terminal.report(&CliError::Usage(text.trim_start_matches("error: ").trim().to_owned()));
        }
        terminal.usage(&error.render());
        Exit::Usage
    })?;
    terminal.format = parsed.global.output;
    Ok(parsed)
}

/// Run a command and report its error, if it has one.
pub async fn execute(args: Args, env: &Env, terminal: &mut Terminal) -> Exit {
    let result = match args.command {
        Command::Serve(serve) => serve_command(*serve, env).await,
        Command::Run(run) => run::run(run, env, terminal).await,
        Command::Test(test) => test::run(test, env, terminal).await,
        Command::Restore(args) => restore::run(args, env, terminal).await,
        Command::Migrate(args) => migrate::run(args, terminal).await,
        Command::Token(token) => token::run(token.command, env, terminal).await,
        Command::Init(init) => init::run(&init, env, terminal),
        Command::Doctor(doctor) => doctor::run(doctor, &args.global, env, terminal).await,
        Command::Explain(explain) => explain::run(&explain, terminal),
        Command::Completions(completions) => manual::completions(&completions, terminal),
        Command::Man(man) => manual::man(&man, terminal),
        Command::Client(command) => commands::execute(command, &args.global, env, terminal).await,
    };
    match result {
        Ok(()) => Exit::Ok,
        Err(error) => terminal.report(&error),
    }
}

async fn serve_command(args: args::ServeArgs, env: &Env) -> Result<(), CliError> {
    let config = config::ServeConfig::resolve(&args, env)?;
    data_dir::keep_new_files_private();
    serve::run(config, env).await.map_err(|error| CliError::Failed(format!("{error:#}")))
}

/// A server gets a thread for each core, a client command none beside its own.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    match command {
        // `dev` runs tests.
        Command::Serve(_) | Command::Run(_) | Command::Test(_) | Command::Client(ClientCommand::Dev(_)) => {
            tokio::runtime::Builder::new_multi_thread().enable_all().build()
        }
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build(),
    }
}

/// Whether arguments that cannot be parsed seem to ask for JSON.
fn wants_json(args: &[OsString]) -> bool {
    let flag = |arg: &OsString| arg == "-o" || arg == "--output";
    args.windows(2).any(|pair| flag(&pair[0]) && pair[1] == "json")
        || args.iter().any(|arg| arg == "-ojson" || arg == "-o=json" || arg == "--output=json")
}
