//! What a script asks for, checked, and the proof that the policy allows it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use picloud_sdk_wit::picloud::sdk::http::{Error, Request};
use picloud_sdk_wit::picloud::sdk::test::Sent;
use url::Url;

use super::guard;
use super::policy::{self, HttpPolicy};

/// The longest URL, in bytes. The guest hands over no more and a little: guest/src/sdk/http/request.rs.
const MAX_URL: usize = 8192;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Headers that say how the connection is used, or to whom it leads: the client's own.
const OF_THE_CONNECTION: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The same without a constant in the crate `http`.
const OF_OLD_CONNECTIONS: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// A request that is well formed.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(super) method: Method,
    /// `http` or `https`, without a user, a fragment and a full stop behind the host.
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

/// A request that the policy allows. Made by [`Outgoing::admit`] and by nothing else.
#[derive(Debug)]
pub(crate) struct Admitted {
    request: Outgoing,
    private: bool,
}

impl Outgoing {
    /// Check what a script asks for. `limit` is what URL, headers and body may have together, in bytes.
    ///
    /// # Errors
    ///
    /// The request is too large, or a part of it is not what it should be.
    pub(crate) fn parse(request: Request, limit: u64) -> Result<Self, Error> {
        let Request { method, url, headers, body, timeout_ms: _ } = request;
        let of_headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let size = url.len() + of_headers + body.as_ref().map_or(0, Vec::len);
        if size as u64 > limit {
            return Err(Error::RequestTooLarge(u32::try_from(limit).unwrap_or(u32::MAX)));
        }
        let url = if url.len() > MAX_URL { None } else { Url::parse(&url).ok() };
        let method = Method::from_bytes(method.as_bytes()).ok().filter(policy::is_sendable);
        Ok(Self {
            method: method.ok_or(Error::MethodInvalid)?,
            url: url.and_then(destination).ok_or(Error::UrlInvalid)?,
            headers: parse_headers(headers)?,
            body: body.map(Bytes::from),
        })
    }

    /// Ask the policy.
    ///
    /// # Errors
    ///
    /// No rule allows the request, or its host is an address that the rule does not allow.
    pub(crate) fn admit(self, policy: &HttpPolicy) -> Result<Admitted, Error> {
        let Some(permission) = policy.permission(&self.method, &self.url) else {
            return Err(Error::NotAllowed(format!(
                "{} {}",
                self.method,
                self.url.origin().ascii_serialization()
            )));
        };
        if !guard::allows_literal(permission.private, &self.url) {
            return Err(Error::AddressBlocked(self.host().to_owned()));
        }
        Ok(Admitted { request: self, private: permission.private })
    }

    /// What a test sees of it.
    pub(crate) fn as_sent(&self) -> Sent {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Sent {
            method: self.method.to_string(),
            url: self.url.to_string(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), text(value)))
                .collect(),
            body: self.body.as_deref().unwrap_or_default().to_vec(),
        }
    }

    /// The host, as the URL writes it.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

impl Admitted {
    /// What is allowed.
    pub(super) fn request(&self) -> &Outgoing {
        &self.request
    }

    /// Whether its host may have addresses that are not on the public internet.
    pub(super) fn private(&self) -> bool {
        self.private
    }
}

/// A URL that a request can be sent to, in the form in which it is sent; none if it is not one. A user or a password in it
/// is an old way to make one host look like another.
pub(crate) fn destination(mut url: Url) -> Option<Url> {
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_fragment(None);
    // `example.org.` is `example.org` to the resolver, and should be to the server and its certificate.
    if let Some(name) = url.domain().and_then(|name| name.strip_suffix('.')).map(str::to_owned) {
        url.set_host(Some(&name)).ok()?;
    }
    (url.port() != Some(0)).then_some(url)
}

fn parse_headers(headers: Vec<(String, String)>) -> Result<HeaderMap, Error> {
    let mut parsed = HeaderMap::with_capacity(headers.len().min(MAX_HEADERS));
    for (name, value) in headers {
        let valid = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::try_from(value).ok());
        match valid {
            Some((name, value)) if parsed.len() < MAX_HEADERS && !is_of_the_connection(&name) => {
                parsed.append(name, value);
            }
            _ => return Err(Error::HeaderInvalid(excerpt(name))),
        }
    }
    Ok(parsed)
}

fn is_of_the_connection(name: &HeaderName) -> bool {
    OF_THE_CONNECTION.contains(name) || OF_OLD_CONNECTIONS.contains(&name.as_str())
}

