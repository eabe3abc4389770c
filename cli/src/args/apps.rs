//! The commands about apps.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `picloud apps`.
#[derive(Debug, Clone, Args)]
pub struct AppsArgs {
    /// What to do; without it the apps are listed
    #[command(subcommand)]
    pub command: Option<AppsCommand>,
}

/// What to do with apps.
#[derive(Debug, Clone, Subcommand)]
pub enum AppsCommand {
    /// List the apps that the token may read
    List,
    /// Show an app with the limits of its calls
    Show {
        /// The app
        name: String,
    },
    /// Make a new app
    #[command(after_help = "\
Examples:
  picloud apps create shop
  picloud apps create guests --description 'Scripts of the guests' --limit fuel=10000000 --limit deadline_ms=1000")]
    Create(AppSettings),
    /// Change the settings of an app; what is not named stays as it is
    #[command(after_help = "\
Examples:
  picloud apps set shop --limit fuel=10000000
  picloud apps set shop --quota calls_per_second=50 --quota kv_bytes=100000000
  picloud apps set shop --limit fuel=          the server's limit again
  picloud apps show shop                       the names of all limits and quotas")]
    Set(AppSettings),
    /// Write all of an app into an archive, while the server runs
    #[command(after_help = "\
Examples:
  picloud apps export shop                     writes shop.tar.gz
  picloud apps export shop \"shop-$(date +%F).tar.gz\"

Scripts with all versions, routes, triggers, configuration and keys with their values are in it, as files that can be read:
`tar -xzf shop.tar.gz`. Not in it are the values of secrets, events, and records of executions.")]
    Export {
        /// The app
        name: String,
        /// The file to write, which must not be there yet [default: NAME.tar.gz]
        file: Option<PathBuf>,
    },
    /// Make an app of an archive, on this server or another one
    #[command(after_help = "\
Examples:
  picloud apps import shop.tar.gz
  picloud apps import shop.tar.gz --as shop-test

The app must not be there yet. Secrets have to be set anew: what is printed at the end names them.")]
    Import {
        /// The archive
        file: PathBuf,
        /// The name of the app, if it is to be another one than in the archive
        #[arg(long = "as", value_name = "NAME")]
        name: Option<String>,
    },
    /// Delete an app with everything in it: scripts, keys, events, secrets, records
    #[command(after_help = "\
Example:
  picloud apps rm shop --confirm shop

Nothing of it can be had back.")]
    Rm {
        /// The app
        name: String,
        /// The app's name once more
        #[arg(long, value_name = "NAME")]
        confirm: String,
    },
}

/// What can be chosen of an app.
#[derive(Debug, Clone, Args)]
pub struct AppSettings {
    /// The app
    pub name: String,

    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// A limit of its calls, as NAME=VALUE; may be repeated
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = setting)]
    pub limits: Vec<(String, Option<u64>)>,

    /// What it may have of what all apps share, as NAME=VALUE; may be repeated
    #[arg(long = "quota", value_name = "NAME=VALUE", value_parser = setting)]
    pub quotas: Vec<(String, Option<u64>)>,
}

/// `NAME=VALUE`, and `NAME=` for none.
fn setting(text: &str) -> Result<(String, Option<u64>), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let value = match value {
        "" => None,
        number => Some(number.parse().map_err(|_| format!("`{number}` is no whole number"))?),
    };
    Ok((name.to_owned(), value))
}
