//! What dev mode refuses, because it asks for no token: requests that a web page made the user's browser send.
//!
//! To be asked about every request before anything else is, those for scripts included.

use http::header::{HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Method, Uri};
use picloud_host::ingress::is_script_path;
use picloud_host::problem::{Code, Problem};

/// `Sec-Fetch-Site`, with which browsers say where a request comes from.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request may pass.
///
/// # Errors
///
/// `host-forbidden`, when the request names another host than this machine: a page whose name was made to resolve to
/// a loopback address (DNS rebinding) sends its own name. `origin-forbidden`, when a page of another origin writes or
/// calls a script: any script may write, whatever the method.
pub fn check(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    // Its signature says where it comes from, and a tunnel from outside has another name.
    if is_webhook(method, uri.path()) {
        return Ok(());
    }
    let host = named_host(uri, headers).ok_or_else(|| {
        Problem::new(Code::HostForbidden).detail("In dev mode the host is localhost, 127.0.0.1 or [::1].")
    })?;
    let only_reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if only_reads && !is_script_path(uri.path()) {
        return Ok(());
    }
    if is_own_page("http://", host, headers) { Ok(()) } else { Err(Problem::new(Code::OriginForbidden)) }
}

/// Whether no page of another origin has sent a request, as far as its browser says.
pub(super) fn is_own_page(scheme: &str, host: &str, headers: &HeaderMap) -> bool {
    let same_origin = headers.get_all(ORIGIN).iter().all(|origin| {
        let authority = origin.to_str().ok().and_then(|origin| origin.strip_prefix(scheme));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    // A user who typed the address is `none`; programs other than browsers do not send it.
    let same_site =
        headers.get_all(SEC_FETCH_SITE).iter().all(|site| site == "same-origin" || site == "none");
    same_origin && same_site
}

/// Whether a request is the delivery of a webhook, which needs no token without dev mode either.
fn is_webhook(method: &Method, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    *method == Method::POST && matches!(parts[..], ["", "api", "v1", "apps", _, "webhooks", _])
}

/// The host that the request names, with its port, if it is this machine each time that it is named.
pub(super) fn named_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut named = None;
    for host in headers.get_all(HOST) {
        named = Some(host.to_str().ok().filter(|host| is_local(host))?);
    }
    // HTTP/2 names it in the URI only.
    match uri.authority() {
        Some(authority) => Some(authority.as_str()).filter(|host| is_local(host)),
        None => named,
    }
}

fn is_local(host: &str) -> bool {
    let (name, port) = match host.strip_prefix("[::1]") {
        Some(port) => ("[::1]", port),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_valid = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    port_is_valid && (name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(method: Method, headers: &[(&str, &str)]) -> Option<Code> {
        code_at("/api/v1/apps", method, headers)
    }

    fn code_at(path: &str, method: Method, headers: &[(&str, &str)]) -> Option<Code> {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts.method, &parts.uri, &parts.headers).err().map(|problem| problem.code())
    }

    #[test]
    fn this_machine_is_served_under_its_own_names() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1:1", "127.0.0.1", "[::1]", "[::1]:65535"] {
            assert_eq!(code(Method::POST, &[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn a_rebound_name_is_refused() {
        let hosts = [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8080",
            "localhost@evil.example",
            "",
            "127.0.0.1:8080@evil.example",
            "[::1].evil.example",
            "[::1",
            "::1",
            "localhost:",
            "localhost:+80",
            "localhost:65536",
            "127.0.0.2",
            "2130706433",
            "0.0.0.0",
            "localhost.",
        ];
        for host in hosts {
            assert_eq!(code(Method::GET, &[("host", host)]), Some(Code::HostForbidden), "{host}");
        }
        assert_eq!(code(Method::GET, &[]), Some(Code::HostForbidden));
        let two = [("host", "evil.example"), ("host", "localhost")];
        assert_eq!(code(Method::GET, &two), Some(Code::HostForbidden));
    }

    #[test]
    fn webhooks_come_from_anywhere_and_nothing_else_does() {
        let headers = [("host", "tunnel.example"), ("origin", "https://evil.example")];
        assert_eq!(code_at("/api/v1/apps/a/webhooks/b", Method::POST, &headers), None);
        for path in [
            "/api/v1/apps/a/webhooks",
            "/api/v1/apps/a/webhooks/b/c",
            "/api/v1/apps/a/webhooks/b/",
            "//api/v1/apps/a/webhooks/b",
            "/api/v1/apps/a/triggers/webhooks",
            "/default/webhooks/b",
        ] {
            assert_eq!(code_at(path, Method::POST, &headers), Some(Code::HostForbidden), "{path}");
        }
        assert_eq!(code_at("/api/v1/apps/a/webhooks/b", Method::GET, &headers), Some(Code::HostForbidden));
        assert_eq!(code_at("/api/v1/apps/a/webhooks/b", Method::PUT, &headers), Some(Code::HostForbidden));
    }

    #[test]
    fn the_host_in_the_uri_counts_too() {
        let check = |uri: &str, host: &str| {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            check(&Method::GET, &uri.parse().unwrap(), &headers).is_ok()
        };
        assert!(check("http://localhost:8080/", "localhost:8080"));
        assert!(!check("http://evil.example/", "localhost:8080"));
        assert!(!check("http://localhost:8080/", "evil.example"));
        assert!(!check("http://user@localhost:8080/", "localhost:8080"));
    }

    #[test]
    fn pages_of_other_origins_may_look_but_not_write() {
        let host = ("host", "localhost:8080");
        for origin in [
            "http://evil.example",
            "http://localhost:3000",
            "https://localhost:8080",
            "null",
            "http://localhost",
        ] {
            let headers = [host, ("origin", origin)];
            assert_eq!(code(Method::POST, &headers), Some(Code::OriginForbidden), "{origin}");
            assert_eq!(code(Method::GET, &headers), None, "{origin}");
        }
        for site in ["cross-site", "same-site", "anything"] {
            let headers = [host, ("sec-fetch-site", site)];
            assert_eq!(code(Method::DELETE, &headers), Some(Code::OriginForbidden), "{site}");
            assert_eq!(code(Method::HEAD, &headers), None, "{site}");
            // A script may write whatever the method is.
            assert_eq!(code_at("/default/a", Method::GET, &headers), Some(Code::OriginForbidden), "{site}");
        }
        let two = [host, ("origin", "http://localhost:8080"), ("origin", "http://evil.example")];
        assert_eq!(code(Method::PUT, &two), Some(Code::OriginForbidden));
    }

    #[test]
    fn its_own_pages_and_programs_may_write() {
        let host = ("host", "localhost:8080");
        let own = [host, ("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")];
        assert_eq!(code(Method::PUT, &own), None);
        assert_eq!(code(Method::PUT, &[host, ("sec-fetch-site", "none")]), None);
        assert_eq!(code(Method::PUT, &[host]), None);
    }
}
