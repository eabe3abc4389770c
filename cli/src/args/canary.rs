//! The options of `picloud canary`.

use std::num::NonZeroU32;

use clap::{Args, Subcommand};

use super::AppOnly;

/// `picloud canary`.
#[derive(Debug, Clone, Args)]
pub struct CanaryArgs {
    /// What to do
    #[command(subcommand)]
    pub command: CanaryCommand,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}

/// What to do with the canary of a script.
#[derive(Debug, Clone, Subcommand)]
pub enum CanaryCommand {
    /// Show how many calls of both versions failed, and what a typical one took
    Show {
        /// The script
        name: String,
    },
    /// Let some of the calls go to another version, or change how many
    #[command(after_help = "\
Examples:
  picloud deploy --no-activate order.rhai    a version that is not called yet
  picloud canary start order 7               one call in ten goes to it
  picloud canary start order 7 --percent 50  now every other one; what was counted goes on to count
  picloud canary start order 7 --max-faults-percent 0 --max-fuel-percent any

What is not named is at its default again, also for a canary that runs.")]
    Start(NewCanary),
    /// Make the canary the active version
    Promote {
        /// The script
        name: String,
    },
    /// Let all calls go to the active version again
    Stop {
        /// The script
        name: String,
    },
}

/// `picloud canary start`.
#[derive(Debug, Clone, Args)]
pub struct NewCanary {
    /// The script
    pub name: String,

    /// The number of the version, as `picloud versions` shows it
    pub version: NonZeroU32,

    /// How many of a hundred calls go to it
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub percent: u8,

    /// Conclude nothing from fewer calls of either version
    #[arg(long, value_name = "N")]
    pub min_calls: Option<u32>,

    /// How many more of a hundred calls may fail than of the active version's before all go back to that [default: 1]
    #[arg(long, value_name = "N")]
    pub max_faults_percent: Option<f64>,

    /// How much more fuel a typical call may take, in percent of the active version's; or `any` [default: 20]
    #[arg(long, value_name = "N")]
    pub max_fuel_percent: Option<MaxFuel>,
}

/// A number, or any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxFuel(pub Option<f64>);

impl std::str::FromStr for MaxFuel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "any" => Ok(Self(None)),
            number => number.parse().map(|number| Self(Some(number))).map_err(|_| "a number, or `any`"),
        }
    }
}
