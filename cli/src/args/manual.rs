//! The options of `picloud completions` and `picloud man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// What stands below the options of `completions`.
pub(super) const COMPLETIONS: &str = "\
Examples:
  picloud completions bash > ~/.local/share/bash-completion/completions/picloud
  picloud completions zsh > ~/.zfunc/_picloud           with ~/.zfunc in fpath
  picloud completions fish > ~/.config/fish/completions/picloud.fish";

/// What stands below the options of `man`.
pub(super) const MAN: &str = "\
Examples:
  picloud man | man -l -                                read the first page
  picloud man ~/.local/share/man/man1                   a page for each command: `man picloud-deploy`";

/// `picloud completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// `picloud man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Write a page for each command to this folder, made if it is not there; without it the first page is printed
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
