//! HTTP to one server: bounded answers, no redirects, the token only where it is asked for.

use std::error::Error;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::config::ClientSettings;
use super::server::Server;
use crate::exit::CliError;
use crate::output::text::clean;

/// What is read of a file at once, in bytes.
const PIECE: usize = 256 << 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one server.
#[derive(Debug)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    server: Server,
    authorization: Option<HeaderValue>,
    timeout: Option<Duration>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query, encoded, starting with `/`.
    pub path: String,
    /// Headers beside those that every request has.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whether to show the token.
    pub with_token: bool,
    /// The longest body of an answer that is taken, in bytes.
    pub answer_limit: usize,
    /// How long the answer may take when the settings do not say.
    pub timeout: Duration,
}

impl Call {
    /// A call of the REST API: with the token, without a body, an answer of at most 32 MiB within a minute.
    pub fn api(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            with_token: true,
            answer_limit: 32 << 20,
            timeout: Duration::from_secs(60),
        }
    }

    /// The same with a JSON document.
    pub fn json(method: Method, path: impl Into<String>, document: &serde_json::Value) -> Self {
        Self::api(method, path).body("application/json", document.to_string())
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        self.body = body.into();
        self
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Http {
    /// A client; it connects when it is first used.
    ///
    /// # Errors
    ///
    /// The server is `https` and this machine has no certificates to check its certificate with.
    pub fn new(settings: &ClientSettings) -> Result<Self, CliError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(&settings.server)?)
            .https_or_http()
            .enable_http1();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector.wrap_connector(tcp)),
            server: settings.server.clone(),
            authorization: settings.token.as_ref().and_then(|token| token.header()),
            timeout: settings.timeout,
        })
    }

    /// The server that this is a client of.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// A path that the server gave, as a URL.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        if path.starts_with('/') { format!("{}{path}", self.server) } else { path.to_owned() }
    }

    /// Whether there is a token to show.
    pub fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// How long any answer may take, if the settings say so.
    pub fn patience(&self) -> Option<Duration> {
        self.timeout
    }

    /// Send a request and read the whole answer, whatever its status.
    ///
    /// # Errors
    ///
    /// There is no answer, it does not come in time, or it is longer than allowed.
    pub async fn send(&self, call: Call) -> Result<Reply, CliError> {
        self.send_body(call, Body::from).await
    }

    /// Send a request whose body is a file, in place of that of the call. `sent` is told how many bytes have gone.
    ///
    /// # Errors
    ///
    /// As [`Http::send`]; the file cannot be read.
    pub async fn upload(
        &self,
        mut call: Call,
        file: std::fs::File,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<Reply, CliError> {
        let length =
            file.metadata().map_err(|error| CliError::Failed(format!("cannot read: {error}")))?.len();
        call.headers.insert(header::CONTENT_LENGTH, length.into());
        let pieces = stream::try_unfold((file, 0), move |(mut file, so_far)| {
            sent(so_far);
            async move {
                let read = tokio::task::spawn_blocking(move || {
                    let mut piece = Vec::with_capacity(PIECE);
                    (&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
                    Ok::<_, std::io::Error>((file, piece))
                });
                let (file, piece) = read.await.map_err(std::io::Error::other)??;
                let so_far = so_far + piece.len() as u64;
                Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), (file, so_far))))
            }
        });
        self.send_body(call, |_| Body::from_stream(pieces)).await
    }

    async fn send_body(&self, call: Call, body: impl FnOnce(Bytes) -> Body) -> Result<Reply, CliError> {
        let limit = self.timeout.unwrap_or(call.timeout);
        let answer_limit = call.answer_limit;
        let request = self.request(call)?.map(body);
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| self.unreachable(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, answer_limit).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    return CliError::Failed(format!("the answer is longer than {answer_limit} bytes"));
                }
                self.unreachable(&*error)
            })?;
            Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
            Err(CliError::Unreachable(format!(
                "the server at {} did not answer within {} s (see --timeout)",
                self.server,
                limit.as_secs()
            )))
        })
    }

    /// Send a request, and take the body of the answer piece by piece if it is a success; else read all of it. Each piece has
    /// the time of the whole call to come.
    ///
    /// # Errors
    ///
    /// There is no answer, a piece does not come in time or cannot be taken, or the connection is lost.
    pub async fn stream(
        &self,
        call: Call,
        mut take: impl FnMut(&[u8], Option<u64>) -> std::io::Result<()>,
    ) -> Result<Option<Reply>, CliError> {
        let limit = self.timeout.unwrap_or(call.timeout);
        let answer_limit = call.answer_limit;
        let request = self.request(call)?.map(Body::from);
        let late = |_| {
            CliError::Unreachable(format!(
                "the server at {} was silent for {} s",
                self.server,
                limit.as_secs()
            ))
        };
        let response = tokio::time::timeout(limit, self.client.request(request)).await.map_err(late)?;
        let (head, mut body) = response.map_err(|error| self.unreachable(&error))?.into_parts();
        if !head.status.is_success() {
            let body = Limited::new(body, answer_limit)
                .collect()
                .await
                .map_err(|error| self.unreachable(&*error))?;
            return Ok(Some(Reply { status: head.status, headers: head.headers, body: body.to_bytes() }));
        }
        let length =
            head.headers.get(header::CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
        while let Some(frame) = tokio::time::timeout(limit, body.frame()).await.map_err(late)? {
            let frame = frame.map_err(|error| self.unreachable(&error))?;
            if let Some(data) = frame.data_ref() {
                take(data, length).map_err(|error| CliError::Failed(format!("cannot write: {error}")))?;
            }
        }
        Ok(None)
    }

    fn request(&self, call: Call) -> Result<Request<Bytes>, CliError> {
        // The path comes after a host and a slash of ours, so that nothing in it can name another host.
        if !call.path.starts_with('/') {
            return Err(CliError::Usage(format!("the path `{}` does not start with /", clean(&call.path))));
        }
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.server, call.path))
            .body(call.body)
            .map_err(|error| {
                CliError::Usage(format!("`{}` cannot be requested: {error}", clean(&call.path)))
            })?;
        *request.headers_mut() = call.headers;
        let headers = request.headers_mut();
        let agent = HeaderValue::from_static(concat!("picloud/", env!("CARGO_PKG_VERSION")));
        headers.entry(header::USER_AGENT).or_insert(agent);
        if let Some(authorization) = self.authorization.as_ref().filter(|_| call.with_token) {
            headers.entry(header::AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        Ok(request)
    }

    /// One sentence about why there is no server, and what to do.
    fn unreachable(&self, error: &(dyn Error + 'static)) -> CliError {
        let cause = clean(&root_cause(error));
        let server = &self.server;
        if is_tls(error) {
            return CliError::Unreachable(format!(
                "no safe connection to {server} ({cause}): a certificate authority of your own belongs among the \
                 system's, or into the file that SSL_CERT_FILE names"
            ));
        }
        CliError::Unreachable(if server.is_local() {
            format!(
                "no server answers at {server} ({cause}): start one with `picloud serve`, or name another with --server"
            )
        } else {
            format!(
                "no server answers at {server} ({cause}): is `picloud serve` running there, and is --server right?"
            )
        })
    }
}

/// The system's certificates decide whom to trust. They are read only when they are needed.
fn tls(server: &Server) -> Result<ClientConfig, CliError> {
    let failed =
        |error: &dyn Error| CliError::Unreachable(format!("cannot reach {server} over TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let builder = if server.is_https() {
        builder.with_native_roots().map_err(|error| failed(&error))?
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    Ok(builder.with_no_client_auth())
}

/// Whether the connection failed because of TLS, such as a certificate that is not trusted.
fn is_tls<'a>(error: &'a (dyn Error + 'static)) -> bool {
    let mut errors =
        std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source());
    errors.any(|error| {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>())
    })
}

/// The innermost error, which is the one that says something.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
        Some(std::io::ErrorKind::TimedOut) => "the connection timed out".to_owned(),
        Some(std::io::ErrorKind::ConnectionReset) => "the connection was cut".to_owned(),
        Some(std::io::ErrorKind::UnexpectedEof) => "the connection was closed early".to_owned(),
        _ => cause.to_string(),
    }
}