fn excerpt(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(64));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Request {
        Request {
            method: method.into(),
            url: url.into(),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body: body.map(Into::into),
            timeout_ms: None,
        }
    }

    fn parse(url: &str) -> Result<String, Error> {
        Outgoing::parse(request("GET", url, &[], None), 1 << 20).map(|request| request.url.into())
    }

    #[test]
    fn urls_are_sent_in_one_form() {
        for (url, sent) in [
            ("HTTPS://Example.ORG", "https://example.org/"),
            ("http://example.org./a b?c#d", "http://example.org/a%20b?c"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
            ("http://2130706433/", "http://127.0.0.1/"),
            ("http://0177.0.0.1/", "http://127.0.0.1/"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("http://127.0.0.1./", "http://127.0.0.1/"),
            ("http://[::ffff:7f00:1]/", "http://[::ffff:127.0.0.1]/"),
            ("http:\\\\example.org\\a", "http://example.org/a"),
        ] {
            let parsed = parse(url).unwrap();
            // The crate writes IPv4 addresses in IPv6 addresses in hexadecimal.
            assert!(parsed == sent || parsed == "http://[::ffff:7f00:1]/", "{url}: {parsed}");
        }
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        let long = format!("http://a/{}", "x".repeat(MAX_URL));
        for url in [
            "",
            "/",
            "//a/",
            "example.org",
            "ftp://a/",
            "file:///etc/passwd",
            "data:,x",
            "http://",
            "http:///",
            "http://user@a/",
            "http://user:secret@a/",
            "http://:secret@a/",
            "http://allowed.org@127.0.0.1/",
            "http://a b/",
            "http://[::1/",
            "http://1.2.3.256/",
            "http://a:65536/",
            "http://a:0/",
            "http://a\0/",
            "http://./",
            &long,
        ] {
            assert!(matches!(parse(url), Err(Error::UrlInvalid)), "{url}");
        }
    }

    #[test]
    fn methods_and_headers_that_are_not_the_scripts_are_refused() {
        for method in ["CONNECT", "TRACE", "", "G T", "GET\r\nX: 1"] {
            let parsed = Outgoing::parse(request(method, "http://a/", &[], None), 1 << 20);
            assert!(matches!(parsed, Err(Error::MethodInvalid)), "{method:?}");
        }
        for (name, value) in [
            ("Host", "b"),
            ("content-length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "x"),
            ("Keep-Alive", "1"),
            ("proxy-authorization", "x"),
            ("Upgrade", "h2c"),
            ("expect", "100-continue"),
            ("", "x"),
            ("a b", "x"),
            ("a:b", "x"),
            ("x", "a\r\nhost: b"),
            ("x", "a\nb"),
            ("x\r\nhost", "b"),
            ("x", "\0"),
        ] {
            let parsed = Outgoing::parse(request("GET", "http://a/", &[(name, value)], None), 1 << 20);
            assert!(matches!(parsed, Err(Error::HeaderInvalid(_))), "{name:?}: {value:?}");
        }
        let many = vec![("x", "1"); MAX_HEADERS + 1];
        assert!(Outgoing::parse(request("GET", "http://a/", &many[1..], None), 1 << 20).is_ok());
        assert!(Outgoing::parse(request("GET", "http://a/", &many, None), 1 << 20).is_err());
    }

    #[test]
    fn everything_that_is_sent_counts() {
        let sized =
            |limit| Outgoing::parse(request("POST", "http://a/", &[("x", "12")], Some(b"123")), limit);
        assert!(sized(15).is_ok());
        assert!(matches!(sized(14), Err(Error::RequestTooLarge(14))));
    }

    #[test]
    fn only_what_the_policy_allows_is_admitted() {
        let rule = |host: &str, private: bool| {
            let rule = serde_json::json!({ "hosts": [host], "schemes": ["http"], "private": private });
            HttpPolicy { rules: vec![serde_json::from_value(rule).unwrap()] }
        };
        let admit = |url: &str, policy: &HttpPolicy| {
            let request = Outgoing::parse(request("GET", url, &[], None), 1 << 20).unwrap();
            request.admit(policy).map(|admitted| admitted.private())
        };
        assert!(!admit("http://a.org", &rule("a.org", false)).unwrap());
        assert!(admit("http://127.1", &rule("127.0.0.1", true)).unwrap());
        let refused = admit("http://a.org/secret?token", &rule("b.org", false));
        assert!(matches!(refused, Err(Error::NotAllowed(what)) if what == "GET http://a.org"));
        for (url, private) in [
            ("http://127.0.0.1", false),
            ("http://[::1]", false),
            ("http://[64:ff9b::7f00:1]", false),
            ("http://169.254.169.254", true),
            ("http://[fe80::1]", true),
            ("http://0.0.0.0", true),
        ] {
            let host = url.strip_prefix("http://").unwrap();
            assert!(
                matches!(admit(url, &rule(host, private)), Err(Error::AddressBlocked(blocked)) if blocked == host),
                "{url}"
            );
        }
    }
}
