//! Entity tags: the `ETag` of answers, and the preconditions that requests make of them (RFC 9110, section 13).

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{self, AsHeaderName};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use picloud_host::problem::{Code, Problem};

use crate::store::script::Put;
use crate::store::{Precondition, Tag, Tags};

impl<S: Sync> FromRequestParts<S> for Precondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let tags = |name: header::HeaderName| {
            tags(&parts.headers, &name).map_err(|()| {
                let detail = format!("{name} is neither * nor a list of entity tags in quotes");
                Problem::new(Code::RequestInvalid).detail(detail)
            })
        };
        Ok(Self { if_match: tags(header::IF_MATCH)?, if_none_match: tags(header::IF_NONE_MATCH)? })
    }
}

/// The value of `ETag` for a tag.
pub(crate) fn etag(tag: &str) -> String {
    format!("\"{tag}\"")
}

/// Answer a GET of what has this tag with `body`, unless the client has it already or wants another one.
pub(crate) fn answer(
    precondition: &Precondition,
    tag: &str,
    body: impl IntoResponse,
) -> Result<Response, Problem> {
    if !precondition.match_holds(Some(tag)) {
        return Err(Problem::new(Code::PreconditionFailed));
    }
    let etag = [(header::ETAG, etag(tag))];
    if precondition.none_match_holds(Some(tag)) {
        Ok((etag, body).into_response())
    } else {
        Ok((StatusCode::NOT_MODIFIED, etag).into_response())
    }
}

/// Answer a PUT of what has this tag now and needs no body: 201 when it is new, else 204.
pub(crate) fn answer_put(put: Put, tag: &str) -> Response {
    let status = match put {
        Put::Created => StatusCode::CREATED,
        Put::Replaced | Put::Unchanged => StatusCode::NO_CONTENT,
    };
    (status, [(header::ETAG, etag(tag))]).into_response()
}

/// The tags of every header of this name, if there is one.
fn tags(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Option<Tags>, ()> {
    let mut found = None;
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(drop)?.trim();
        let list = match found.get_or_insert_with(|| Tags::List(Vec::new())) {
            Tags::List(list) if text != "*" => list,
            Tags::List(list) if list.is_empty() => {
                found = Some(Tags::Any);
                continue;
            }
            // `*` stands alone.
            Tags::List(_) | Tags::Any => return Err(()),
        };
        parse_list(text, list)?;
    }
    Ok(found)
}

/// Parse `"a", W/"b"`. Empty elements are allowed, as in every list of HTTP.
fn parse_list(mut rest: &str, list: &mut Vec<Tag>) -> Result<(), ()> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(());
        }
        let weak = rest.starts_with("W/");
        let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"').ok_or(())?;
        let (value, after) = quoted.split_once('"').ok_or(())?;
        list.push(Tag { weak, value: value.to_owned() });
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Result<Option<Tags>, ()> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        tags(&headers, header::IF_MATCH)
    }

    fn list(tags: &[(bool, &str)]) -> Result<Option<Tags>, ()> {
        Ok(Some(Tags::List(
            tags.iter().map(|(weak, value)| Tag { weak: *weak, value: (*value).into() }).collect(),
        )))
    }

    #[test]
    fn lists_of_tags_are_understood() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[" * "]), Ok(Some(Tags::Any)));
        assert_eq!(parse(&["\"a\""]), list(&[(false, "a")]));
        assert_eq!(parse(&["\"a\",W/\"b,c\" , , \"\""]), list(&[(false, "a"), (true, "b,c"), (false, "")]));
        assert_eq!(parse(&["\"a\"", "\"b\""]), list(&[(false, "a"), (false, "b")]));
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for values in [
            &["a"][..],
            &["\"a"],
            &["\"a\" \"b\""],
            &["w/\"a\""],
            &["*, \"a\""],
            &["*", "\"a\""],
            &["\"a\"", "*"],
        ] {
            assert_eq!(parse(values), Err(()), "{values:?}");
        }
    }
}
