//! TLS towards other servers: whose certificates are believed.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Who vouches for other servers.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// The certificate authorities of the system, or of the file that `SSL_CERT_FILE` names. They are read when the first
    /// request is sent.
    #[default]
    System,
    /// These and no others.
    Only(RootCertStore),
}

/// The cryptography is chosen here: another part of the process may have chosen another, or none. Reading the system's
/// certificates takes milliseconds.
pub(crate) fn config(roots: Roots) -> anyhow::Result<ClientConfig> {
    let roots = match roots {
        Roots::Only(roots) => roots,
        Roots::System => of_the_system(),
    };
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Without any, nothing can be reached over TLS, and everything else works.
fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        tracing::warn!(
            ?errors,
            "this system has no certificate authorities: nothing can be reached over TLS"
        );
    }
    roots
}
