//! Connections to other servers, shared by all calls, and the way of one request over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use picloud_sdk_wit::picloud::sdk::http::{Error, Response};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::failure::explain;
use super::guard::{Resolver, SENDER};
use super::policy::HttpPolicy;
use super::redirect;
use super::request::{Admitted, Outgoing};
use super::shares::Shares;
use super::tls::{Roots, config};
use crate::call::AppId;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// Requests of all calls that are under way at the same time, those of one app half of them at most. More wait, and their
/// time runs.
const MAX_UNDER_WAY: usize = 256;

/// How long a connection is kept that nobody uses. The timer that closes it ends when none is left, so an idle server
/// is woken once more and not again.
const IDLE: Duration = Duration::from_secs(15);

/// Connections to one host that are kept while nobody uses them.
const MAX_IDLE: usize = 4;

/// How long a connection may take. Of several addresses each gets its share.
const CONNECT: Duration = Duration::from_secs(10);

/// Sends the requests of scripts.
pub struct Outbound {
    roots: Roots,
    clients: OnceCell<Clients>,
    under_way: Shares,
}

/// A client for each kind of permission, so that they share no connection.
struct Clients {
    public: reqwest::Client,
    private: reqwest::Client,
}

/// What bounds one request.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Whose request it is.
    pub(crate) app: AppId,
    /// When the whole response has to be there.
    pub(crate) until: Instant,
    /// What its body may have, in bytes.
    pub(crate) response_bytes: u64,
    /// What it and those beside it may have together.
    pub(crate) allowance: Arc<Allowance>,
}

/// What the responses to one call may have together, in bytes.
#[derive(Debug)]
pub(crate) struct Allowance {
    limit: u64,
    used: AtomicU64,
}

impl Allowance {
    /// So many bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    fn take(&self, bytes: usize) -> Result<(), Error> {
        let used = self.used.fetch_add(bytes as u64, Ordering::Relaxed).saturating_add(bytes as u64);
        if used <= self.limit {
            return Ok(());
        }
        Err(Error::ResponsesTooLarge(u32::try_from(self.limit).unwrap_or(u32::MAX)))
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self::new(Roots::default())
    }
}

impl Outbound {
    /// Nothing is opened or read before the first request.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self { roots, clients: OnceCell::new(), under_way: Shares::new(MAX_UNDER_WAY) }
    }

    /// Send a request, follow redirects as far as the policy allows them, and read the whole response. Dropping the future
    /// ends it.
    ///
    /// # Errors
    ///
    /// There is no response, or it breaks one of the bounds.
    pub(crate) async fn send(
        &self,
        request: Admitted,
        policy: &HttpPolicy,
        bounds: Bounds,
    ) -> Result<Response, Error> {
        let (app, until) = (bounds.app, bounds.until);
        let exchange = async {
            let _place = self.under_way.acquire(app).await;
            self.follow(request, policy, &bounds).await
        };
        tokio::time::timeout_at(until, SENDER.scope(app, exchange)).await.unwrap_or(Err(Error::TimedOut))
    }

    /// Send a request of an app, and give the status of its response. Redirects are not followed and the body is not read.
    ///
    /// # Errors
    ///
    /// There is no response in time.
    pub(crate) async fn tell(
        &self,
        app: AppId,
        request: Admitted,
        until: Instant,
    ) -> Result<StatusCode, Error> {
        let exchange = async {
            let _place = self.under_way.acquire(app).await;
            Ok(self.exchange(&request).await?.status())
        };
        tokio::time::timeout_at(until, SENDER.scope(app, exchange)).await.unwrap_or(Err(Error::TimedOut))
    }

    async fn follow(
        &self,
        mut hop: Admitted,
        policy: &HttpPolicy,
        bounds: &Bounds,
    ) -> Result<Response, Error> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(&hop).await?;
            match redirect::next(hop.request(), response.status(), response.headers()) {
                None => return read(response, hop.request(), bounds).await,
                Some(next) => hop = next?.admit(policy).map_err(of_redirect)?,
            }
        }
        Err(Error::TooManyRedirects)
    }

    async fn exchange(&self, hop: &Admitted) -> Result<reqwest::Response, Error> {
        let clients = self.clients.get_or_try_init(|| Clients::new(self.roots.clone())).await?;
        let client = if hop.private() { &clients.private } else { &clients.public };
        let request = hop.request();
        client.execute(to_send(request)).await.map_err(|error| explain(&error, request.host()))
    }
}

impl Clients {
    async fn new(roots: Roots) -> Result<Self, Error> {
        // Reading the system's certificates takes milliseconds.
        let made = tokio::task::spawn_blocking(move || Self::build(roots)).await;
        made.map_err(anyhow::Error::from).flatten().map_err(|error| {
            tracing::error!(error = %format!("{error:#}"), "cannot make a client for requests of scripts");
            Error::Failed("this server cannot send requests; its log has more".to_owned())
        })
    }

    fn build(roots: Roots) -> anyhow::Result<Self> {
        let mut tls = config(roots)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let [public, private] = Resolver::pair().map(|resolver| {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(Arc::new(resolver))
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .connect_timeout(CONNECT)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(MAX_IDLE)
                .user_agent(concat!("picloud/", env!("CARGO_PKG_VERSION")))
                .build()
        });
        Ok(Self { public: public?, private: private? })
    }
}

fn to_send(request: &Outgoing) -> reqwest::Request {
    let mut sent = reqwest::Request::new(request.method.clone(), request.url.clone());
    *sent.headers_mut() = request.headers.clone();
    *sent.body_mut() = request.body.clone().map(Into::into);
    sent
}

/// Read a response piece by piece, and not beyond its bound, whatever it says of its length.
async fn read(
    mut response: reqwest::Response,
    request: &Outgoing,
    bounds: &Bounds,
) -> Result<Response, Error> {
    let most = bounds.response_bytes;
    let too_large = || Error::ResponseTooLarge(u32::try_from(most).unwrap_or(u32::MAX));
    // A response to HEAD tells the length of a body that does not come.
    if request.method != http::Method::HEAD && response.content_length().is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> =
        response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    bounds.allowance.take(headers.iter().map(|(name, value)| name.len() + value.len()).sum())?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| explain(&error, request.host()))? {
        if (body.len() + piece.len()) as u64 > most {
            return Err(too_large());
        }
        bounds.allowance.take(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(Response { status: response.status().as_u16(), url: request.url.to_string(), headers, body })
}

/// The script did not ask for this one itself.
fn of_redirect(error: Error) -> Error {
    match error {
        Error::NotAllowed(what) => Error::NotAllowed(format!("a redirect to {what}")),
        other => other,
    }
}
