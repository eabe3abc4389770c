//! HTTP clients of tests.

use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// A client without proxy and, since nothing here is served over TLS, without certificates.
///
/// To be used wherever tests need one: the server's own client makes reqwest be built with TLS but without cryptography,
/// and then `reqwest::Client::builder` panics unless it is told which to use.
///
/// # Panics
///
/// The cryptography does not fit TLS; it does.
pub fn client() -> ClientBuilder {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the cryptography fits TLS")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls)
}
