//! The interface `scripts`: other scripts of the app, called and waited for.

mod session;

use std::sync::Arc;

use async_trait::async_trait;
use picloud_sdk_wit::picloud::sdk::outcome::{Position, Response};
use picloud_sdk_wit::picloud::sdk::scripts::{Error, Failed, Host, Request};

use crate::call::{Answer, ExecRequest, Failure};
use crate::problem::{Code, Problem};
use crate::sandbox::{CallState, TreeFailed};

pub(crate) use session::ScriptsSession;

/// Runs a script for another one.
#[async_trait]
pub(crate) trait Callees: Send + Sync {
    /// Run the call to its end with the transaction of its caller, which has it back afterwards. What a call did that
    /// failed is undone.
    ///
    /// # Errors
    ///
    /// The caller cannot go on.
    async fn run(
        self: Arc<Self>,
        caller: &mut CallState,
        request: Arc<ExecRequest>,
    ) -> Result<Result<Answer, Failure>, TreeFailed>;

    /// How many scripts can call one another, each waiting for the next.
    fn longest_chain(&self) -> usize;
}

impl Host for CallState {
    async fn invoke(
        &mut self,
        script: String,
        request: Request,
    ) -> wasmtime::Result<Result<Response, Error>> {
        // Another version may be the active one the next time.
        self.outside = true;
        let prepared = self
            .request
            .as_deref()
            .ok_or(Error::NoCall)
            .and_then(|caller| self.scripts.prepare(caller, self.deadline, &script, request));
        let (callees, request) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let result = callees.run(self, request.clone()).await?;
        Ok(match result {
            Ok(answer) => Ok(response(&answer)),
            Err(failure) => refusal(&request, failure),
        })
    }
}

fn response(answer: &Answer) -> Response {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = answer.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    Response { status: answer.status, headers: headers.collect(), body: answer.body.to_vec() }
}

/// A status that the script chose with `throw` is its answer, with the problem document that a client would get.
fn refusal(request: &ExecRequest, failure: Failure) -> Result<Response, Error> {
    if failure.code == Code::ScriptThrew && failure.status.is_some() {
        let problem = Problem::of_failure(&failure, request.execution_id);
        let headers = vec![("content-type".to_owned(), "application/problem+json".to_owned())];
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        return Ok(Response { status: problem.status(), headers, body });
    }
    let position = failure.position.map(|at| Position { line: at.line, column: at.column });
    Err(Error::Failed(Failed { code: failure.code.as_str().to_owned(), message: failure.message, position }))
}
