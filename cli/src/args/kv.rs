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
    #[command(after_help = "\
Examples:
  picloud kv list visits/                    the first 100 keys that start so
  picloud kv list --all -o json | jq -r '.items[].key'")]
    List(KvList),
    /// Print keys and values as lines of JSON, for `import`
    #[command(after_help = "\
Examples:
  picloud kv export > keys.jsonl
  picloud kv export visits/ | jq -r .key

Keys that are written meanwhile may be there as they were or as they are.")]
    Export {
        /// Only keys that start with this
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Set the keys of an export; those that are there already get its values, and others stay
    #[command(after_help = "\
Examples:
  picloud kv import keys.jsonl
  picloud kv export --app shop | picloud kv import - --app shop-test

A line has `key`, `value` (or `value_base64` for bytes) and, if the key expires, `expires_at`; what has expired is left out.
256 MiB at most.")]
    Import {
        /// The file, or `-` for standard input
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
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

    /// Show all of them
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}
