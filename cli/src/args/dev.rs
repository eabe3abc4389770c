//! The options of `picloud dev`.

use std::path::PathBuf;

use clap::Args;

use super::AppOnly;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud dev                                in a project: its scripts
  picloud dev examples/ --app shop
  picloud dev --no-tests                     without running the tests of what changes

It needs a server: `picloud serve --dev` in another terminal. At first all scripts are uploaded, then each when it is
saved; after NAME.rhai the tests in NAME_test.rhai run. Each call shows what it logged, and a line with its status, its
time and its fuel. Ctrl-C ends it; the scripts stay as they are.";

/// `picloud dev`.
#[derive(Debug, Clone, Args)]
pub struct DevArgs {
    /// The folder of the scripts; without it that of the project that this folder is in
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Run no tests
    #[arg(long)]
    pub no_tests: bool,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}
