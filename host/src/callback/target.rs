//! Where a callback goes: checked when the call is accepted, and again each time it is sent.

use std::sync::Arc;

use picloud_sdk_wit::picloud::sdk::http::{Error, Request};
use url::Url;

use super::SECRET;
use super::signature::Key;
use crate::active::ActiveApp;
use crate::outbound::{Admitted, Outgoing, destination};
use crate::problem::{Code, Problem};

/// Whether an app allows this URL to be told of answers: a rule of its HTTP policy that is for callbacks, too, has to allow
/// a `POST`, and there has to be a secret to sign with. Names are resolved, and their addresses checked, when it is sent.
///
/// # Errors
///
/// Why it is not allowed.
pub(crate) fn check(app: &ActiveApp, url: &str) -> Result<(), Problem> {
    let admitted = admit(app, |_| request(url, Vec::new(), Vec::new()));
    admitted.map(drop).map_err(|reason| Problem::new(Code::CallbackRefused).detail(reason))
}

/// The request that `make` makes with the app's key, if the app allows it.
pub(super) fn admit(app: &ActiveApp, make: impl FnOnce(&Key) -> Request) -> Result<Admitted, String> {
    let secret = app.secrets.0.get(SECRET).and_then(Option::as_ref);
    let secret = secret
        .ok_or_else(|| format!("The app has no secret {SECRET} that can be read, to sign callbacks."))?;
    let request = Outgoing::parse(make(&Key::of(secret)?), u64::MAX);
    request.and_then(|request| request.admit(&app.http.for_callbacks())).map_err(|error| reason(&error))
}

/// The host of a URL, with its port if that is not the usual one. What is no URL has none.
pub(super) fn host_of(url: &str) -> Arc<str> {
    let url = Url::parse(url).ok().and_then(destination);
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    match url.as_ref().and_then(Url::port) {
        Some(port) => format!("{host}:{port}").into(),
        None => host.into(),
    }
}

/// A request that tells something.
pub(super) fn request(url: &str, headers: Vec<(String, String)>, body: Vec<u8>) -> Request {
    Request { method: "POST".to_owned(), url: url.to_owned(), headers, body: Some(body), timeout_ms: None }
}

/// Why a request is not sent, or got no response.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::UrlInvalid => {
            "It is no URL that starts with http or https, has no user in it and is short enough.".to_owned()
        }
        Error::NotAllowed(what) => format!("No rule for callbacks of the app's HTTP policy allows {what}."),
        Error::AddressBlocked(host) => {
            format!("{host} has no address that the app's HTTP policy allows.")
        }
        Error::TimedOut => "There was no response in time.".to_owned(),
        Error::Failed(reason) => reason.clone(),
        // Those of scripts, of bodies that are not read and of redirects that are not followed.
        _ => "It cannot be sent.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use zeroize::Zeroizing;

    use super::*;
    use crate::call::AppId;
    use crate::outbound::policy::HttpPolicy;
    use crate::secret::{AppSecrets, SecretText};

    fn app(secret: Option<&str>) -> ActiveApp {
        let rules = serde_json::json!({ "rules": [{ "hosts": ["a.org", "127.0.0.1"], "methods": ["POST"], "callbacks": true },
            { "hosts": ["b.org"] },
        ] });
        let http: HttpPolicy = serde_json::from_value(rules).unwrap();
        let secret = secret.map(|text| SecretText::new(Zeroizing::new(text.to_owned())));
        ActiveApp {
            id: AppId(1),
            limits: Arc::default(),
            quotas: Arc::default(),
            http: http.into(),
            secrets: AppSecrets([(SECRET.into(), secret)].into()).into(),
            config: HashMap::new().into(),
            scripts: HashMap::new(),
        }
    }

    fn refused(secret: Option<&str>, url: &str) -> String {
        let problem = check(&app(secret), url).unwrap_err();
        assert_eq!(problem.code(), Code::CallbackRefused);
        serde_json::to_value(problem).unwrap()["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_the_policy_allows_is_allowed_if_it_can_be_signed() {
        assert!(check(&app(Some("a long enough secret")), "https://a.org/x?y").is_ok());
        assert_eq!(
            refused(None, "https://a.org/"),
            "The app has no secret callback that can be read, to sign callbacks."
        );
        assert!(refused(Some("whsec_***"), "https://a.org/").contains("whsec_"));
    }

    #[test]
    fn what_the_policy_does_not_allow_is_refused() {
        for url in ["", "a.org", "ftp://a.org/", "https://me@a.org/", "javascript:1", "https://a.org:0/"] {
            assert!(refused(Some("a long enough secret"), url).starts_with("It is no URL"), "{url}");
        }
        for url in ["http://a.org/", "https://b.org/", "https://a.org:8443/", "https://a.org.b.org/"] {
            assert!(refused(Some("a long enough secret"), url).contains("allows POST"), "{url}");
        }
        for url in ["https://127.0.0.1/", "https://2130706433/", "https://0177.0.0.1/", "https://127.1/"] {
            assert!(refused(Some("a long enough secret"), url).contains("has no address"), "{url}");
        }
    }

    #[test]
    fn a_host_has_its_port_if_that_is_another_one() {
        for (url, host) in [
            ("https://A.org/x", "a.org"),
            ("https://a.org:443/", "a.org"),
            ("https://a.org./", "a.org"),
            ("http://a.org:8080/?x", "a.org:8080"),
            ("nothing", ""),
        ] {
            assert_eq!(&*host_of(url), host);
        }
    }
}
