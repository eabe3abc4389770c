//! The commands about secrets and configuration.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `picloud secrets`.
#[derive(Debug, Clone, Args)]
pub struct SecretsArgs {
    /// The app
    #[arg(long, default_value = "default", global = true)]
    pub app: String,

    /// What to do; without it the secrets are listed
    #[command(subcommand)]
    pub command: Option<SecretsCommand>,
}

/// What to do with secrets.
#[derive(Debug, Clone, Subcommand)]
pub enum SecretsCommand {
    /// List the secrets, without their values
    List,
    /// Set a secret: its value comes from standard input or a file, where no list of processes shows it
    #[command(after_help = "\
Examples:
  picloud secrets set mail-password            type it, then Enter and Ctrl-D
  pass show mail | picloud secrets set mail-password
  picloud secrets set tls-key --file key.pem

One line break at the end, as a terminal and `echo` leave it, is no part of the value; --keep-newline keeps it.")]
    Set {
        /// The secret
        name: String,
        /// Read the value from a file, not from standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// A line break at the end belongs to the value
        #[arg(long)]
        keep_newline: bool,
    },
    /// Delete a secret
    Rm {
        /// The secret
        name: String,
    },
}

/// `picloud config`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The app
    #[arg(long, default_value = "default", global = true)]
    pub app: String,

    /// What to do; without it the values are listed
    #[command(subcommand)]
    pub command: Option<ConfigCommand>,
}

/// What to do with configuration values.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// List the values
    List,
    /// Print a value
    Get {
        /// The name of the value
        name: String,
    },
    /// Set a value
    #[command(after_help = "\
Examples:
  picloud config set threshold 21.5
  picloud config set greeting '\"hello\"'
  picloud config set rooms @rooms.json         from a file (`-` reads standard input)")]
    Set {
        /// The name of the value
        name: String,
        /// The value: JSON text, `@FILE` for a file, or `-` for standard input
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Delete a value
    Rm {
        /// The name of the value
        name: String,
    },
}
