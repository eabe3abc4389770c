//! What a webhook needs to know, as it is stored.

use http::HeaderName;
use picloud_host::trigger::{SignatureEncoding, WebhookScheme};
use serde::{Deserialize, Serialize};

use super::config::InvalidTrigger;
use crate::name::Name;

/// The longest text before a signature, in bytes.
const MAX_PREFIX_BYTES: usize = 64;

/// Headers that say something else, and must not be taken for a signature.
const NOT_SIGNATURES: [&str; 4] = ["host", "content-length", "content-type", "cookie"];

/// How a request proves to be genuine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The way of a sender, or `header` for any other.
    pub scheme: Scheme,
    /// The name of the secret of the app that only the sender knows. Never the secret itself.
    pub secret: String,
    /// For `header`: which one has the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// For `header`: what stands before the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// For `header`: how the signature is written; hexadecimal digits when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// For `header`: which one has the id of the delivery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_header: Option<String>,
}

/// The way of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `X-Hub-Signature-256`.
    GitHub,
    /// `Stripe-Signature`.
    Stripe,
    /// Any header.
    Header,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal digits.
    Hex,
    /// Base64.
    Base64,
}

impl WebhookConfig {
    /// The scheme in the words of the data plane.
    ///
    /// # Errors
    ///
    /// What is wrong, for whoever has sent it.
    pub fn scheme(&self) -> Result<WebhookScheme, InvalidTrigger> {
        if Name::parse(&self.secret).is_err() {
            return Err(InvalidTrigger(
                "`secret` must be the name of a secret of the app, not the secret itself",
            ));
        }
        let header = match self.scheme {
            Scheme::Header => self.header.as_deref(),
            scheme => {
                let none = self.header.is_none() && self.prefix.is_none();
                return match (none && self.encoding.is_none() && self.id_header.is_none(), scheme) {
                    (true, Scheme::GitHub) => Ok(WebhookScheme::GitHub),
                    (true, _) => Ok(WebhookScheme::Stripe),
                    (false, _) => Err(InvalidTrigger(
                        "`header`, `prefix`, `encoding` and `id_header` are for the scheme header only",
                    )),
                };
            }
        };
        let name = header.and_then(header_name).filter(|name| !NOT_SIGNATURES.contains(&name.as_str()));
        let name =
            name.ok_or(InvalidTrigger("`header` must be the name of the header that has the signature"))?;
        let id = self.id_header.as_deref().map(|id| header_name(id).filter(|id| *id != name));
        let id = match id {
            Some(None) => return Err(InvalidTrigger("`id_header` must be the name of another header")),
            Some(Some(id)) => Some(id.as_str().into()),
            None => None,
        };
        let prefix = self.prefix.as_deref().unwrap_or_default();
        if prefix.len() > MAX_PREFIX_BYTES || !prefix.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(InvalidTrigger("`prefix` must be at most 64 characters of ASCII"));
        }
        let encoding = match self.encoding {
            None | Some(Encoding::Hex) => SignatureEncoding::Hex,
            Some(Encoding::Base64) => SignatureEncoding::Base64,
        };
        Ok(WebhookScheme::Header { name: name.as_str().into(), prefix: prefix.into(), encoding, id })
    }
}

/// Headers are compared in lower case.
fn header_name(text: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(text.as_bytes()).ok()
}
