//! The policy of an app: which requests its scripts may send. What no rule allows is not allowed.

use http::Method;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Most rules of a policy.
pub const MAX_RULES: usize = 64;

/// Most hosts, ports and methods of a rule, each.
pub const MAX_ENTRIES: usize = 64;

/// Which requests the scripts of an app may send. The default allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPolicy {
    /// A request is allowed if one of these allows it. 64 at most.
    #[serde(default)]
    pub rules: Vec<HttpRule>,
}

/// One thing that is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRule {
    /// Names, such as `api.example.org`; `*.example.org` for all names below one, but not that one itself; addresses,
    /// such as `192.0.2.1` and `[2001:db8::1]`. 1 to 64.
    pub hosts: Vec<String>,
    /// Only `https` if it is left out.
    #[serde(default = "only_https")]
    pub schemes: Vec<Scheme>,
    /// The usual port of the scheme if there is none. 64 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// In upper case; all of them if there is none. 64 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Whether the hosts may have addresses that are not on the public internet.
    #[serde(default)]
    pub private: bool,
    /// Whether callers may name URLs under it that are told of answers, too.
    #[serde(default)]
    pub callbacks: bool,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

fn only_https() -> Vec<Scheme> {
    vec![Scheme::Https]
}

/// What a rule allows a request to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permission {
    /// Addresses that are not on the public internet, too.
    pub(crate) private: bool,
}

impl HttpPolicy {
    /// The same in the form in which requests are compared with it: hosts as URLs write them, methods in upper case.
    ///
    /// # Errors
    ///
    /// A sentence about the first thing that is not understood, or more than there may be.
    pub fn normalised(self) -> Result<Self, String> {
        if self.rules.len() > MAX_RULES {
            return Err(format!("There are {} rules, but {MAX_RULES} at most.", self.rules.len()));
        }
        let rules =
            self.rules.into_iter().enumerate().map(|(index, rule)| {
                rule.normalised().map_err(|reason| format!("Rule {}: {reason}", index + 1))
            });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// What is left of it for URLs that callers name.
    pub(crate) fn for_callbacks(&self) -> Self {
        Self { rules: self.rules.iter().filter(|rule| rule.callbacks).cloned().collect() }
    }

    /// What the rules that allow this request allow it together; none if there is no such rule.
    pub(crate) fn permission(&self, method: &Method, url: &Url) -> Option<Permission> {
        let mut matching = self.rules.iter().filter(|rule| rule.allows(method, url)).peekable();
        matching.peek()?;
        Some(Permission { private: matching.any(|rule| rule.private) })
    }
}

impl HttpRule {
    fn normalised(self) -> Result<Self, String> {
        let Self { hosts, schemes, ports, methods, private, callbacks } = self;
        if hosts.is_empty() || schemes.is_empty() {
            return Err("It needs a host and a scheme.".to_owned());
        }
        for (what, count) in [
            ("hosts", hosts.len()),
            ("schemes", schemes.len()),
            ("ports", ports.len()),
            ("methods", methods.len()),
        ] {
            if count > MAX_ENTRIES {
                return Err(format!("It has {count} {what}, but {MAX_ENTRIES} are the most."));
            }
        }
        if ports.contains(&0) {
            return Err("There is no port 0.".to_owned());
        }
        Ok(Self {
            hosts: hosts.iter().map(|host| pattern(host)).collect::<Result<_, _>>()?,
            methods: methods.iter().map(|method| method_name(method)).collect::<Result<_, _>>()?,
            schemes,
            ports,
            private,
            callbacks,
        })
    }

    fn allows(&self, method: &Method, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return false };
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return false,
        };
        // `port` is none where it is the usual one.
        let port_is_allowed =
            if self.ports.is_empty() { url.port().is_none() } else { self.ports.contains(&port) };
        port_is_allowed
            && self.schemes.contains(&scheme)
            && (self.methods.is_empty() || self.methods.iter().any(|allowed| allowed == method.as_str()))
            && self.hosts.iter().any(|pattern| is_of(&host, pattern))
    }
}

/// Whether a host, as URLs write it, is what a pattern means.
fn is_of(host: &Host<&str>, pattern: &str) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            match pattern.strip_prefix("*.") {
                Some(parent) => {
                    name.strip_suffix(parent).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
                }
                None => name == pattern,
            }
        }
        address => address.to_string() == pattern,
    }
}

/// A host of a rule, as URLs write it.
fn pattern(text: &str) -> Result<String, String> {
    let wrong = || format!("`{}` is no host.", excerpt(text));
    let (wildcard, rest) = match text.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", text),
    };
    // The parser decodes escapes, as it must in URLs; nobody writes them here.
    if rest.contains(['*', '%']) {
        return Err(wrong());
    }
    match Host::parse(rest).map_err(|_| wrong())? {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(&name);
            if name.is_empty() || name.len() > 253 || name.split('.').any(str::is_empty) {
                return Err(wrong());
            }
            Ok(format!("{wildcard}{name}"))
        }
        address if wildcard.is_empty() => Ok(address.to_string()),
        _ => Err(wrong()),
    }
}

fn method_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    match Method::from_bytes(name.as_bytes()) {
        Ok(method) if is_sendable(&method) => Ok(name),
        _ => Err(format!("`{}` is no method that can be sent.", excerpt(text))),
    }
}

/// `CONNECT` makes a tunnel, and `TRACE` gives back what a script must not see.
pub(crate) fn is_sendable(method: &Method) -> bool {
    method.as_str().len() <= 32 && !matches!(*method, Method::CONNECT | Method::TRACE)
}

