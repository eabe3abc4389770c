//! The options of `picloud scripts`, `rm`, `versions`, `source` and `rollback`.

use std::num::NonZeroU32;

use clap::Args;

use super::AppOnly;

/// A script, for commands that need nothing else.
#[derive(Debug, Clone, Args)]
pub struct NameArgs {
    /// The script
    pub name: String,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}

/// `picloud source`.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// The script
    pub name: String,

    /// The number of the version, as `picloud versions` shows it [default: the active one]
    pub version: Option<NonZeroU32>,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}

/// `picloud rollback`.
#[derive(Debug, Clone, Args)]
pub struct RollbackArgs {
    /// The script
    pub name: String,

    /// The number of the version, as `picloud versions` shows it; without it the one that was active before
    pub version: Option<NonZeroU32>,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}
