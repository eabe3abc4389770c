//! Where the broker is: a URL, read once and never shown with its password.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

/// The longest client identifier, in bytes. A broker may allow less.
const MAX_CLIENT_ID_BYTES: usize = 256;

/// Where a broker is and who connects: `mqtt://[user[:password]@]host[:port][?client_id=...]`, or `mqtts` for TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) login: Option<(String, String)>,
    pub(super) client_id: Option<String>,
}

/// Why an address is refused: a phrase that does not repeat it, since it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BrokerInvalid(&'static str);

impl Broker {
    /// Read an address.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, BrokerInvalid> {
        let invalid = |reason| Err(BrokerInvalid(reason));
        let Ok(url) = Url::parse(text) else { return invalid("it is not a URL") };
        let tls = match url.scheme() {
            "mqtt" => false,
            "mqtts" => true,
            _ => return invalid("it must start with mqtt:// or mqtts://"),
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return invalid("it names no host");
        };
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return invalid("it has a path");
        }
        let user = decoded(url.username()).ok_or(BrokerInvalid("the user is not UTF-8"))?;
        let password =
            decoded(url.password().unwrap_or_default()).ok_or(BrokerInvalid("the password is not UTF-8"))?;
        if user.is_empty() && !password.is_empty() {
            return invalid("it has a password and no user");
        }
        let mut client_id = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "client_id" if (1..=MAX_CLIENT_ID_BYTES).contains(&value.len()) => {
                    client_id = Some(value.into_owned());
                }
                "client_id" => return invalid("client_id must have 1 to 256 bytes"),
                _ => return invalid("client_id is the only parameter"),
            }
        }
        Ok(Self {
            // An IPv6 address comes in brackets, as a socket address wants it.
            host: host.to_owned(),
            port: url.port().unwrap_or(if tls { 8883 } else { 1883 }),
            tls,
            login: (!user.is_empty()).then_some((user, password)),
            client_id,
        })
    }
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Without user and password.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_everything_in_it() {
        let full = Broker::parse("mqtts://me:p%40ss@broker.local:9999?client_id=board").unwrap();
        assert_eq!((full.host.as_str(), full.port, full.tls), ("broker.local", 9999, true));
        assert_eq!(full.login, Some(("me".to_owned(), "p@ss".to_owned())));
        assert_eq!(full.client_id.as_deref(), Some("board"));
        let least = Broker::parse("mqtt://127.0.0.1").unwrap();
        assert_eq!((least.port, least.tls, least.login), (1883, false, None));
        assert_eq!(Broker::parse("mqtt://[::1]").unwrap().host, "[::1]");
        assert_eq!(Broker::parse("mqtts://b").unwrap().port, 8883);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (text, reason) in [
            ("broker", "it is not a URL"),
            ("http://broker", "it must start with mqtt:// or mqtts://"),
            ("mqtt://", "it names no host"),
            ("mqtt://b/path", "it has a path"),
            ("mqtt://:secret@b", "it has a password and no user"),
            ("mqtt://b?client_id=", "client_id must have 1 to 256 bytes"),
            ("mqtt://b?clean=1", "client_id is the only parameter"),
        ] {
            assert_eq!(Broker::parse(text).unwrap_err().to_string(), reason, "{text}");
        }
        let broker = Broker::parse("mqtt://me:secret@b").unwrap();
        assert_eq!(format!("{broker} {broker:?}"), "mqtt://b:1883 mqtt://b:1883");
    }
}
