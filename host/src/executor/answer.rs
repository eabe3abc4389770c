//! Checks what the guest answers: it is as hostile as the script.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use picloud_sdk_wit::picloud::sdk::outcome::Response;

use crate::call::{Answer, Failure};
use crate::cookie;
use crate::limits::Limits;
use crate::problem::Code;

/// Headers of an answer.
const MAX_HEADERS: usize = 64;
/// Bytes of all header names and values of an answer.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// Headers that are about the connection or belong to the server.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that the server adds to every answer of a script start with this.
const OWN_PREFIX: &str = "picloud-";

/// Turn the guest's response into an answer. An event's handler, which has none, answers 204.
pub(super) fn check(response: Option<Response>, limits: &Limits) -> Result<Answer, Failure> {
    let Some(response) = response else {
        return Ok(Answer { status: 204, headers: HeaderMap::new(), body: Bytes::new() });
    };
    if !(200..=599).contains(&response.status) {
        return Err(invalid(format!("the status {} cannot be sent", response.status)));
    }
    if response.body.len() as u64 > limits.response_body_bytes {
        return Err(Failure::new(
            Code::AnswerTooLarge,
            format!(
                "the answer has {} bytes, and {} are allowed",
                response.body.len(),
                limits.response_body_bytes
            ),
        ));
    }
    Ok(Answer { status: response.status, headers: headers(response.headers)?, body: response.body.into() })
}

fn headers(pairs: Vec<(String, String)>) -> Result<HeaderMap, Failure> {
    let bytes = pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if pairs.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(invalid(format!(
            "an answer may have {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes in all"
        )));
    }
    let mut map = HeaderMap::with_capacity(pairs.len() + 4);
    for (name, value) in pairs {
        let (Ok(key), Ok(value)) = (HeaderName::try_from(&name), HeaderValue::try_from(value)) else {
            return Err(invalid(format!("the header {name:?} is not valid in HTTP")));
        };
        if !RESERVED.contains(&key.as_str()) && !key.as_str().starts_with(OWN_PREFIX) {
            map.append(key, value);
        }
    }
    cookie::refuse(&mut map);
    Ok(map)
}

fn invalid(message: String) -> Failure {
    Failure::new(Code::AnswerInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &[(&str, &str)]) -> Option<Response> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Some(Response { status: 200, headers, body: b"x".to_vec() })
    }

    #[test]
    fn headers_of_the_server_are_left_out() {
        let answer = check(
            response(&[("Content-Length", "9"), ("picloud-fuel-used", "0"), ("x-a", "1")]),
            &Limits::default(),
        );
        assert_eq!(answer.unwrap().headers.keys().collect::<Vec<_>>(), ["x-a"]);
    }

    #[test]
    fn header_injection_is_refused() {
        for pair in [("x", "a\r\nb: c"), ("x\r\n", "a"), ("", "a")] {
            assert_eq!(check(response(&[pair]), &Limits::default()).unwrap_err().code, Code::AnswerInvalid);
        }
    }

    #[test]
    fn a_status_that_is_no_answer_is_refused() {
        for status in [0, 100, 101, 600, u16::MAX] {
            let response = Some(Response { status, headers: Vec::new(), body: Vec::new() });
            assert_eq!(check(response, &Limits::default()).unwrap_err().code, Code::AnswerInvalid);
        }
    }

    #[test]
    fn too_many_headers_are_refused() {
        let many = vec![("x", "1"); MAX_HEADERS + 1];
        assert_eq!(check(response(&many), &Limits::default()).unwrap_err().code, Code::AnswerInvalid);
    }

    #[test]
    fn a_large_body_is_refused() {
        let limits = Limits { response_body_bytes: 0, ..Limits::default() };
        assert_eq!(check(response(&[]), &limits).unwrap_err().code, Code::AnswerTooLarge);
    }
}
