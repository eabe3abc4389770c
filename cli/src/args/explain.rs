//! The options of `picloud explain`.

use clap::Args;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud explain script-error               what happened, why, how to fix it
  picloud explain                            every code

An error shows its code in brackets: `error[script-error]: ...`. This needs no server.";

/// `picloud explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// The code of an error; without one all codes are listed
    pub code: Option<String>,
}
