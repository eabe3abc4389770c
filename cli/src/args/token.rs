//! The options of `picloud token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `picloud token`.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// What to do
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a new admin token and print it; the old one is worth nothing from then on
    #[command(after_help = "\
Examples:
  picloud token replace --data-dir /var/lib/picloud
  picloud token replace -o json | jq -r .token

The server has to be stopped first. Where client.toml has the old token, it gets the new one.")]
    Replace(TokenReplace),
}

/// `picloud token replace`. The data directory is found as `picloud serve` finds it.
#[derive(Debug, Clone, Args)]
pub struct TokenReplace {
    /// The server's data directory [default: ./data] [env: PICLOUD_DATA_DIR]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Read the server's settings from a TOML file [env: PICLOUD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
