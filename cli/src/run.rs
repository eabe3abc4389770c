//! `picloud run FILE`: calls a script once, without a server.

use crate::args::RunArgs;
use crate::exit::CliError;
use crate::output::Terminal;

/// Load the script, call it once, print its answer and what it cost.
///
/// # Errors
///
/// The file cannot be read, the script does not compile, or the call failed.
pub async fn run(args: RunArgs, _terminal: &mut Terminal) -> Result<(), CliError> {
    Err(CliError::Failed(format!("cannot run {}: not part of this build", args.file.display())))
}
