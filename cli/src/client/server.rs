//! The address of a server and the token that belongs to it.

use std::fmt;
use std::str::FromStr;

use ::http::{HeaderValue, Uri};

/// Where a server is: scheme, host and port, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Server {
    /// Understand a URL such as `http://127.0.0.1:8080` or `https://pi.example.org/`.
    ///
    /// # Errors
    ///
    /// Says what is wrong: another scheme, a path, a user name, no URL at all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("`{}` is not the URL of a server: {why}", crate::output::text::clean(text));
        let uri: Uri = text.trim().parse().map_err(|error| wrong(&format!("{error}")))?;
        let scheme = match uri.scheme_str() {
            Some("http") => "http",
            Some("https") => "https",
            _ => return Err(wrong("it does not start with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("there is a user name in it"));
        }
        if uri.path_and_query().is_some_and(|rest| rest.as_str() != "/") {
            return Err(wrong("there is a path after the host"));
        }
        if authority.host().is_empty() {
            return Err(wrong("the host is missing"));
        }
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port = match authority.port() {
            // What is no port at all is none to the parser, too.
            None if authority.as_str() != authority.host() => {
                return Err(wrong("the port is no number up to 65535"));
            }
            None => default_port,
            Some(port) => port.as_str().parse().map_err(|_| wrong("the port is no number up to 65535"))?,
        };
        Ok(Self { scheme, host: authority.host().to_ascii_lowercase(), port })
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether the server is on this machine, as far as its name tells.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl Default for Server {
    fn default() -> Self {
        Self { scheme: "http", host: "127.0.0.1".to_owned(), port: 8080 }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme, self.port) {
            ("http", 80) | ("https", 443) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// A token. It is never printed, and only sent to the server that it belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Take a token as it was given, without space around it.
    ///
    /// # Errors
    ///
    /// It cannot be sent in a header. The message does not show the token.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token is empty or has characters that no token has".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of the header `Authorization`; none for what [`Token::parse`] would have refused.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The token itself, to be written to the client file.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_brought_to_one_form() {
        let check =
            |text: &str, expect: &str| assert_eq!(Server::parse(text).unwrap().to_string(), expect, "{text}");
        check("http://127.0.0.1:8080", "http://127.0.0.1:8080");
        check("http://Pi.Local:80/", "http://pi.local");
        check("HTTPS://example.org:443", "https://example.org");
        check("https://example.org:80", "https://example.org:80");
        check("http://[::1]:8080/", "http://[::1]:8080");
        assert_eq!(Server::default().to_string(), "http://127.0.0.1:8080");
    }

    #[test]
    fn what_is_no_server_is_refused_with_a_reason() {
        let check = |text: &str, why: &str| {
            let error = Server::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        };
        check("localhost:8080", "http://");
        check("127.0.0.1:8080", "http://");
        check("ftp://example.org", "http://");
        check("http://user:secret@example.org", "user name");
        check("http://example.org/api", "path");
        check("http://example.org?x=1", "path");
        check("http://example.org:99999", "port");
        check("http://example.org:", "port");
        check("", "not the URL");
        check("http://", "not the URL");
        check("http://a b", "not the URL");
    }

    #[test]
    fn only_loopback_is_local() {
        for (text, local) in [
            ("http://localhost:1", true),
            ("http://127.1.2.3", true),
            ("http://[::1]", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.org", false),
        ] {
            assert_eq!(Server::parse(text).unwrap().is_local(), local, "{text}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token::parse(" pct_secret\n").unwrap();
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        assert!(token.header().unwrap().is_sensitive());
        for bad in ["", " ", "two words", "line\r\nbreak: x", "ümlaut"] {
            let error = Token::parse(bad).unwrap_err();
            assert!(bad.trim().is_empty() || !error.contains(bad), "{error}");
        }
    }
}
