//! The options of `picloud deploy`.

use std::path::PathBuf;

use clap::Args;

use super::AppOnly;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud deploy                             in a project: every script in its folder
  picloud deploy --dry-run                   only show what would change, as a diff
  picloud deploy --prune                     and delete the scripts that are not in the folder
  picloud deploy -m 'Round up' --smoke request.json   try it first, and say what is new
  picloud deploy --canary 10                 one call in ten goes to the new versions, as long as they do well
  picloud deploy hello.rhai                  as the script `hello` of the app `default`
  picloud deploy examples/ --app shop        every *.rhai in the folder
  picloud deploy v2/hello.rhai --name hello2 under another name

A script that does not compile changes nothing; the other files are uploaded, and the exit code is 1. When a version
replaces another, its image and the fuel that loading takes are compared: `load fuel 1 234 567 (+38 %)`.";

/// `picloud deploy`.
#[derive(Debug, Clone, Args)]
pub struct DeployArgs {
    /// Scripts, and folders whose *.rhai files are all meant but those that end in _test.rhai; without any, the scripts of
    /// the project that this folder is in
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// The script's name; without it the name of the file, without `.rhai`
    #[arg(long)]
    pub name: Option<String>,

    /// Upload nothing: say what would be created, updated and deleted, with a diff against the active versions. Whether the
    /// scripts compile is not known before they are uploaded
    #[arg(long)]
    pub dry_run: bool,

    /// Delete the scripts of the app that are not in the folder, with all their versions; asks before
    #[arg(long, conflicts_with = "name")]
    pub prune: bool,

    /// What to say of the new versions; `picloud versions` shows it
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,

    /// Try each script with a request before it becomes a version: JSON in a file, with `path`, and if need be `method`,
    /// `query`, `headers`, `body` and the `status` that is wanted. One that fails changes nothing
    #[arg(long, value_name = "FILE")]
    pub smoke: Option<PathBuf>,

    /// Upload new versions without activating them; `picloud rollback NAME VERSION` does
    #[arg(long)]
    pub no_activate: bool,

    /// Upload new versions without activating them, and let so many of a hundred calls go to them, until that is ended or
    /// they do worse; `picloud canary` shows and ends it
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99), conflicts_with = "no_activate")]
    pub canary: Option<u8>,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}
