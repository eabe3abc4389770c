//! An HTTP request out of the arguments of `invoke` and `run`.

use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::args::RequestArgs;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::text::{clean, read_bounded};

/// No server takes a longer body (the maximum of its limit).
const MAX_BODY: usize = 64 << 20;

/// What cannot stand in a path and query. What is encoded already stays as it is.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A request, except for where it goes.
#[derive(Debug, Clone)]
pub struct RequestParts {
    /// The method.
    pub method: Method,
    /// Path below the script, starting with `/`, encoded.
    pub path: String,
    /// The query without `?`, encoded.
    pub query: Option<String>,
    /// Headers; `content-type` is among them when there is a body.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl RequestParts {
    /// Path and query below `base`, which has no slash at its end. The script's root is `base` itself.
    #[must_use]
    pub fn under(&self, base: &str) -> String {
        let path = if self.path == "/" { "" } else { &self.path };
        let query = self.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
        format!("{base}{path}{query}")
    }
}

/// Understand the arguments, and read the body from where it is.
///
/// # Errors
///
/// The method or a header is not valid, or the body cannot be read.
pub fn build(args: &RequestArgs, terminal: &mut Terminal) -> Result<RequestParts, CliError> {
    let body = args.data.as_deref().map(|data| read_data(data, MAX_BODY, terminal)).transpose()?;
    let method = match &args.method {
        Some(method) => Method::from_bytes(method.to_ascii_uppercase().as_bytes())
            .map_err(|_| CliError::Usage(format!("--method `{}` is no method", clean(method))))?,
        None if body.is_some() => Method::POST,
        None => Method::GET,
    };
    let mut headers = HeaderMap::new();
    for header in &args.headers {
        let (name, value) = parse_header(header)?;
        headers.append(name, value);
    }
    if let Some(body) = body.as_ref().filter(|body| !body.is_empty()) {
        headers.entry(header::CONTENT_TYPE).or_insert_with(|| HeaderValue::from_static(media_type(body)));
    }
    let (path, query) = match args.path.split_once('?') {
        Some((path, query)) => (path, Some(utf8_percent_encode(query, NOT_IN_PATH).to_string())),
        None => (args.path.as_str(), None),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let path = format!("{slash}{}", utf8_percent_encode(path, NOT_IN_PATH));
    Ok(RequestParts { method, path, query, headers, body: body.unwrap_or_default().into() })
}

/// The bytes that an argument means: `-` is standard input, `@FILE` a file, anything else itself.
///
/// # Errors
///
/// What is meant cannot be read, or is longer than `limit` bytes.
pub fn read_data(data: &str, limit: usize, terminal: &mut Terminal) -> Result<Vec<u8>, CliError> {
    match (data, data.strip_prefix('@')) {
        ("-", _) => terminal.read_input(limit),
        (_, Some(path)) => read_file(Path::new(path), limit).map_err(CliError::Failed),
        (text, None) => Ok(text.as_bytes().to_vec()),
    }
}

/// Read a file of at most `limit` bytes.
///
/// # Errors
///
/// Names the file and says why it cannot be read.
pub fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let mut file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    read_bounded(&mut file, limit).map_err(wrong)
}

fn parse_header(header: &str) -> Result<(HeaderName, HeaderValue), CliError> {
    let wrong = |why: &str| CliError::Usage(format!("--header `{}`: {why}", clean(header)));
    let (name, value) =
        header.split_once(':').ok_or_else(|| wrong("there is no colon, as in `name: value`"))?;
    let name: HeaderName = name.trim().parse().map_err(|_| wrong("the name is not valid"))?;
    if matches!(name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION) {
        return Err(wrong("it is made from the request"));
    }
    let value =
        HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| wrong("the value is not valid"))?;
    Ok((name, value))
}

/// What a body seems to be.
fn media_type(body: &[u8]) -> &'static str {
    let structured = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    if structured && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        "application/json"
    } else if std::str::from_utf8(body).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(
        path: &str,
        data: Option<&str>,
        method: Option<&str>,
        headers: &[&str],
    ) -> Result<RequestParts, String> {
        let args = RequestArgs {
            path: path.to_owned(),
            method: method.map(str::to_owned),
            data: data.map(str::to_owned),
            headers: headers.iter().map(|header| (*header).to_owned()).collect(),
        };
        let input = Box::new(&b"from input"[..]);
        let mut terminal = Terminal::new(input, Box::new(std::io::sink()), Box::new(std::io::sink()));
        build(&args, &mut terminal).map_err(|error| error.to_string())
    }

    #[test]
    fn the_path_is_encoded_and_stays_below_the_script() {
        let check = |path: &str, expect: &str| {
            assert_eq!(request(path, None, None, &[]).unwrap().under("/a/s"), expect, "{path}");
        };
        check("/", "/a/s");
        check("/?x=1", "/a/s?x=1");
        check("x/y?q=a b#c", "/a/s/x/y?q=a%20b%23c");
        check("/%2F/é", "/a/s/%2F/%C3%A9");
        check("//evil.example/x", "/a/s//evil.example/x");
        check("@evil.example", "/a/s/@evil.example");
        check("/a\r\nhost: b", "/a/s/a%0D%0Ahost:%20b");
    }

    #[test]
    fn the_body_decides_method_and_media_type() {
        let check = |data: Option<&str>, method: &str, media_type: Option<&str>| {
            let request = request("/", data, None, &[]).unwrap();
            assert_eq!(request.method, method);
            assert_eq!(request.headers.get("content-type").map(|value| value.to_str().unwrap()), media_type);
        };
        check(None, "GET", None);
        check(Some(""), "POST", None);
        check(Some(" {\"a\": 1}"), "POST", Some("application/json"));
        check(Some("{a}"), "POST", Some("text/plain; charset=utf-8"));
        check(Some("-"), "POST", Some("text/plain; charset=utf-8"));
        assert_eq!(request("/", Some("-"), Some("put"), &[]).unwrap().body, "from input");
        assert_eq!(request("/", Some("-"), Some("put"), &[]).unwrap().method, "PUT");
        let own = request("/", Some("{}"), None, &["Content-Type: text/csv"]).unwrap();
        assert_eq!(own.headers.get_all("content-type").iter().collect::<Vec<_>>(), ["text/csv"]);
    }

    #[test]
    fn a_file_is_read_bytes_and_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("body");
        std::fs::write(&path, [0, 0xff]).unwrap();
        let request_ = request("/", Some(&format!("@{}", path.display())), None, &[]).unwrap();
        assert_eq!(&request_.body[..], [0, 0xff]);
        assert_eq!(request_.headers["content-type"], "application/octet-stream");
        let error = request("/", Some("@/no/such/file"), None, &[]).unwrap_err();
        assert!(error.starts_with("/no/such/file: "), "{error}");
    }

    #[test]
    fn headers_are_checked() {
        let request_ = request("/", None, None, &["x-a: 1", "X-A:2:3", "x-b:"]).unwrap();
        assert_eq!(request_.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2:3"]);
        assert_eq!(request_.headers["x-b"], "");
        for (header, why) in [
            ("x-a", "no colon"),
            ("x a: 1", "name"),
            (": 1", "name"),
            ("x-a: 1\r\nx-b: 2", "value"),
            ("Content-Length: 3", "made from the request"),
        ] {
            assert!(request("/", None, None, &[header]).unwrap_err().contains(why), "{header}");
        }
        assert!(request("/", None, Some("GE T"), &[]).unwrap_err().contains("no method"));
    }
}
