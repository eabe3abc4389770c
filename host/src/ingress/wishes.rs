//! What a caller wishes beside an answer: not to wait for it (`Prefer: respond-async`, RFC 7240), that a URL is told of it
//! then (`PiCloud-Callback`), and that a repeated request is not done twice (`Idempotency-Key`, a draft of the IETF's
//! HTTPAPI working group).

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method};

use crate::callback;
use crate::problem::{Code, Problem};

/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 255;

/// What the headers of a request ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// The caller fetches the answer later.
    pub(super) respond_async: bool,
    /// Names what is to be done once.
    pub(super) idempotency_key: Option<Arc<str>>,
    /// The URL that is to be told of the answer.
    pub(super) callback: Option<String>,
}

impl Wishes {
    /// Read the headers. Methods that are safe or idempotent by themselves need no key, and have none.
    pub(super) fn of(head: &Parts) -> Result<Self, Problem> {
        let keyed = matches!(head.method, Method::POST | Method::PATCH);
        let respond_async = prefers_async(&head.headers);
        Ok(Self {
            respond_async,
            callback: callback_url(&head.headers, respond_async)?,
            idempotency_key: if keyed { idempotency_key(&head.headers)? } else { None },
        })
    }
}

/// Whether `respond-async` is among the preferences.
fn prefers_async(headers: &HeaderMap) -> bool {
    let lists = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| outside_quotes(list, ',')).any(|preference| {
        let name = preference.split([';', '=']).next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("respond-async")
    })
}

/// The parts of a list, whose separator may also stand in quoted strings.
fn outside_quotes(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |c| {
        let is_escape = quoted && !escaped && c == '\\';
        quoted ^= c == '"' && !escaped;
        escaped = is_escape;
        c == separator && !quoted
    })
}

/// The URL that is to be told, if there is one. It is not known yet whether it is one.
fn callback_url(headers: &HeaderMap, respond_async: bool) -> Result<Option<String>, Problem> {
    let refused = |detail: &str| Problem::new(Code::CallbackRefused).detail(detail);
    let mut values = headers.get_all(callback::HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused("There is more than one URL."));
    }
    if !respond_async {
        return Err(refused("Only calls with `Prefer: respond-async` have callbacks."));
    }
    let url = value.to_str().map_err(|_| refused("The URL has other characters than those of ASCII."))?;
    Ok(Some(url.to_owned()))
}

/// The key, if there is one: a string of Structured Fields (RFC 9651), or the same without quotes.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    let invalid = |detail: &str| Problem::new(Code::IdempotencyKeyInvalid).detail(detail);
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid("There is more than one."));
    }
    let text =
        value.to_str().map_err(|_| invalid("There are other characters in it than those of ASCII."))?;
    let text = text.trim_matches([' ', '\t']);
    let key = match text.strip_prefix('"') {
        Some(rest) => unquoted(rest).ok_or_else(|| invalid("Its quotes are not those of one string."))?,
        None if text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)) => {
            text.to_owned()
        }
        None => {
            return Err(invalid(
                "Without quotes it may not have spaces, quotes, commas, semicolons or backslashes.",
            ));
        }
    };
    match key.len() {
        1..=MAX_KEY => Ok(Some(key.into())),
        length => Err(invalid(&format!("It has {length} characters, but must have 1 to {MAX_KEY}."))),
    }
}

/// What is between the quotes, from behind the first one. None if nothing ends it, or anything follows.
fn unquoted(rest: &str) -> Option<String> {
    let (mut key, mut chars) = (String::new(), rest.chars());
    loop {
        match chars.next()? {
            '"' => return chars.as_str().is_empty().then_some(key),
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c @ ' '..='~' => key.push(c),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap());
        values.map(|value| (HeaderName::from_static(name), value)).collect()
    }

    #[test]
    fn a_preference_is_found_wherever_it_stands() {
        for values in [
            &["respond-async"][..],
            &["Respond-Async; x=1"],
            &["wait=10, respond-async"],
            &["return=minimal", " respond-async "],
            &["note=\"a \\\" b\", respond-async"],
        ] {
            assert!(prefers_async(&headers("prefer", values)), "{values:?}");
        }
        for values in
            [&[][..], &[""], &["respond"], &["note=\"a, respond-async\""], &["respond-asynchronously"]]
        {
            assert!(!prefers_async(&headers("prefer", values)), "{values:?}");
        }
    }

    #[test]
    fn a_callback_is_one_url_for_a_caller_who_does_not_wait() {
        let url =
            |values: &[&str], respond_async| callback_url(&headers(callback::HEADER, values), respond_async);
        assert_eq!(url(&[], false).unwrap(), None);
        assert_eq!(url(&["https://a.org/"], true).unwrap().as_deref(), Some("https://a.org/"));
        for (values, respond_async) in
            [(&["https://a.org/"][..], false), (&["https://ä.org/"], true), (&["https://a.org/"; 2], true)]
        {
            let problem = url(values, respond_async).unwrap_err();
            assert_eq!(problem.code(), Code::CallbackRefused, "{values:?}");
        }
    }

    #[test]
    fn a_key_is_a_string_with_quotes_or_without() {
        let key = |value: &str| idempotency_key(&headers("idempotency-key", &[value])).unwrap().unwrap();
        assert_eq!(&*key("8e03978e-40d5"), "8e03978e-40d5");
        assert_eq!(&*key(" \"8e03978e-40d5\" "), "8e03978e-40d5");
        assert_eq!(&*key(r#""a \"b\" \\ c, d""#), r#"a "b" \ c, d"#);
        assert_eq!(key(&"k".repeat(255)).len(), 255);
        assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let long = "k".repeat(256);
        for values in [
            &[""][..],
            &["\"\""],
            &["\"a"],
            &["\"a\" b"],
            &["\"a\";p=1"],
            &["a b"],
            &["a,b"],
            &["a\"b"],
            &["\"a\\b\""],
            &["schlüssel"],
            &[&long],
            &["a", "a"],
        ] {
            let problem = idempotency_key(&headers("idempotency-key", values)).unwrap_err();
            assert_eq!(problem.code(), Code::IdempotencyKeyInvalid, "{values:?}");
        }
    }
}
