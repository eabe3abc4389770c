//! The cookie of the control plane, which scripts neither see nor set: cookies know no ports, so a browser takes it to every
//! listener of a host.

use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{HeaderMap, header};

/// The name of the cookie with the session of a user.
pub const SESSION_COOKIE: &str = "picloud_session";

/// The values of all cookies of this name.
pub fn session_cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let cookies =
        headers.get_all(COOKIE).into_iter().flat_map(|list| list.as_bytes().split(|byte| *byte == b';'));
    cookies.filter(|cookie| is_session(cookie)).map(|cookie| {
        let value = cookie.iter().position(|byte| *byte == b'=').map_or(&b""[..], |at| &cookie[at + 1..]);
        value.trim_ascii()
    })
}

/// Take the cookie out of a request that a script will see.
pub(crate) fn hide(headers: &mut HeaderMap) {
    if session_cookies(headers).next().is_none() {
        return;
    }
    let lists: Vec<HeaderValue> = headers.get_all(COOKIE).into_iter().filter_map(without_session).collect();
    headers.remove(COOKIE);
    for list in lists {
        headers.append(COOKIE, list);
    }
}

/// Take out of an answer of a script or a route what would set the cookie.
pub(crate) fn refuse(headers: &mut HeaderMap) {
    let is_ours = |value: &HeaderValue| {
        let cookie = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        is_session(cookie)
    };
    if !headers.get_all(SET_COOKIE).into_iter().any(is_ours) {
        return;
    }
    let others: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).into_iter().filter(|value| !is_ours(value)).cloned().collect();
    headers.remove(header::SET_COOKIE);
    for other in others {
        headers.append(SET_COOKIE, other);
    }
}

/// Whether a cookie has the name. One without a name comes back as its value, which may look like a name.
fn is_session(cookie: &[u8]) -> bool {
    let cookie = cookie.trim_ascii();
    let start = cookie.iter().position(|byte| !matches!(byte, b'=' | b' ' | b'\t')).unwrap_or(cookie.len());
    let name = cookie[start..].split(|byte| *byte == b'=').next().unwrap_or_default();
    name.trim_ascii() == SESSION_COOKIE.as_bytes()
}

fn without_session(list: &HeaderValue) -> Option<HeaderValue> {
    let others: Vec<&[u8]> =
        list.as_bytes().split(|byte| *byte == b';').filter(|cookie| !is_session(cookie)).collect();
    let others = others.join(&b";"[..]);
    let others = others.trim_ascii();
    if others.is_empty() { None } else { HeaderValue::from_bytes(others).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    fn texts(headers: &HeaderMap, name: header::HeaderName) -> Vec<&str> {
        headers.get_all(name).into_iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn scripts_see_every_cookie_but_this_one() {
        let hidden = |values: &[&str]| {
            let mut headers = headers(COOKIE, values);
            hide(&mut headers);
            texts(&headers, COOKIE).join(" | ")
        };
        assert_eq!(hidden(&["a=1; picloud_session=secret; b=2"]), "a=1; b=2");
        assert_eq!(hidden(&["picloud_session=secret"]), "");
        assert_eq!(hidden(&["a=1", "picloud_session=secret;b=2", " picloud_session = secret"]), "a=1 | b=2");
        assert_eq!(hidden(&["picloud_session=1; a=2; picloud_session=3"]), "a=2");
        assert_eq!(hidden(&["=picloud_session=secret; a=1"]), "a=1");
        // Others are as they came.
        for other in ["a=1;  b=picloud_session", "Picloud_session=1", "picloud_session2=1", "x;;y", ""] {
            assert_eq!(hidden(&[other]), other);
        }
    }

    #[test]
    fn its_values_are_found_wherever_they_are() {
        let found = |values: &[&str]| {
            let headers = headers(COOKIE, values);
            session_cookies(&headers)
                .map(|value| String::from_utf8(value.to_vec()).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&["a=1; picloud_session=x=y; b=2", "picloud_session= z "]), ["x=y", "z"]);
        assert_eq!(found(&["a=picloud_session=1"]), [""; 0]);
    }

    #[test]
    fn nobody_else_sets_it() {
        let left = |values: &[&str]| {
            let mut headers = headers(SET_COOKIE, values);
            refuse(&mut headers);
            texts(&headers, SET_COOKIE).join(" | ")
        };
        assert_eq!(left(&["a=1", "picloud_session=x; Path=/api", "b=2; Secure"]), "a=1 | b=2; Secure");
        for set in [" picloud_session =x", "=picloud_session=x", "picloud_session", "\tpicloud_session=;"] {
            assert_eq!(left(&[set]), "", "{set}");
        }
        assert_eq!(left(&["a=picloud_session=x"]), "a=picloud_session=x");
    }
}
