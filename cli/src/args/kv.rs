//! The options of `picloud kv`.

use std::num::NonZeroU32;

use clap::{Args, Subcommand};

use super::AppOnly;

/// `picloud kv`.
#[derive(Debug, Clone, Args)]
pub struct KvArgs {
    /// The app.
    #[command(flatten)]
    pub app: AppOnly,

    /// What to do
    #[command(subcommand)]
    pub command: KvCommand,
}

/// What to do with keys and values.
#[derive(Debug, Clone, Subcommand)]
pub enum KvCommand {
    /// Print the value of a key
    Get {
        /// The key
        key: String,
    },
    /// Set a key
    #[command(after_help = "\
Examples:
  picloud kv set greeting '\"hello\"'          JSON
  picloud kv set greeting hello --text       text, without the quotes of JSON
  picloud kv set logo @logo.png --blob       bytes")]
    Set(KvSet),
    /// List keys with their values
    List(KvList),
    /// Delete a key
    Rm {
        /// The key
        key: String,
    },
}

/// `picloud kv set`.
#[derive(Debug, Clone, Args)]
pub struct KvSet {
    /// The key
    pub key: String,

    /// The value: JSON text, `@FILE` for a file, or `-` for standard input
    #[arg(allow_hyphen_values = true)]
    pub value: String,

    /// The value is text, to be stored as a JSON string
    #[arg(long, conflicts_with = "blob")]
    pub text: bool,

    /// The value is bytes, to be stored as they are
    #[arg(long)]
    pub blob: bool,

    /// Forget the key after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub ttl: Option<u64>,
}

/// `picloud kv list`.
#[derive(Debug, Clone, Args)]
pub struct KvList {
    /// Only keys that start with this
    #[arg(default_value = "")]
    pub prefix: String,

    /// Show at most this many
    #[arg(short = 'n', long, default_value = "100")]
    pub limit: NonZeroU32,
}
