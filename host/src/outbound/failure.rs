//! Why there is no response, in words for the script's author.

use std::error::Error as _;
use std::io::ErrorKind;

use picloud_sdk_wit::picloud::sdk::http::Error;

use super::guard::{Blocked, Unresolved};

type Cause<'a> = &'a (dyn std::error::Error + 'static);

/// The longest text about a failure, in bytes: some of it comes from the other server.
const MAX_TEXT: usize = 300;

/// What a failed exchange with `host` means.
pub(super) fn explain<'a>(error: &'a reqwest::Error, host: &str) -> Error {
    let next = |cause: &Cause<'a>| (*cause).source();
    let causes: Vec<Cause<'a>> = std::iter::successors(error.source(), next).collect();
    if causes.iter().any(|cause| cause.is::<Blocked>()) {
        return Error::AddressBlocked(host.to_owned());
    }
    if causes.iter().any(|cause| cause.is::<Unresolved>()) {
        return Error::Failed(format!("the name {host} cannot be resolved"));
    }
    if let Some(reason) = causes.iter().find_map(|cause| tls(*cause)) {
        return Error::Failed(cut(format!("no safe connection to {host}: {reason}")));
    }
    let kind =
        causes.iter().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    Error::Failed(match (kind, causes.last()) {
        (Some(ErrorKind::ConnectionRefused), _) => format!("{host} refuses connections"),
        (Some(ErrorKind::TimedOut), _) => format!("{host} does not accept the connection in time"),
        (Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof), _) => {
            format!("the connection to {host} was cut")
        }
        (_, Some(cause)) => cut(format!("no response from {host}: {cause}")),
        (_, None) => format!("no response from {host}"),
    })
}

/// An error of TLS. It is wrapped in errors of the connection, one in another, which do not tell it as their source.
fn tls<'a>(mut cause: Cause<'a>) -> Option<&'a rustls::Error> {
    while let Some(inner) = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        cause = inner;
    }
    cause.downcast_ref()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
