//! The cookie of a session in a browser: where it may be set, and which requests that come with it are believed.
//!
//! A browser sends a cookie with every request to the host, whoever has caused it. So a request that changes something has to
//! show what only a page of the control plane can read, and no page of another origin may have sent it. Against pages of the
//! same origin that is of no use: so there are cookies only where no script is at the same address.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Uri, header};
use picloud_host::cookie::{SESSION_COOKIE, session_cookies};
use picloud_host::ingress::Encrypted;
use picloud_host::problem::{Code, Problem};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::api::auth::Origin;
use crate::api::guard::{is_own_page, named_host};
use crate::store::session::SessionKind;

/// What a page has to send with a request that changes something.
const CSRF_HEADER: &str = "x-csrf-token";

/// What keeps the cookie where it belongs: out of sight of pages, of other sites, of connections that anybody can read, and of
/// the addresses of scripts.
macro_rules! attributes {
    () => {
        "Path=/api; HttpOnly; Secure; SameSite=Strict"
    };
}

/// The header that makes a browser forget the cookie.
pub(super) const FORGET: &str = concat!("picloud_session=; Max-Age=0; ", attributes!());

/// The header that makes a browser keep the cookie.
pub(super) fn set(text: &str) -> String {
    let seconds = SessionKind::Cookie.lifetime_ms() / 1000;
    format!("{SESSION_COOKIE}={text}; Max-Age={seconds}; {}", attributes!())
}

/// The text of the session that a browser sends. Of two cookies of the name one was planted by somebody else, and nobody can say
/// which.
pub(crate) fn session(headers: &HeaderMap) -> Option<&str> {
    let mut cookies = session_cookies(headers);
    let only = cookies.next().filter(|_| cookies.next().is_none())?;
    str::from_utf8(only).ok()
}

