//! How the options of a script become a request.

use picloud_sdk_wit::picloud::sdk::http::Request;
use rhai::{Dynamic, Map};

use super::Result;
use super::content::Content;
use crate::arguments::{check_names, cut, text};
use crate::sdk::error;

/// What options may hold.
const OPTIONS: [&str; 4] = ["body", "headers", "json", "timeout_ms"];

/// What the map of a whole request may hold besides.
const WHOLE: [&str; 2] = ["method", "url"];

/// The longest URL, in bytes.
const MAX_URL: usize = 8192;

/// A request that a map describes as a whole. The method is GET if it does not say.
pub(super) fn from_map(options: &Map) -> Result<Request> {
    let mut rest = options.clone();
    let method =
        rest.remove("method").map_or_else(|| Ok("GET".into()), |value| text("http", "method", value))?;
    let url = rest.remove("url").ok_or_else(|| error("http: a request needs a `url`"))?;
    request(&method, &text("http", "url", url)?, None, &rest, &[&OPTIONS[..], &WHOLE[..]].concat())
}

/// A request with its method, its address, a body in `body` or in the options, and what else the options say.
pub(super) fn build(method: &str, url: &str, body: Option<&Dynamic>, options: &Map) -> Result<Request> {
    request(method, url, body, options, &OPTIONS)
}

fn request(
    method: &str,
    url: &str,
    body: Option<&Dynamic>,
    options: &Map,
    known: &[&str],
) -> Result<Request> {
    check_names("http", options, known)?;
    let Content { headers, body } = Content::of("http", body, options)?;
    Ok(Request {
        method: method.to_ascii_uppercase(),
        url: cut(url, MAX_URL).to_owned(),
        headers,
        body,
        timeout_ms: options.get("timeout_ms").map(timeout).transpose()?,
    })
}

fn timeout(value: &Dynamic) -> Result<u64> {
    let ms = value.as_int().ok().and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
    ms.ok_or_else(|| error("http: `timeout_ms` must be an integer of at least 1"))
}

#[cfg(test)]
mod tests {
    use rhai::Engine;

    use super::*;

    fn options(map: &str) -> Map {
        Engine::new().eval(map).unwrap()
    }

    fn content_type(request: &Request) -> Option<&str> {
        request.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn refused(options_of_request: &str, expected: &str) {
        let error = from_map(&options(options_of_request)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_body_has_the_media_type_of_its_kind() {
        let build = |body: &str| {
            let body: Dynamic = Engine::new().eval(body).unwrap();
            build("POST", "http://a", Some(&body), &Map::new()).unwrap()
        };
        for (body, media_type, bytes) in [
            ("\"é\"", Some("text/plain; charset=utf-8"), Some("é".as_bytes())),
            ("#{a: 1}", Some("application/json"), Some(&b"{\"a\":1}"[..])),
            ("[1.5, ()]", Some("application/json"), Some(&b"[1.5,null]"[..])),
            ("blob(2, 0xff)", Some("application/octet-stream"), Some(&[255, 255][..])),
            ("()", None, None),
        ] {
            let request = build(body);
            assert_eq!((content_type(&request), request.body.as_deref()), (media_type, bytes), "{body}");
        }
    }

    #[test]
    fn json_is_json_whatever_it_is() {
        let request = from_map(&options("#{method: \"post\", url: \"http://a\", json: \"x\"}")).unwrap();
        assert_eq!(request.method, "POST");
        assert_eq!(content_type(&request), Some("application/json"));
        assert_eq!(request.body.unwrap(), b"\"x\"");
    }

    #[test]
    fn a_media_type_of_the_script_stays() {
        let options =
            options("#{url: \"http://a\", body: \"<a/>\", headers: #{\"Content-Type\": \"text/xml\"}}");
        let request = from_map(&options).unwrap();
        assert_eq!(request.headers, [("Content-Type".to_owned(), "text/xml".to_owned())]);
        assert_eq!(request.method, "GET");
    }

    #[test]
    fn headers_may_repeat_and_may_be_left_out() {
        let request = from_map(&options("#{url: \"\", headers: #{a: [1, \"b\"], c: (), d: true}}")).unwrap();
        let expected = [("a", "1"), ("a", "b"), ("d", "true")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(request.headers, expected);
    }

    #[test]
    fn mistakes_are_named() {
        refused("#{}", "http: a request needs a `url`");
        refused("#{url: 1}", "http: `url` must be a string, not i64");
        refused("#{url: \"\", timeout: 1}", "http: there is no option `timeout`");
        refused("#{url: \"\", timeout_ms: 0}", "http: `timeout_ms` must be");
        refused("#{url: \"\", timeout_ms: 1.5}", "http: `timeout_ms` must be");
        refused("#{url: \"\", headers: []}", "http: `headers` must be a map, not array");
        refused("#{url: \"\", body: 1, json: 2}", "http: a request has one body");
        let twice = build("POST", "", Some(&1.into()), &options("#{body: 1}"));
        assert!(twice.is_err());
        let method = build("POST", "", None, &options("#{method: \"GET\"}"));
        assert!(method.unwrap_err().to_string().contains("no option `method`"));
    }
}
