//! The Rhai module `url`: taking URLs apart and putting them together, as browsers do (the URL Standard of WHATWG).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rhai::{Array, Dynamic, INT, ImmutableString, Map, Module};
use url::Url;
use url::form_urlencoded;

use super::{add, excerpt, kind};

/// All but the unreserved characters of RFC 3986.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn fill(module: &mut Module) {
    add!(module, "parse", |text: ImmutableString| parse(&text).map(|url| parts(&url)));
    add!(module, "join", |base: ImmutableString, relative: ImmutableString| join(&base, &relative));
    add!(module, "encode_component", |text: ImmutableString| {
        Ok(utf8_percent_encode(&text, COMPONENT).to_string())
    });
    add!(module, "decode_component", |text: ImmutableString| decode_component(&text));
    add!(module, "parse_query", |text: ImmutableString| Ok(parse_query(&text)));
    add!(module, "build_query", |query: &mut Map| build_query(query));
}

fn parse(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| format!("{} is not a valid URL: {error}", excerpt(text)))
}

fn parts(url: &Url) -> Map {
    let text = |text: Option<&str>| text.map_or(Dynamic::UNIT, Into::into);
    Map::from([
        ("scheme".into(), url.scheme().into()),
        ("username".into(), url.username().into()),
        ("password".into(), text(url.password())),
        ("host".into(), text(url.host_str())),
        ("port".into(), url.port_or_known_default().map_or(Dynamic::UNIT, |port| INT::from(port).into())),
        ("path".into(), url.path().into()),
        ("query".into(), text(url.query())),
        ("fragment".into(), text(url.fragment())),
    ])
}

fn join(base: &str, relative: &str) -> Result<String, String> {
    let base = parse(base)?;
    base.join(relative)
        .map(String::from)
        .map_err(|error| format!("{} cannot be joined to a URL: {error}", excerpt(relative)))
}

pub(crate) fn decode_component(text: &str) -> Result<String, String> {
    let complete = |at: usize| {
        text.as_bytes().get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if let Some((at, _)) = text.match_indices('%').find(|(at, _)| !complete(*at)) {
        let character = text[..at].chars().count();
        return Err(format!("the % at position {character} is not followed by two hexadecimal digits"));
    }
    let decoded =
        percent_decode_str(text).decode_utf8().map_err(|_| "the decoded bytes are not UTF-8 text")?;
    Ok(decoded.into_owned())
}

/// A key that comes more than once has the array of its values.
pub(crate) fn parse_query(text: &str) -> Map {
    let mut query = Map::new();
    for (key, value) in form_urlencoded::parse(text.strip_prefix('?').unwrap_or(text).as_bytes()) {
        let value = Dynamic::from(value.into_owned());
        match query.get_mut(key.as_ref()) {
            None => _ = query.insert(key.as_ref().into(), value),
            Some(known) => {
                if let Ok(mut values) = known.as_array_mut() {
                    values.push(value);
                    continue;
                }
                *known = Dynamic::from_array(vec![known.take(), value]);
            }
        }
    }
    query
}

pub(crate) fn build_query(query: &Map) -> Result<String, String> {
    let mut out = form_urlencoded::Serializer::new(String::new());
    for (key, value) in query {
        if let Some(values) = value.read_lock::<Array>() {
            for value in values.iter() {
                out.append_pair(key, &query_text(key, value)?);
            }
        } else if !value.is_unit() {
            out.append_pair(key, &query_text(key, value)?);
        }
    }
    Ok(out.finish())
}

fn query_text(key: &str, value: &Dynamic) -> Result<String, String> {
    if value.is_string() || value.is_int() || value.is_float() || value.is_bool() || value.is_char() {
        return Ok(value.to_string());
    }
    Err(format!("the value of {} must be a string, a number or a boolean, not {}", excerpt(key), kind(value)))
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::{check, message};

    #[test]
    fn the_parts_of_a_url() {
        check(
            r#"
            let u = url::parse("HTTPS://me:pw@Example.org:8443/a%20b/../c?x=1&y#top");
            u == #{scheme: "https", username: "me", password: "pw", host: "example.org", port: 8443, path: "/c",
                   query: "x=1&y", fragment: "top"}
            "#,
        );
        check(
            r#"
            let u = url::parse("http://[::1]");
            u == #{scheme: "http", username: "", password: (), host: "[::1]", port: 80, path: "/", query: (), fragment: ()}
            "#,
        );
        check(r#"let u = url::parse("mailto:a@b.org"); u.host == () && u.port == () && u.path == "a@b.org""#);
        check(r#"url::parse("http://xn--mnchen-3ya.example/").host == "xn--mnchen-3ya.example""#);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        assert_eq!(message(r#"url::parse("/a")"#), r#""/a" is not a valid URL: relative URL without a base"#);
        for text in [
            "",
            "http://",
            "http://a b/",
            "http://a:99999/",
            "http://[::1",
            "http://1.2.3.4.5/",
            "http://münchen.example/",
        ] {
            assert!(message(&format!(r#"url::parse("{text}")"#)).contains("is not a valid URL: "), "{text}");
        }
    }

    #[test]
    fn relative_references() {
        check(r#"url::join("http://a.org/b/c?x", "../d?y#z") == "http://a.org/d?y#z""#);
        check(
            r#"url::join("http://a.org/b", "//c.org") == "http://c.org/" && url::join("http://a.org", "") == "http://a.org/""#,
        );
        assert!(message(r#"url::join("mailto:a@b.org", "c")"#).contains("cannot be joined"));
        assert!(message(r#"url::join("a", "b")"#).contains("is not a valid URL"));
    }

    #[test]
    fn components() {
        check(r#"url::encode_component("a b/ü+~") == "a%20b%2F%C3%BC%2B~""#);
        check(r#"url::decode_component("a%20b%2f%C3%BC+") == "a b/ü+""#);
        for (text, position) in [("%", 0), ("é%4", 1), ("ab%zz", 2), ("%2é", 0)] {
            let expected = format!("the % at position {position} is not followed by two hexadecimal digits");
            assert_eq!(message(&format!(r#"url::decode_component("{text}")"#)), expected);
        }
        assert_eq!(message(r#"url::decode_component("%ff")"#), "the decoded bytes are not UTF-8 text");
    }

    #[test]
    fn queries_are_read() {
        check(r#"url::parse_query("?a=1&b=x+y%21&a=2&c&a=3") == #{a: ["1", "2", "3"], b: "x y!", c: ""}"#);
        check(
            r#"url::parse_query("") == #{} && url::parse_query("&&") == #{} && url::parse_query("=1") == #{"": "1"}"#,
        );
        check(r#"url::parse_query("a=%ff%").a.len == 2"#);
    }

    #[test]
    fn queries_are_written() {
        check(
            r#"url::build_query(#{b: "x y&", a: [1, 2.5, true], c: (), d: []}) == "a=1&a=2.5&a=true&b=x+y%26""#,
        );
        check(r#"let q = #{a: ["1", "2"], "ü": "é="}; url::parse_query(url::build_query(q)) == q"#);
        assert_eq!(
            message("url::build_query(#{a: #{}})"),
            r#"the value of "a" must be a string, a number or a boolean, not a map"#
        );
        assert!(message("url::build_query(#{a: [[1]]})").contains("not an array"));
    }
}
