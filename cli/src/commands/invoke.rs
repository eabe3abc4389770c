//! `picloud invoke`: calls a script and shows its answer and what it cost.

use std::time::Duration;

use super::answer::Answer;
use super::request;
use crate::args::InvokeArgs;
use crate::client::Api;
use crate::client::api::segment;
use crate::client::http::Call;
use crate::client::problem::Problem;
use crate::exit::CliError;
use crate::output::Terminal;

/// The largest answer that a server can be told to allow.
const MAX_ANSWER: usize = 64 << 20;

/// A little more than the longest deadline that a server can be told to give a call.
const TIMEOUT: Duration = Duration::from_secs(16 * 60);

/// Call the script.
///
/// # Errors
///
/// The arguments are wrong, the server cannot be reached, or the call failed.
pub async fn run(args: &InvokeArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let request = request::build(&args.request, terminal)?;
    let base = format!("/{}/{}", segment(api.app()), segment(&args.name));
    let call = Call {
        path: request.under(&base),
        method: request.method,
        headers: request.headers,
        body: request.body,
        with_token: args.with_token,
        answer_limit: MAX_ANSWER,
        timeout: TIMEOUT,
    };
    let reply = api.http().send(call).await?;
    let ran = reply.headers.contains_key("picloud-execution-id");
    if !ran && reply.status.as_u16() >= 400 {
        // No script has run: the server says why, or it is no PiCloud server.
        let error = Problem::of_api(&reply, api.http().server());
        if error.is_final() {
            return Err(error);
        }
    }
    Answer::of(reply).print(&args.name, None, terminal)
}
