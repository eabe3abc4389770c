//! The interface `http`: requests to other servers.

mod session;

pub(crate) use session::HttpSession;

use futures_util::future::{Either, join_all, ready};
use picloud_sdk_wit::picloud::sdk::http::{Error, Host, Request, Response};

use crate::sandbox::CallState;

impl Host for CallState {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, Error>> {
        self.outside = true;
        let deadline = self.deadline;
        if let Some(kit) = &self.test {
            return Ok(self.http.check(request).and_then(|request| kit.answer(&request)));
        }
        Ok(match self.http.prepare(request, deadline) {
            Ok(prepared) => prepared.send().await,
            Err(error) => Err(error),
        })
    }

    async fn send_all(&mut self, requests: Vec<Request>) -> wasmtime::Result<Vec<Result<Response, Error>>> {
        self.outside = true;
        let deadline = self.deadline;
        if let Some(kit) = &self.test {
            let answer = |request| self.http.check(request).and_then(|request| kit.answer(&request));
            return Ok(requests.into_iter().map(answer).collect());
        }
        let prepared = requests.into_iter().map(|request| match self.http.prepare(request, deadline) {
            // Boxed, so that a list of very many that are refused stays small.
            Ok(prepared) => Either::Left(Box::pin(prepared.send())),
            Err(error) => Either::Right(ready(Err(error))),
        });
        Ok(join_all(prepared.collect::<Vec<_>>()).await)
    }
}
