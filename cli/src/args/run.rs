//! The options of `picloud run`.

use std::path::PathBuf;

use clap::Args;

use super::RequestArgs;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud run hello.rhai '/?name=Ada'
  picloud run hello.rhai -d '{\"a\": 1}' --limit fuel=1000000
  picloud run audit.rhai --event set.json    calls `on_event`

An event is a JSON object in the words of CloudEvents. Only `type` has to be there:
  {\"type\": \"picloud.kv.set\", \"id\": \"1\", \"source\": \"/default/kv\", \"subject\": \"a key\",
   \"time\": \"2026-01-31T12:00:00Z\", \"data\": {\"key\": \"a key\",
   \"change\": \"set\", \"before\": null, \"after\": 1}}
`time_ms` (milliseconds since 1970) may stand for `time`.

Keys and values are in memory: there are none at first, and none are left. There is no MQTT broker, and no request to
another server is sent; `picloud test` lets a script do both, and answers for them.";

/// `picloud run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The script
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The request
    #[command(flatten)]
    pub request: RequestArgs,

    /// Handle an event instead of a request: a JSON file, or `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "method", "data", "headers"])]
    pub event: Option<PathBuf>,

    /// Set a limit of the call, such as fuel=10000000 or deadline-ms=2000; may be repeated
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub limits: Vec<String>,

    /// What the app has.
    #[command(flatten)]
    pub given: GivenArgs,

    /// Let the script use a directory as NAME: read it, and with `:rw` also change what is in it; may be repeated
    #[arg(long = "fs", value_name = "NAME=PATH[:rw]")]
    pub fs: Vec<String>,
}

/// What the app of a script has, when there is no server that knows.
#[derive(Debug, Clone, Default, Args)]
pub struct GivenArgs {
    /// Give the script a secret, the content of a file without a line break at its end; may be repeated
    #[arg(long = "secret", value_name = "NAME=FILE")]
    pub secrets: Vec<String>,

    /// Give the script a configuration value; may be repeated
    #[arg(long = "config", value_name = "NAME=JSON")]
    pub config: Vec<String>,
}
