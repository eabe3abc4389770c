//! The parts of PiCloud's interface that the benchmark uses: upload a script, call it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::cases::Request;

/// No single request takes longer than this, whatever happens.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A client of one server. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

/// What a script answered.
pub(crate) struct Answer {
    pub(crate) text: String,
    /// From `PiCloud-Fuel-Used`; none from a server that counts none.
    pub(crate) fuel: Option<u64>,
}

impl Client {
    /// `url` without a slash at the end.
    pub(crate) fn new(url: String) -> Self {
        // Proxies from the environment are for other machines than this one.
        let http = picloud_tests::client().timeout(TIMEOUT).tcp_nodelay(true).build();
        Self { http: http.expect("a client can be made"), url }
    }

    /// The status of a GET.
    pub(crate) async fn status(&self, path: &str) -> anyhow::Result<u16> {
        Ok(self.http.get(format!("{}{path}", self.url)).send().await?.status().as_u16())
    }

    /// Upload a script to the app `default`.
    pub(crate) async fn deploy(&self, name: &str, source: &str) -> anyhow::Result<()> {
        let url = format!("{}/api/v1/apps/default/scripts/{name}", self.url);
        let request =
            self.http.put(&url).header("content-type", "text/plain; charset=utf-8").body(source.to_owned());
        let answer = request.send().await.with_context(|| format!("PUT {url}"))?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "PUT {url} answered {status}: {text}");
        Ok(())
    }

    /// Put a JSON document.
    pub(crate) async fn put_json(&self, path: &str, document: &Value) -> anyhow::Result<()> {
        let answer = self.http.put(format!("{}{path}", self.url)).json(document).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "PUT {path} answered {status}: {text}");
        Ok(())
    }

    /// Get a JSON document.
    pub(crate) async fn get_json(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status == 200, "GET {path} answered {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Call a script of the app `default`.
    pub(crate) async fn call(&self, name: &str, request: Request) -> anyhow::Result<Answer> {
        let url = format!("{}/default/{name}", self.url);
        let call = match request {
            Request::Get => self.http.get(&url),
            Request::PostJson(body) => {
                self.http.post(&url).header("content-type", "application/json").body(body)
            }
        };
        let answer = call.send().await.with_context(|| url.clone())?;
        let status = answer.status();
        let fuel = answer.headers().get("picloud-fuel-used").and_then(|v| v.to_str().ok()?.parse().ok());
        let text = answer.text().await?;
        ensure!(status == 200, "{url} answered {status}: {text}");
        Ok(Answer { text, fuel })
    }
}
