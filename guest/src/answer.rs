//! How a script's last value becomes an HTTP answer, and the functions that build answers with status and headers.

use picloud_sdk_wit::picloud::sdk::outcome::{Failure, FailureKind, Response};
use rhai::{Blob, Dynamic, Engine, EvalAltResult, ImmutableString, Map};

use crate::failure;
use crate::modules::json;
use crate::sdk;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// An answer under construction: the Rhai type `Response`.
#[derive(Clone)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Dynamic,
}

/// Make an answer of the value that a handler ended with.
pub(crate) fn from_value(value: Dynamic) -> std::result::Result<Response, Failure> {
    match value.try_cast_result::<Answer>() {
        Ok(answer) => {
            let mut response = plain(answer.body)?;
            if answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                response.headers.clear();
            }
            response.headers.extend(answer.headers);
            // An empty body turns the status of `plain` into 204; the script's own status goes first.
            response.status = answer.status;
            Ok(response)
        }
        Err(value) => plain(value),
    }
}

fn plain(value: Dynamic) -> std::result::Result<Response, Failure> {
    let (status, content_type, body) = if value.is_unit() {
        (204, None, Vec::new())
    } else if value.is_string() {
        (200, Some("text/plain; charset=utf-8"), value.into_string().unwrap_or_default().into_bytes())
    } else if value.is_blob() {
        (200, Some("application/octet-stream"), value.into_blob().unwrap_or_default())
    } else {
        let text = json::to_text(&value).map_err(|error| {
            failure::new(FailureKind::Answer, format!("the answer cannot be sent as JSON: {error}"))
        })?;
        (200, Some("application/json"), text.into_bytes())
    };
    let headers =
        content_type.map(|value| ("content-type".to_owned(), value.to_owned())).into_iter().collect();
    Ok(Response { status, headers, body })
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(sdk::error(message))
}

fn answer(status: i64, body: Dynamic) -> Result<Answer> {
    match u16::try_from(status) {
        Ok(status @ 200..=599) => Ok(Answer { status, headers: Vec::new(), body }),
        _ => refuse(format!("a status must be 200 to 599, not {status}")),
    }
}

fn with_headers(mut answer: Answer, headers: Map) -> Result<Answer> {
    for (name, value) in headers {
        add_header(&mut answer, &name, &value)?;
    }
    Ok(answer)
}

/// An array gives the header once for each of its values, as `set-cookie` may need.
fn add_header(answer: &mut Answer, name: &str, value: &Dynamic) -> Result<()> {
    if let Some(values) = value.read_lock::<rhai::Array>() {
        return values.iter().try_for_each(|value| add_header(answer, name, value));
    }
    let text = value.to_string();
    let name_is_valid = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    let value_is_valid = text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 127));
    if !name_is_valid || !value_is_valid {
        return refuse(format!("the header {name:?} has a name or a value that is not allowed in HTTP"));
    }
    answer.headers.push((name.to_ascii_lowercase(), text));
    Ok(())
}

fn redirect(status: i64, location: &str) -> Result<Answer> {
    if !(300..=399).contains(&status) {
        return refuse(format!("a redirect's status must be 300 to 399, not {status}"));
    }
    let mut answer = answer(status, Dynamic::UNIT)?;
    add_header(&mut answer, "location", &location.into())?;
    Ok(answer)
}

fn html(text: ImmutableString) -> Answer {
    let headers = vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())];
    Answer { status: 200, headers, body: text.into() }
}

/// Register the functions that build answers.
pub(crate) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Answer>("Response")
        .register_fn("response", answer)
        .register_fn("response", |status: i64| answer(status, Dynamic::UNIT))
        .register_fn("response", |status: i64, body: Dynamic, headers: Map| {
            with_headers(answer(status, body)?, headers)
        })
        .register_fn("header", |mut answer: Answer, name: &str, value: Dynamic| -> Result<Answer> {
            add_header(&mut answer, name, &value)?;
            Ok(answer)
        })
        .register_fn("redirect", |location: &str| redirect(302, location))
        .register_fn("redirect", redirect)
        .register_fn("html", html)
        .register_fn("html", |status: i64, text: ImmutableString| -> Result<Answer> {
            Ok(Answer { status: answer(status, Dynamic::UNIT)?.status, ..html(text) })
        })
        .register_fn("text", |blob: Blob| -> Result<String> {
            String::from_utf8(blob).or_else(|_| refuse("the blob is not UTF-8"))
        });
}
