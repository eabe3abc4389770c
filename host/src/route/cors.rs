//! Which pages of other origins may read the answers of a route (the CORS protocol of the Fetch standard).

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

/// The most entries of each list.
const MAX_ENTRIES: usize = 32;

/// Headers of every answer of a script that are of use to a page.
const EXPOSED: [HeaderName; 3] = [
    HeaderName::from_static("picloud-execution-id"),
    HeaderName::from_static("picloud-fuel-used"),
    HeaderName::from_static("retry-after"),
];

/// Which pages may read the answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Such as `https://app.example.org`, or `*` alone for every one.
    pub origins: Vec<String>,
    /// Which methods a page may use beside GET, HEAD and POST; none stands for those of the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Which headers a page may send that it could not without asking.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Which headers of answers a page may read, beside those that it may anyway and those of every call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// Whether requests may come with cookies and passwords. Not for every origin.
    #[serde(default)]
    pub credentials: bool,
    /// For how many seconds a browser need not ask again.
    #[serde(default = "five_minutes")]
    pub max_age_s: u32,
}

fn five_minutes() -> u32 {
    300
}

impl Cors {
    /// Whether it is understood.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { origins, methods, headers, expose, credentials, .. } = self;
        if [origins, methods, headers, expose].iter().any(|list| list.len() > MAX_ENTRIES) {
            return Err(format!("cors: a list may have {MAX_ENTRIES} entries at most"));
        }
        if origins.is_empty() || (origins.len() > 1 && origins.iter().any(|origin| origin == "*")) {
            return Err("cors: origins must be given, and * stands alone".to_owned());
        }
        if *credentials && origins[0] == "*" {
            return Err("cors: with credentials the origins must be named".to_owned());
        }
        if let Some(wrong) = origins.iter().find(|origin| *origin != "*" && !is_origin(origin)) {
            return Err(format!("cors: {wrong:?} is no origin such as https://app.example.org"));
        }
        if let Some(wrong) = methods.iter().find(|method| Method::from_bytes(method.as_bytes()).is_err()) {
            return Err(format!("cors: {wrong:?} is no method"));
        }
        // Browsers read it as every one, but not with credentials: what is meant has to be said.
        if methods.iter().chain(headers).chain(expose).any(|name| name == "*") {
            return Err("cors: methods and headers have to be named; * is for origins".to_owned());
        }
        let mut names = headers.iter().chain(expose);
        if let Some(wrong) = names.find(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
            return Err(format!("cors: {wrong:?} is no name of a header"));
        }
        Ok(())
    }

    /// What speaks the protocol, for a route with these methods.
    pub fn layer(&self, route_methods: &[Method]) -> CorsLayer {
        let origins = match &self.origins[..] {
            [any] if any == "*" => AllowOrigin::any(),
            origins => {
                AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
            }
        };
        let methods: Vec<Method> = match &self.methods[..] {
            [] => route_methods.to_vec(),
            methods => {
                methods.iter().filter_map(|method| Method::from_bytes(method.as_bytes()).ok()).collect()
            }
        };
        // Without any the page may use whatever it asks for.
        let methods =
            if methods.is_empty() { AllowMethods::mirror_request() } else { AllowMethods::list(methods) };
        let names = |names: &[String]| -> Vec<HeaderName> {
            names.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect()
        };
        let exposed: Vec<HeaderName> = EXPOSED.into_iter().chain(names(&self.expose)).collect();
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(methods)
            .allow_headers(AllowHeaders::list(names(&self.headers)))
            .expose_headers(ExposeHeaders::list(exposed))
            .allow_credentials(self.credentials)
            .max_age(Duration::from_secs(u64::from(self.max_age_s)))
    }
}

/// Whether a text is an origin as browsers send it: scheme, host and port, and nothing behind them.
fn is_origin(text: &str) -> bool {
    let parsed = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    // Where people expect a `*` to stand for names it would be a letter, and let in nobody.
    !text.contains('*') && parsed.is_some_and(|url| url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        Cors {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            methods: Vec::new(),
            headers: Vec::new(),
            expose: Vec::new(),
            credentials,
            max_age_s: 5,
        }
    }

    #[test]
    fn origins_are_as_browsers_send_them() {
        for fine in ["https://a.example", "http://localhost:3000", "http://[::1]:8080"] {
            assert_eq!(cors(&[fine], true).check(), Ok(()), "{fine}");
        }
        for wrong in [
            "",
            "a.example",
            "https://a.example/",
            "https://A.example",
            "https://a.example:443",
            "null",
            "https://*.example",
            "ftp://a.example",
            "https://a.example/x",
        ] {
            assert!(cors(&[wrong], false).check().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_origin_stands_alone_and_never_with_credentials() {
        assert_eq!(cors(&["*"], false).check(), Ok(()));
        assert!(cors(&["*"], true).check().is_err());
        assert!(cors(&["*", "https://a.example"], false).check().is_err());
        assert!(cors(&["https://a.example", "*"], true).check().is_err());
        assert!(cors(&[], false).check().is_err());
        let every = || vec!["*".to_owned()];
        let named = cors(&["https://a.example"], true);
        for wrong in [
            Cors { methods: every(), ..named.clone() },
            Cors { headers: every(), ..named.clone() },
            Cors { expose: every(), ..named.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
