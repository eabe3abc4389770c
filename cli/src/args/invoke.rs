//! The options of `picloud invoke`, and the request that `run` takes, too.

use clap::Args;

use super::AppOnly;

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud invoke hello
  picloud invoke orders '/42?full=1' -H 'accept: application/json'
  picloud invoke orders -d @order.json       POST a file (`-d -` reads standard input)
  picloud invoke hello -o json | jq .fuel    everything in one document
  picloud invoke report --async              run it later; `--wait` waits for the answer
  picloud invoke orders -d @order.json --idempotency-key 8e03978e

The exit code is 0 for a status under 400, else 1.";

/// An HTTP request, as `invoke` and `run` take it.
#[derive(Debug, Clone, Args)]
pub struct RequestArgs {
    /// What follows the script in the URL, with the query
    #[arg(value_name = "PATH", default_value = "/")]
    pub path: String,

    /// The method; without it GET, or POST when there is a body
    #[arg(short = 'X', long)]
    pub method: Option<String>,

    /// The body: the text itself, `@FILE` for a file, or `-` for standard input
    #[arg(short, long, value_name = "BODY", allow_hyphen_values = true)]
    pub data: Option<String>,

    /// A header, as `name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
}

/// `picloud invoke`.
#[derive(Debug, Clone, Args)]
pub struct InvokeArgs {
    /// The script
    pub name: String,

    /// The request
    #[command(flatten)]
    pub request: RequestArgs,

    /// Do not wait for the answer: print where it will be
    #[arg(long = "async")]
    pub respond_async: bool,

    /// With --async: wait all the same until the call has ended, then print its answer
    #[arg(long, requires = "respond_async")]
    pub wait: bool,

    /// Do it once, however often it is sent with this key. For POST and PATCH
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,

    /// Send the token along, for a script that wants to know who calls. The script gets to know that, but not the token
    #[arg(long)]
    pub with_token: bool,

    /// The app.
    #[command(flatten)]
    pub app: AppOnly,
}
