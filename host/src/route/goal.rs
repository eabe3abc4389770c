//! What a request leads to that is for a route.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::PathPattern;

/// The longest body of a static answer, in bytes.
const MAX_BODY: usize = 64 << 10;

/// The longest location of a redirect, in bytes.
const MAX_LOCATION: usize = 2048;

/// The longest location with its parameters, in bytes: what clients and proxies take for a header.
const MAX_FILLED: usize = 8 << 10;

/// The most headers of a static answer.
const MAX_HEADER_COUNT: usize = 64;

/// All headers of a static answer together, in bytes.
const MAX_HEADERS: usize = 16 << 10;

/// Headers that an answer of the server has of its own.
const RESERVED_HEADERS: &[&str] =
    &["connection", "content-length", "date", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// What a request leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// A script of the app.
    Script(Arc<str>),
    /// Another address.
    Redirect(Redirect),
    /// Always the same answer.
    Answer(UnderstoodAnswer),
}

/// Where a client is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// A URL or a path; `{name}` stands for a parameter of the route.
    pub location: String,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "permanent")]
    pub status: u16,
}

fn permanent() -> u16 {
    308
}

/// An answer that is always the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticAnswer {
    /// 200 to 599.
    #[serde(default = "fine")]
    pub status: u16,
    /// By name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Text.
    #[serde(default)]
    pub body: String,
}

fn fine() -> u16 {
    200
}

/// A static answer, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderstoodAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Redirect {
    /// Whether it can be followed from a route with this path.
    pub(super) fn check(&self, path: &PathPattern) -> Result<(), String> {
        if !matches!(self.status, 301 | 302 | 303 | 307 | 308) {
            return Err(format!("redirect: {} is none of 301, 302, 303, 307 and 308", self.status));
        }
        let wrong = |why: &str| Err(format!("redirect: the location {why}"));
        // Browsers read a backslash as a slash.
        let visible = self.location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if self.location.is_empty() || self.location.len() > MAX_LOCATION || !visible {
            return wrong("must be 1 to 2048 visible ASCII characters");
        }
        for name in parameters(&self.location) {
            if !path.parameters().iter().any(|known| **known == *name) {
                return Err(format!("redirect: the route has no parameter {name}"));
            }
        }
        // A parameter must not choose the host.
        let fixed = self.location.split('{').next().unwrap_or_default();
        let names_host = ["http://", "https://"].iter().find_map(|scheme| fixed.strip_prefix(scheme));
        match names_host {
            Some(rest) if rest.find('/').is_none_or(|slash| slash == 0) && self.location.contains('{') => {
                wrong("must have a whole host and a / before its first parameter")
            }
            Some(_) => Ok(()),
            None if fixed.starts_with('/')
                && !fixed.starts_with("//")
                && (fixed.len() > 1 || !self.location.contains('{')) =>
            {
                Ok(())
            }
            None => {
                wrong("must be a URL with http:// or https://, or a path whose first part is not a parameter")
            }
        }
    }

    /// The location for these parameters, which are as they are in the path of the request; none when it would be too long.
    /// What stands in a parameter is never looked through for the name of another one.
    #[must_use]
    pub fn location(&self, values: &[(&str, &str)]) -> Option<String> {
        let mut parts = self.location.split('{');
        let mut location = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or(("", part));
            let value = values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
            if location.len() + value.len() + rest.len() > MAX_FILLED {
                return None;
            }
            location.push_str(value);
            location.push_str(rest);
        }
        Some(location)
    }
}

/// The names between `{` and `}`.
fn parameters(location: &str) -> impl Iterator<Item = &str> {
    location.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or_default())
}

impl StaticAnswer {
    /// What it means.
    pub(super) fn understood(&self) -> Result<UnderstoodAnswer, String> {
        let status =
            StatusCode::from_u16(self.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
        let status = status.ok_or_else(|| format!("answer: {} is no status of an answer", self.status))?;
        if self.body.len() > MAX_BODY {
            return Err(format!("answer: the body has more than {MAX_BODY} bytes"));
        }
        if self.headers.len() > MAX_HEADER_COUNT {
            return Err(format!("answer: there are more than {MAX_HEADER_COUNT} headers"));
        }
        let size: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > MAX_HEADERS {
            return Err(format!("answer: the headers have more than {MAX_HEADERS} bytes"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let wrong = || format!("answer: the header {name:?} cannot be sent");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            if RESERVED_HEADERS.contains(&name.as_str()) {
                return Err(wrong());
            }
            headers.insert(name.clone(), HeaderValue::from_str(value).map_err(|_| wrong())?);
        }
        if !self.body.is_empty() && !headers.contains_key(http::header::CONTENT_TYPE) {
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            headers.insert(http::header::CONTENT_TYPE, text);
        }
        Ok(UnderstoodAnswer { status, headers, body: Bytes::from(self.body.clone()) })
    }
}

/// A parameter as scripts see it: decoded. What is no text stays as it is in the path.
#[must_use]
pub(super) fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8().map_or_else(|_| value.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, location: &str) -> Result<(), String> {
        let redirect = Redirect { location: location.to_owned(), status: 308 };
        redirect.check(&PathPattern::parse(path).unwrap())
    }

    #[test]
    fn redirects_take_over_parameters() {
        let redirect = Redirect { location: "/new/{id}?from={id}".to_owned(), status: 301 };
        assert_eq!(redirect.location(&[("id", "a%2Fb")]).unwrap(), "/new/a%2Fb?from=a%2Fb");
        // A value is no template, and what is too long is not made.
        assert_eq!(redirect.location(&[("id", "{id}{id}")]).unwrap(), "/new/{id}{id}?from={id}{id}");
        assert_eq!(redirect.location(&[("id", &"x".repeat(5000))]), None);
        for fine in
            ["/", "/new/{id}", "https://a.example", "https://a.example/{id}", "https://a.example/?q={id}"]
        {
            assert_eq!(check("/old/{id}", fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn a_parameter_never_chooses_where_a_client_is_sent() {
        for open in [
            "{id}",
            "//{id}",
            "/{id}",
            "https://{id}",
            "https://a.example{id}",
            "https://a.example.{id}/",
            "//a.example/",
            "javascript:{id}",
            "/\\{id}",
            "",
            "a b",
            "/new/{other}",
        ] {
            assert!(check("/old/{id}", open).is_err(), "{open}");
        }
        let redirect = Redirect { location: "/".to_owned(), status: 200 };
        assert!(redirect.check(&PathPattern::parse("/a").unwrap()).is_err());
    }

    #[test]
    fn a_static_answer_can_be_sent_or_is_refused() {
        let answer = |status, name: &str, value: &str| {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            StaticAnswer { status, headers, body: "x".to_owned() }.understood()
        };
        let sent = answer(404, "x-a", "b").unwrap();
        assert_eq!(
            (sent.status.as_u16(), &sent.headers["content-type"]),
            (404, &HeaderValue::from_static("text/plain; charset=utf-8"))
        );
        for (status, name, value) in [
            (100, "a", "b"),
            (600, "a", "b"),
            (200, "a b", "c"),
            (200, "a", "b\nc"),
            (200, "Content-Length", "5"),
        ] {
            assert!(answer(status, name, value).is_err(), "{status} {name}");
        }
    }
}
