//! The options of `picloud deploy`.

use std::path::PathBuf;

use clap::Args;

use super::AppOnly;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud deploy hello.rhai                  as the script `hello` of the app `default`
  picloud deploy examples/ --app shop        every *.rhai in the folder
  picloud deploy v2/hello.rhai --name hello2 under another name

A script that does not compile changes nothing; the other files are uploaded, and the exit code is 1.";

/// `picloud deploy`.
#[derive(Debug, Clone, Args)]
pub struct DeployArgs {
    /// Scripts, and folders whose *.rhai files are all meant but those that end in _test.rhai
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// The script's name; without it the name of the file, without `.rhai`
    #[arg(long)]
    pub name: Option<String>,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}