/// What a page shows that it can read the answers of the control plane: made from the session, so that nothing is stored for it
/// and it tells nothing of the session.
pub(super) fn csrf_token(session: &str) -> String {
    // A key can have any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(session.as_bytes()) else { return String::new() };
    mac.update(b"picloud csrf");
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// Whether a browser can be given a cookie.
///
/// # Errors
///
/// `session-unavailable` where pages of scripts have the same origin, or where the cookie would travel in the clear;
/// `origin-forbidden` if another page wants to log the browser in.
pub(super) fn may_be_set(origin: Origin, head: &Parts) -> Result<(), Problem> {
    let refused = |detail: &str| Err(Problem::new(Code::SessionUnavailable).detail(detail));
    if origin == Origin::Shared {
        return refused(
            "Pages that scripts answer have the same origin as the API here, and could do whatever a session in a cookie \
             opens. Start the server with --admin-address, and log in there; or log in without a cookie.",
        );
    }
    let encrypted = head.extensions.get() == Some(&Encrypted(true));
    if !encrypted && named_host(&head.uri, &head.headers).is_none() {
        return refused(
            "The cookie would travel in the clear. Put a proxy with TLS before the server and name it with \
             --trusted-proxies, or come through a tunnel: ssh -L 9000:127.0.0.1:PORT HOST, then http://localhost:9000.",
        );
    }
    if is_from_own_page(&head.uri, &head.headers, &head.extensions) {
        Ok(())
    } else {
        Err(Problem::new(Code::OriginForbidden))
    }
}

/// Whether a request that comes with a cookie is one that the user has meant.
///
/// # Errors
///
/// `origin-forbidden` if a page of another origin has sent it; `csrf-invalid` if it may change something and does not show
/// the token.
pub(crate) fn check(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<(), Code> {
    if !is_from_own_page(uri, headers, extensions) {
        return Err(Code::OriginForbidden);
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let shown = headers.get(CSRF_HEADER).map(header::HeaderValue::as_bytes).unwrap_or_default();
    let wanted = session(headers).map(csrf_token).unwrap_or_default();
    let shows = !wanted.is_empty() && bool::from(shown.ct_eq(wanted.as_bytes()));
    if shows { Ok(()) } else { Err(Code::CsrfInvalid) }
}

fn is_from_own_page(uri: &Uri, headers: &HeaderMap, extensions: &Extensions) -> bool {
    let scheme = if extensions.get() == Some(&Encrypted(true)) { "https://" } else { "http://" };
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        // HTTP/2 names it in the URI.
        (Some(authority), _, _) => Some(authority.as_str()),
        (None, Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    host.is_some_and(|host| is_own_page(scheme, host, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, encrypted: bool, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri("/api/v1/apps");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.extension(Encrypted(encrypted)).body(()).unwrap().into_parts().0
    }

    fn checked(method: Method, encrypted: bool, headers: &[(&str, &str)]) -> Result<(), Code> {
        let head = head(method, encrypted, headers);
        check(&head.method, &head.uri, &head.headers, &head.extensions)
    }

    #[test]
    fn a_change_has_to_show_the_token_of_its_session() {
        let (token, other) = (csrf_token("picloud_session_a"), csrf_token("picloud_session_b"));
        let base = [("host", "pi:9000"), ("cookie", "x=1; picloud_session=picloud_session_a")];
        assert_eq!(checked(Method::GET, false, &base), Ok(()));
        let with = |token: &str| {
            let headers = [base[0], base[1], ("x-csrf-token", token)];
            checked(Method::DELETE, false, &headers)
        };
        assert_eq!(with(&token), Ok(()));
        for wrong in ["", &other, &token[1..], "picloud_session_a"] {
            assert_eq!(with(wrong), Err(Code::CsrfInvalid), "{wrong}");
        }
        assert_eq!(checked(Method::POST, false, &base), Err(Code::CsrfInvalid));
        // Without a session there is no token, and an empty one is none.
        let nobody = [("host", "pi:9000"), ("x-csrf-token", "")];
        assert_eq!(checked(Method::POST, false, &nobody), Err(Code::CsrfInvalid));
    }

    #[test]
    fn no_page_of_another_origin_uses_the_cookie_not_even_to_read() {
        let base = [("host", "pi.example:9000"), ("cookie", "picloud_session=a")];
        let get = |encrypted: bool, header: (&str, &str)| {
            let headers = [base[0], base[1], header];
            checked(Method::GET, encrypted, &headers)
        };
        assert_eq!(get(false, ("origin", "http://pi.example:9000")), Ok(()));
        assert_eq!(get(true, ("origin", "https://Pi.example:9000")), Ok(()));
        for origin in ["http://pi.example", "http://pi.example:8080", "https://pi.example:9000", "null", ""] {
            assert_eq!(get(false, ("origin", origin)), Err(Code::OriginForbidden), "{origin}");
        }
        for site in ["same-site", "cross-site", ""] {
            assert_eq!(get(false, ("sec-fetch-site", site)), Err(Code::OriginForbidden), "{site}");
        }
        assert_eq!(get(false, ("sec-fetch-site", "none")), Ok(()));
        assert_eq!(get(false, ("host", "evil.example")), Err(Code::OriginForbidden), "two hosts are none");
    }

    #[test]
    fn two_cookies_are_none() {
        let of = |cookies: &[&str]| {
            let headers: Vec<_> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
            session(&head(Method::GET, false, &headers).headers).map(str::to_owned)
        };
        assert_eq!(of(&["a=1; picloud_session=x"]).as_deref(), Some("x"));
        assert_eq!(of(&["picloud_session=x; picloud_session=x"]), None);
        assert_eq!(of(&["picloud_session=x", "picloud_session=y"]), None);
    }

    #[test]
    fn the_cookie_does_not_travel_in_the_clear() {
        let set = |origin, encrypted, headers: &[(&str, &str)]| {
            may_be_set(origin, &head(Method::POST, encrypted, headers)).map_err(|problem| problem.code())
        };
        let unavailable = Err(Code::SessionUnavailable);
        for host in ["localhost:9000", "127.0.0.1:9000", "[::1]:9000"] {
            assert_eq!(set(Origin::Own, false, &[("host", host)]), Ok(()), "{host}");
            assert_eq!(set(Origin::Shared, false, &[("host", host)]), unavailable, "{host}");
        }
        let far = [("host", "pi.example")];
        assert_eq!(set(Origin::Own, false, &far), unavailable);
        assert_eq!(set(Origin::Own, true, &far), Ok(()));
        assert_eq!(set(Origin::Shared, true, &far), unavailable);
        let foreign = [("host", "pi.example"), ("origin", "https://evil.example")];
        assert_eq!(set(Origin::Own, true, &foreign), Err(Code::OriginForbidden));
    }

    #[test]
    fn the_cookie_has_all_that_protects_it() {
        let set = set("picloud_session_x");
        assert_eq!(
            set,
            "picloud_session=picloud_session_x; Max-Age=604800; Path=/api; HttpOnly; Secure; SameSite=Strict"
        );
        assert!(FORGET.starts_with(&format!("{SESSION_COOKIE}=; Max-Age=0; ")));
    }
}
