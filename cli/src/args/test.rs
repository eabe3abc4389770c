//! The options of `picloud test`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::run::GivenArgs;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud test .                    every script in this folder
  picloud test orders.rhai --filter refund
  picloud test . --format tap       for programs that read the Test Anything Protocol

A test is a function whose name starts with `test_`, in the script itself or in a file beside it, such as
orders_test.rhai for orders.rhai:

  fn test_orders_are_kept() {
      let answer = scripts::invoke(\"orders\", #{ item: 7 });
      assert_eq(answer.status, 200);
  }

Each test has a sandbox, keys and a clock of its own, and sends no request to other servers.";

/// `picloud test`.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// A script, or a folder with scripts. Tests can call every script in its folder
    #[arg(value_name = "FILE|DIR")]
    pub path: PathBuf,

    /// Only tests in whose name this text occurs; the name is that of the script, `::` and that of the function
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,

    /// How to print results: `human`, or `tap` (version 14)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub format: TestFormat,

    /// Set a limit of the calls, such as fuel=10000000 or calls=100; may be repeated
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub limits: Vec<String>,

    /// Let the scripts use a directory as NAME: read it, and with `:rw` also change what is in it; may be repeated
    #[arg(long = "fs", value_name = "NAME=PATH[:rw]")]
    pub fs: Vec<String>,

    /// What the app has.
    #[command(flatten)]
    pub given: GivenArgs,
}

/// How the results of tests are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TestFormat {
    /// For people.
    #[default]
    Human,
    /// The Test Anything Protocol, version 14.
    Tap,
}
