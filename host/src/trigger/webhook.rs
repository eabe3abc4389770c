//! Webhooks as the data plane knows them: whose requests are taken, and how they prove to be genuine.

use std::sync::Arc;

use super::Target;

/// Makes an event of each request that proves to be genuine.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// What is called.
    pub target: Target,
    /// The name of the secret that only the sender knows.
    pub secret: Arc<str>,
    /// How a request proves to be genuine.
    pub scheme: WebhookScheme,
}

/// How a request proves to be genuine: HMAC-SHA-256 of its body with the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookScheme {
    /// As GitHub does it.
    GitHub,
    /// As Stripe does it: of the time and the body, and not for long.
    Stripe,
    /// In a header of the sender's choice.
    Header {
        /// Its name, in lower case.
        name: Arc<str>,
        /// What stands before the signature; often nothing.
        prefix: Arc<str>,
        /// How the signature is written.
        encoding: SignatureEncoding,
        /// The header with the id of the delivery, in lower case, if there is one.
        id: Option<Arc<str>>,
    },
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal digits, lower or upper case.
    Hex,
    /// Base64, with or without padding.
    Base64,
}
