//! TLS: with cryptography that was chosen for this client, certificates that are checked, and no way back to the clear.

use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use picloud_sdk_wit::picloud::sdk::http::Error;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::server::{Server, serve, serve_over};
use super::{Outbound, all_of, failed, policy, request, send};
use crate::outbound::Roots;

/// A server whose certificate is for `name`, and the certificate.
async fn serve_tls(router: Router, name: &str) -> (Server, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = serve_over(router, move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.ok() }
    });
    (server.await, certificate)
}

fn trusting(certificate: CertificateDer<'static>) -> Outbound {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    Outbound::new(Roots::Only(roots))
}

fn url(server: &Server, path: &str) -> String {
    format!("https://127.0.0.1:{}{path}", server.port())
}

#[tokio::test]
async fn a_certificate_that_is_trusted_is_enough() {
    let router = Router::new().route("/", get(|| async { "safe" }));
    let (server, certificate) = serve_tls(router, "127.0.0.1").await;
    let response = send(&trusting(certificate), &all_of(&server), request("GET", url(&server, "/"))).await;
    assert_eq!(response.unwrap().body, b"safe");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_of_another_name_is_refused() {
    let (server, _) = serve_tls(Router::new(), "127.0.0.1").await;
    let result = send(&Outbound::default(), &all_of(&server), request("GET", url(&server, "/"))).await;
    failed(result, "no safe connection to 127.0.0.1: invalid peer certificate");
    let (server, certificate) = serve_tls(Router::new(), "example.org").await;
    let result = send(&trusting(certificate), &all_of(&server), request("GET", url(&server, "/"))).await;
    failed(result, "no safe connection to 127.0.0.1: invalid peer certificate");
}

#[tokio::test]
async fn a_redirect_into_the_clear_needs_a_rule() {
    let plain = serve(Router::new().route("/", get(|| async { "clear" }))).await;
    let target = plain.url("/");
    let router = Router::new().route("/down", get(async move || Redirect::temporary(&target)));
    let (server, certificate) = serve_tls(router, "127.0.0.1").await;
    let outbound = trusting(certificate);
    let with = |schemes: &[&str]| {
        policy(serde_json::json!([
            { "hosts": ["127.0.0.1"], "schemes": schemes, "ports": [server.port(), plain.port()], "private": true },
        ]))
    };
    let result = send(&outbound, &with(&["https"]), request("GET", url(&server, "/down"))).await;
    let expected = format!("a redirect to GET http://127.0.0.1:{}", plain.port());
    assert!(matches!(&result, Err(Error::NotAllowed(what)) if *what == expected), "{result:?}");
    let response = send(&outbound, &with(&["https", "http"]), request("GET", url(&server, "/down"))).await;
    assert_eq!(response.unwrap().body, b"clear");
}
