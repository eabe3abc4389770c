//! Where a response sends on to (RFC 9110, section 15.4).

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use picloud_sdk_wit::picloud::sdk::http::Error;

use super::request::{Outgoing, destination};

/// What another host may see, too. Any other header may be what lets somebody in at the host that it was given for, under
/// whatever name.
const FOR_EVERYBODY: [HeaderName; 8] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::USER_AGENT,
];

/// What describes a body.
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
];

/// The request that a response to `request` sends on to; none if the response is the answer.
pub(super) fn next(
    request: &Outgoing,
    status: StatusCode,
    headers: &HeaderMap,
) -> Option<Result<Outgoing, Error>> {
    let without_body = match (status.as_u16(), &request.method) {
        (303, &Method::HEAD) | (307 | 308, _) => false,
        (303, _) | (301 | 302, &Method::POST) => true,
        (301 | 302, _) => false,
        _ => return None,
    };
    let location = headers.get(header::LOCATION)?;
    let url = str::from_utf8(location.as_bytes()).ok().and_then(|location| request.url.join(location).ok());
    let Some(url) = url.and_then(destination) else { return Some(Err(Error::RedirectInvalid)) };
    let mut next = Outgoing { url, ..request.clone() };
    if next.url.origin() != request.url.origin() {
        let names: Vec<HeaderName> = next.headers.keys().cloned().collect();
        let foreign = names.iter().filter(|name| !FOR_EVERYBODY.contains(name));
        foreign.for_each(|name| drop(next.headers.remove(name)));
    }
    if without_body {
        next.method = Method::GET;
        next.body = None;
        OF_THE_BODY.iter().for_each(|name| drop(next.headers.remove(name)));
    }
    Some(Ok(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str) -> Outgoing {
        let headers = [("authorization", "a"), ("cookie", "b"), ("content-type", "text/plain"), ("x", "y")];
        Outgoing {
            method: method.parse().unwrap(),
            url: "https://a.org/one/two?q#f".parse().unwrap(),
            headers: headers
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .into_iter()
                .collect(),
            body: Some("body".into()),
        }
    }

    fn redirect(method: &str, status: u16, location: &str) -> Option<Result<Outgoing, Error>> {
        let headers = HeaderMap::from_iter([(header::LOCATION, location.parse().unwrap())]);
        next(&request(method), StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn methods_and_bodies_follow_the_status() {
        for (method, status, becomes) in [
            ("GET", 301, "GET"),
            ("POST", 301, "GET"),
            ("PUT", 301, "PUT"),
            ("POST", 302, "GET"),
            ("DELETE", 302, "DELETE"),
            ("POST", 303, "GET"),
            ("PUT", 303, "GET"),
            ("GET", 303, "GET"),
            ("HEAD", 303, "HEAD"),
            ("POST", 307, "POST"),
            ("PUT", 308, "PUT"),
        ] {
            let next = redirect(method, status, "/").unwrap().unwrap();
            assert_eq!(next.method, becomes, "{method} {status}");
            let keeps_body = becomes == method && status != 303 || method == "HEAD";
            assert_eq!(next.body.is_some(), keeps_body, "{method} {status}");
            assert_eq!(next.headers.contains_key("content-type"), keeps_body, "{method} {status}");
        }
    }

    #[test]
    fn other_responses_are_answers() {
        for status in [200, 201, 300, 304, 305, 306, 400, 503] {
            assert!(redirect("GET", status, "/").is_none(), "{status}");
        }
        assert!(next(&request("GET"), StatusCode::FOUND, &HeaderMap::new()).is_none());
    }

    #[test]
    fn secrets_stay_with_their_origin() {
        let kept = |location: &str| {
            let next = redirect("GET", 302, location).unwrap().unwrap();
            assert_eq!(next.headers["content-type"], "text/plain");
            ["authorization", "cookie", "x"].map(|name| next.headers.contains_key(name))
        };
        for same in ["/x", "three", "?x", "https://a.org:443/", "https://A.ORG./"] {
            assert_eq!(kept(same), [true; 3], "{same}");
        }
        for other in
            ["http://a.org/", "https://b.org/", "https://a.org:8443/", "//b.org/", "https://sub.a.org/"]
        {
            assert_eq!(kept(other), [false; 3], "{other}");
        }
    }

    #[test]
    fn locations_are_resolved_and_checked() {
        let url = |location| redirect("GET", 302, location).unwrap().map(|next| String::from(next.url));
        assert_eq!(url("three#x").unwrap(), "https://a.org/one/three");
        assert_eq!(url("//b.org").unwrap(), "https://b.org/");
        for invalid in [
            "ftp://a.org/",
            "file:///etc/passwd",
            "javascript:1",
            "http://",
            "http://me@a.org/",
            "https://a.org:99999/",
        ] {
            assert!(matches!(url(invalid), Err(Error::RedirectInvalid)), "{invalid}");
        }
    }
}
