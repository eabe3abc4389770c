//! The options of `picloud init`.

use std::path::PathBuf;

use clap::Args;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud init                       make this folder a project
  picloud init shop && cd shop       make a folder for one

A project has a picloud.toml, which says which app it belongs to, and a folder of scripts. Commands that are typed in
it, or below, use its app; `picloud deploy` and `picloud dev` take its scripts. Files that are there already are kept.";

/// `picloud init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// The folder; made if it is not there
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}
