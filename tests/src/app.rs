//! A whole PiCloud inside the test's process: real listener, real SQLite files, real sandbox.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use picloud_cli::config::ServeConfig;
use picloud_cli::serve::Server;
use picloud_host::limits::Limits;
use reqwest::{Body, Method, RequestBuilder};
use tempfile::TempDir;

use crate::aot;
use crate::client::client;
use crate::reply::Reply;

/// A running server with its temporary data directory, and a client for it.
///
/// Everything here panics when something is not as it should be: it is for tests.
pub struct TestApp {
    /// Where it listens. Changes with [`TestApp::restart`].
    pub address: SocketAddr,
    /// Where the control plane is, if it has an address of its own.
    pub admin_address: Option<SocketAddr>,
    /// The admin token; none in dev mode.
    pub token: Option<String>,
    server: Option<Server>,
    config: ServeConfig,
    client: reqwest::Client,
    data: TempDir,
}

/// How a [`TestApp`] is configured.
pub struct Builder {
    config: ServeConfig,
}

impl Builder {
    /// Change the limits of calls.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.config.limits);
        self
    }

    /// In dev mode no token is needed, and foreign hosts and origins are refused. It is on unless told otherwise.
    #[must_use]
    pub fn dev(mut self, dev: bool) -> Self {
        self.config.dev = dev;
        self
    }

    /// Change anything else.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut ServeConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Start the server on a free port of the loopback address.
    pub async fn start(mut self) -> TestApp {
        let data = tempfile::tempdir().expect("a temporary directory can be made");
        self.config.data_dir = data.path().to_owned();
        let server = start(&self.config).await;
        let client =
            client().redirect(reqwest::redirect::Policy::none()).build().expect("a client can be made");
        TestApp {
            address: server.address,
            admin_address: server.admin_address,
            token: server.new_token.clone(),
            server: Some(server),
            config: self.config,
            client,
            data,
        }
    }
}

async fn start(config: &ServeConfig) -> Server {
    // Another test that starts a program has the lock of a server that has just stopped, until the program begins.
    for _ in 0..100 {
        match try_start(config).await {
            Err(error) if error.to_string().starts_with("another server uses") => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            started => return started.unwrap_or_else(|error| panic!("the server does not start: {error:#}")),
        }
    }
    panic!("the data directory of the server stays locked")
}

async fn try_start(config: &ServeConfig) -> anyhow::Result<Server> {
    aot::with_cache(&config.data_dir, Server::start(config)).await
}

impl TestApp {
    /// Start a server in dev mode with the default limits.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Say what is to be different.
    #[must_use]
    pub fn builder() -> Builder {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Builder { config: ServeConfig { address, dev: true, ..ServeConfig::default() } }
    }

    /// The data directory, removed when this is dropped.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// A request to this server, with the token if it needs one. `method` may be any word.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.anonymous(method, path);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A request to this server without a token.
    pub fn anonymous(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method is a token");
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// A request to the address of the control plane, without a token.
    pub fn anonymous_admin(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method is a token");
        let address = self.admin_address.unwrap_or(self.address);
        self.client.request(method, format!("http://{address}{path}"))
    }

    /// Get a path.
    pub async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request("GET", path)).await
    }

    /// Post a body.
    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Reply {
        Reply::of(self.request("POST", path).body(body)).await
    }

    /// Put a body.
    pub async fn put(&self, path: &str, body: impl Into<Body>) -> Reply {
        Reply::of(self.request("PUT", path).body(body)).await
    }

    /// Delete a path.
    pub async fn delete(&self, path: &str) -> Reply {
        Reply::of(self.request("DELETE", path)).await
    }

    /// Upload a script to the app `default`, whatever comes of it.
    pub async fn put_script(&self, name: &str, source: impl Into<Body>) -> Reply {
        let request = self.request("PUT", &script_path(name)).header("content-type", "text/plain");
        Reply::of(request.body(source)).await
    }

    /// Upload a script to the app `default`, which must succeed. It answers at `/default/{name}`.
    #[track_caller]
    pub fn deploy(&self, name: &str, source: impl Into<Body>) -> impl Future<Output = Reply> {
        let caller = std::panic::Location::caller();
        let upload = self.put_script(name, source);
        async move {
            let reply = upload.await;
            assert!(reply.is_success(), "deploying at {caller} failed: {reply}");
            reply
        }
    }

    /// Assert that the server is well and serves others: to be called after an abuse.
    pub async fn assert_healthy(&self) {
        assert_eq!(self.get("/readyz").await.status, 200, "the server is not ready");
        self.deploy("healthy-neighbour", "6 * 7").await;
        let reply = self.get("/default/healthy-neighbour").await;
        assert_eq!((reply.status, reply.text()), (200, "42"), "a neighbour is not served");
    }

    /// Stop the server in order. The data directory is removed when what is returned is dropped.
    pub async fn stop(mut self) -> TempDir {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        self.data
    }

    /// Stop the server in order and start another one on the same data directory. Its address is another one, too.
    pub async fn restart(&mut self) {
        self.restart_with(|_| ()).await;
    }

    /// The same, with another configuration.
    pub async fn restart_with(&mut self, change: impl FnOnce(&mut ServeConfig)) {
        change(&mut self.config);
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        let server = start(&self.config).await;
        self.address = server.address;
        self.admin_address = server.admin_address;
        self.server = Some(server);
    }
}

/// The address of a script of the app `default` in the API.
#[must_use]
pub fn script_path(name: &str) -> String {
    format!("/api/v1/apps/default/scripts/{name}")
}
