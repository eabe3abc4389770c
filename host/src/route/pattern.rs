//! Patterns of hosts and of paths.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 512;

/// The most parameters of a path.
const MAX_PARAMETERS: usize = 16;

/// Which hosts a route is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Every one.
    Any,
    /// This one, in lower case.
    One(Arc<str>),
    /// Every name that ends so, with the dot that it begins with: `.example.org`.
    Below(Arc<str>),
}

impl HostPattern {
    /// Read a pattern: a name or an address, without a port, or `*.` and a name. None stands for every host.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: Option<&str>) -> Result<Self, String> {
        let Some(text) = text else { return Ok(Self::Any) };
        let wrong = || format!("host: {text:?} is neither a name such as shop.example.org nor *.example.org");
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        if name.len() > MAX_BYTES {
            return Err(wrong());
        }
        // In the form in which browsers send it; a name that only looks like an address is one.
        let host = url::Host::parse(name).map_err(|_| wrong())?;
        match host {
            url::Host::Domain(domain) if !is_name(&domain) => Err(wrong()),
            url::Host::Domain(domain) if below => Ok(Self::Below(format!(".{domain}").into())),
            _ if below => Err(wrong()),
            host => Ok(Self::One(host.to_string().into())),
        }
    }

    /// Whether a name is among them: in lower case, without a port.
    #[must_use]
    pub fn contains(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => **one == *host,
            Self::Below(end) => host.len() > end.len() && host.ends_with(&**end),
        }
    }

    /// Whether some host is among both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::One(one), pattern) | (pattern, Self::One(one)) => pattern.contains(one),
            (Self::Below(a), Self::Below(b)) => a.ends_with(&**b) || b.ends_with(&**a),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("every host"),
            Self::One(one) => f.write_str(one),
            Self::Below(end) => write!(f, "*{end}"),
        }
    }
}

/// Which paths a route is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: Arc<str>,
    /// With other names for the parameters, by their order: two patterns that match the same have the same.
    canonical: String,
    parameters: Vec<Arc<str>>,
}

impl PathPattern {
    /// Read a pattern: parts between `/`, each as it is in a URL, or `{name}` for any one part, or `{*name}` at the end for
    /// any number of them, but one at least.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("path: {text:?} {why}"));
        let Some(parts) = text.strip_prefix('/') else { return wrong("must begin with /") };
        if text.len() > MAX_BYTES {
            return Err(format!("path: it has more than {MAX_BYTES} bytes"));
        }
        let parts: Vec<&str> = parts.split('/').collect();
        let (mut canonical, mut parameters, mut seen) = (String::new(), Vec::new(), BTreeSet::new());
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            canonical.push('/');
            let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
                if part.is_empty() && !last {
                    return wrong("has an empty part");
                }
                if matches!(*part, "." | "..") || !part.bytes().all(is_path_byte) || !is_encoded(part) {
                    return wrong("has a part that no URL has: encode what is not a letter or digit as %XX");
                }
                canonical.push_str(part);
                continue;
            };
            let (star, name) = name.strip_prefix('*').map_or(("", name), |name| ("*", name));
            if !star.is_empty() && !last {
                return wrong("has {*name} before its end");
            }
            let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !name.bytes().all(fine) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
                return wrong("has a parameter that is not lower-case letters, digits and _, a letter first");
            }
            if !seen.insert(name) || parameters.len() == MAX_PARAMETERS {
                return wrong("has a parameter twice, or more than 16");
            }
            canonical.push_str(&format!("{{{star}p{}}}", parameters.len()));
            parameters.push(name.into());
        }
        Ok(Self { text: text.into(), canonical, parameters })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &Arc<str> {
        &self.text
    }

    /// The same for patterns that match the same.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The names of its parameters, in their order.
    #[must_use]
    pub fn parameters(&self) -> &[Arc<str>] {
        &self.parameters
    }

    /// Its first part, if that is not a parameter. Empty for `/`.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        let first = self.text.split('/').nth(1).unwrap_or_default();
        (!first.starts_with('{')).then_some(first)
    }
}

/// What may stand in a path as it is (RFC 3986, `pchar`), and `%`.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte)
}

/// Whether each `%` is followed by two hexadecimal digits.
fn is_encoded(part: &str) -> bool {
    part.split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether a domain is one that somebody can have, of letters, digits, `-` and `_`. URLs allow more, a `*` for one.
fn is_name(domain: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    domain.split('.').all(|label| !label.is_empty() && label.bytes().all(fine))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostPattern {
        HostPattern::parse(Some(text)).unwrap()
    }

    #[test]
    fn hosts_are_names_addresses_or_everything_below_a_name() {
        assert_eq!(host("Shop.Example.ORG").to_string(), "shop.example.org");
        assert_eq!(host("bücher.example").to_string(), "xn--bcher-kva.example");
        assert_eq!(host("0x7f.1").to_string(), "127.0.0.1");
        assert_eq!(host("[::1]").to_string(), "[::1]");
        let below = host("*.example.org");
        assert!(below.contains("a.example.org") && below.contains("a.b.example.org"));
        assert!(
            !below.contains("example.org")
                && !below.contains("badexample.org")
                && !below.contains(".example.org")
        );
        for wrong in ["", "*", "*.", "a b", "a:80", "http://a", "*.*.a", "a.*", "*.127.0.0.1", "a/b", "[::1"]
        {
            assert!(HostPattern::parse(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_overlap_when_one_name_is_in_both() {
        let cases = [
            ("a.org", "a.org", true),
            ("a.org", "b.org", false),
            ("*.a.org", "x.a.org", true),
            ("*.a.org", "a.org", false),
            ("*.a.org", "*.b.a.org", true),
            ("*.a.org", "*.ba.org", false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(host(one).overlaps(&host(other)), expected, "{one} {other}");
            assert_eq!(host(other).overlaps(&host(one)), expected, "{other} {one}");
            assert!(HostPattern::Any.overlaps(&host(one)));
        }
    }

    #[test]
    fn paths_have_parts_and_parameters() {
        let path = PathPattern::parse("/users/{id}/files/{*rest}").unwrap();
        assert_eq!(path.canonical(), "/users/{p0}/files/{*p1}");
        assert_eq!(path.parameters().iter().map(|name| &**name).collect::<Vec<_>>(), ["id", "rest"]);
        assert_eq!(path.first(), Some("users"));
        assert_eq!(PathPattern::parse("/{a}").unwrap().first(), None);
        for fine in ["/", "/a/", "/a%20b", "/a:b@c", "/{a}/", "/~x/{b_1}"] {
            assert_eq!(&**PathPattern::parse(fine).unwrap().as_str(), fine);
        }
    }

    #[test]
    fn paths_that_no_request_has_are_refused() {
        let long = format!("/{}", "a".repeat(512));
        let many: String = (0..17).map(|n| format!("/{{p{n}}}")).collect();
        for wrong in [
            "",
            "a",
            "//",
            "/a//b",
            "/a b",
            "/ä",
            "/..",
            "/a/./b",
            "/%",
            "/%2",
            "/%zz",
            "/{}",
            "/{A}",
            "/{1}",
            "/{a",
            "/a}",
            "/x{a}",
            "/{a}x",
            "/{*a}/b",
            "/{a}/{a}",
            "/{a}/{*a}",
            "/?",
            "/#",
            "/{**a}",
            &long,
            &many,
        ] {
            assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
