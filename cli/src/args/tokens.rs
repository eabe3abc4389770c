//! The commands about tokens and about what was done with them.

use std::num::NonZeroU32;

use clap::{Args, Subcommand};

/// `picloud tokens`.
#[derive(Debug, Clone, Args)]
pub struct TokensArgs {
    /// What to do; without it the tokens are listed
    #[command(subcommand)]
    pub command: Option<TokensCommand>,
}

/// What to do with tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokensCommand {
    /// List the tokens: how they begin, what they open, when they were last used
    List,
    /// Make a token and print it: it is shown only now
    #[command(after_help = "\
Examples:
  picloud tokens create ci --scope app:shop:deploy --expires 90d
  picloud tokens create board --scope app:shop:invoke --scope app:shop:read
  picloud tokens create ann --scope admin

A scope is `admin`, or `app:NAME:PERMISSION` with one of read, invoke, deploy (and read) or admin (all of them);
`*` stands for every app.")]
    Create(NewToken),
    /// Give a token another text and print it; the old one is worth nothing from then on
    Rotate {
        /// The token's name
        name: String,
    },
    /// Revoke a token: it is worth nothing from then on
    Rm {
        /// The token's name
        name: String,
    },
}

/// `picloud tokens create`.
#[derive(Debug, Clone, Args)]
pub struct NewToken {
    /// The token's name
    pub name: String,

    /// Something that it opens; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub scopes: Vec<String>,

    /// When it ends to be worth anything: in how long (12h, 90d) or at which time (2027-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
}

/// `picloud audit`.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// Only about this app
    #[arg(long)]
    pub app: Option<String>,

    /// Only by the token of this name
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,

    /// Only from then on: how long ago (30s, 5m, 2h, 7d) or a time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,

    /// Only before then; as --since
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// Show at most this many of the newest
    #[arg(short = 'n', long, default_value = "50")]
    pub limit: NonZeroU32,

    /// Show all of them
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}