fn excerpt(text: &str) -> &str {
    &text[..text.floor_char_boundary(64)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: serde_json::Value) -> Result<HttpPolicy, String> {
        let rules: Vec<HttpRule> = serde_json::from_value(rules).map_err(|error| error.to_string())?;
        HttpPolicy { rules }.normalised()
    }

    fn allows(rule: &serde_json::Value, method: &str, url: &str) -> bool {
        let policy = policy(serde_json::json!([rule])).unwrap();
        policy.permission(&method.parse().unwrap(), &url.parse().unwrap()).is_some()
    }

    #[track_caller]
    fn check(rule: serde_json::Value, allowed: &[&str], refused: &[&str]) {
        for url in allowed {
            assert!(allows(&rule, "GET", url), "{url} should be allowed by {rule}");
        }
        for url in refused {
            assert!(!allows(&rule, "GET", url), "{url} should be refused by {rule}");
        }
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let url = "https://example.org/".parse().unwrap();
        assert_eq!(HttpPolicy::default().permission(&Method::GET, &url), None);
    }

    #[test]
    fn a_name_is_that_name_alone() {
        check(
            serde_json::json!({ "hosts": ["API.Example.org."] }),
            &[
                "https://api.example.org/x?y",
                "https://API.EXAMPLE.ORG",
                "https://api.example.org./",
                "https://api.example.org:443",
            ],
            &[
                "http://api.example.org/",
                "https://api.example.org:8443/",
                "https://example.org/",
                "https://a.api.example.org/",
                "https://api.example.org.evil.net/",
                "https://evil-api.example.org/",
            ],
        );
    }

    #[test]
    fn a_wildcard_is_what_is_below() {
        check(
            serde_json::json!({ "hosts": ["*.example.org"] }),
            &["https://a.example.org/", "https://a.b.example.org/", "https://a.example.org./"],
            &[
                "https://example.org/",
                "https://.example.org/",
                "https://evilexample.org/",
                "https://a.example.org.net/",
            ],
        );
    }

    #[test]
    fn names_are_compared_as_they_are_resolved() {
        check(
            serde_json::json!({ "hosts": ["bücher.example"] }),
            &["https://bücher.example/", "https://BÜCHER.example/", "https://xn--bcher-kva.example/"],
            &["https://bucher.example/", "https://b%C3%BCcher.example.org/"],
        );
        // A full-width full stop is a full stop, a Cyrillic a is no a.
        check(
            serde_json::json!({ "hosts": ["a.example.org"] }),
            &["https://a.example\u{ff0e}org/", "https://%61.example.org/"],
            &["https://\u{430}.example.org/"],
        );
    }

    #[test]
    fn addresses_are_compared_as_urls_write_them() {
        check(
            serde_json::json!({ "hosts": ["127.0.0.1", "[0:0::1]"], "schemes": ["http"], "ports": [8080] }),
            &["http://127.0.0.1:8080", "http://2130706433:8080", "http://0x7f.1:8080", "http://[::1]:8080"],
            &[
                "http://127.0.0.1",
                "http://127.0.0.2:8080",
                "http://[::ffff:127.0.0.1]:8080",
                "https://127.0.0.1:8080",
            ],
        );
    }

    #[test]
    fn ports_methods_and_schemes_bind() {
        let rule = serde_json::json!({ "hosts": ["a.org"], "schemes": ["http", "https"], "methods": ["get", "POST"] });
        assert!(allows(&rule, "GET", "http://a.org/") && allows(&rule, "POST", "https://a.org:443/"));
        for (method, url) in
            [("PUT", "https://a.org/"), ("get", "https://a.org/"), ("GET", "http://a.org:443/")]
        {
            assert!(!allows(&rule, method, url), "{method} {url}");
        }
        check(
            serde_json::json!({ "hosts": ["a.org"], "ports": [443, 8443] }),
            &["https://a.org/", "https://a.org:8443/"],
            &["https://a.org:8444/"],
        );
    }

    #[test]
    fn private_is_what_one_of_the_matching_rules_says() {
        let rules = serde_json::json!([
            { "hosts": ["*.lan"], "private": true, "methods": ["GET"] },
            { "hosts": ["a.lan"] },
        ]);
        let policy = policy(rules).unwrap();
        let private =
            |method: Method| policy.permission(&method, &"https://a.lan/".parse().unwrap()).unwrap().private;
        assert!(private(Method::GET));
        assert!(!private(Method::POST));
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        for host in [
            "",
            ".",
            "*",
            "*.",
            "a*.org",
            "*.*.org",
            "a..org",
            "http://a.org",
            "a.org/b",
            "a.org:80",
            "a b",
            "%61.org",
            "*.127.0.0.1",
            "[::1",
            "me@a.org",
            "256.1.1.1",
            "a.0x100000000",
        ] {
            let error = policy(serde_json::json!([{ "hosts": ["b.org"] }, { "hosts": [host] }])).unwrap_err();
            assert!(error.starts_with("Rule 2: `"), "{host}: {error}");
        }
        for rule in [
            serde_json::json!({ "hosts": [] }),
            serde_json::json!({ "hosts": ["a"], "schemes": [] }),
            serde_json::json!({ "hosts": ["a"], "schemes": ["ftp"] }),
            serde_json::json!({ "hosts": ["a"], "ports": [0] }),
            serde_json::json!({ "hosts": ["a"], "ports": [65536] }),
            serde_json::json!({ "hosts": ["a"], "methods": ["CONNECT"] }),
            serde_json::json!({ "hosts": ["a"], "methods": ["A B"] }),
            serde_json::json!({ "hosts": ["a"], "privat": true }),
            serde_json::json!({ "hosts": vec!["a"; 65] }),
        ] {
            assert!(policy(serde_json::json!([rule])).is_err(), "{rule}");
        }
        assert!(policy(serde_json::Value::Array(vec![serde_json::json!({ "hosts": ["a"] }); 65])).is_err());
    }
}
