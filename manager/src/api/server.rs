//! The server itself, as far as everybody may know it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_server))
}

/// Where others reach scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicUrl {
    /// Where they reach the API.
    Same,
    /// At this URL, as it is configured, without a slash at its end.
    At(Arc<str>),
    /// Where the listener for scripts is. If it is at every address of the machine, by whichever name they reach the API.
    Listener(SocketAddr),
}

impl PublicUrl {
    /// What who has sent a request is told.
    fn of(&self, uri: &Uri, headers: &HeaderMap) -> Server {
        let nothing = Server { public_url: None, listener_url: None };
        match self {
            Self::Same => nothing,
            Self::At(url) => Server { public_url: Some(url.as_ref().to_owned()), ..nothing },
            Self::Listener(address) if !address.ip().is_unspecified() => {
                Server { listener_url: Some(format!("http://{address}")), ..nothing }
            }
            Self::Listener(address) => {
                // HTTP/2 names it in the URI.
                let host = || headers.get(header::HOST)?.to_str().ok()?.parse::<Authority>().ok();
                let authority = uri.authority().cloned().or_else(host);
                let url =
                    authority.map(|authority| format!("http://{}:{}", authority.host(), address.port()));
                Server { listener_url: url, ..nothing }
            }
        }
    }
}

/// What there is to know of the server. With neither URL scripts are where the API is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Server {
    /// Where scripts are, as it is configured, without a slash at the end: paths such as the `url` of a script go behind it.
    #[schema(required, example = "https://pi.example")]
    public_url: Option<String>,
    /// Where the listener for scripts is, if it is not that of the API and no public URL is configured. Through a proxy or a tunnel
    /// that may be another machine: nothing secret should be sent there.
    #[schema(required, example = "http://192.0.2.1:8080")]
    listener_url: Option<String>,
}

/// Read where scripts are called.
#[utoipa::path(
    get, path = "/api/v1/server", tag = "meta", security(()),
    responses((status = 200, description = "What there is to know of the server.", body = Server)),
)]
async fn get_server(state: State, uri: Uri, headers: HeaderMap) -> Json<Server> {
    Json(state.public_url.of(&uri, &headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_at_every_address_are_at_the_one_that_is_known_to_work() {
        let of = |url: &PublicUrl, host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            let Server { public_url, listener_url } = url.of(&Uri::from_static("/api/v1/server"), &headers);
            [public_url, listener_url].map(Option::unwrap_or_default)
        };
        let listener = |address: &str| PublicUrl::Listener(address.parse().unwrap());
        for (host, expect) in [
            ("pi.local:9000", "http://pi.local:8080"),
            ("192.0.2.7", "http://192.0.2.7:8080"),
            ("[::1]:9000", "http://[::1]:8080"),
            ("me@pi:9000", "http://pi:8080"),
            ("a b", ""),
            ("", ""),
        ] {
            assert_eq!(of(&listener("0.0.0.0:8080"), host), ["", expect], "{host}");
        }
        assert_eq!(of(&listener("[::]:8080"), "pi"), ["", "http://pi:8080"]);
        assert_eq!(of(&listener("192.0.2.1:8080"), "evil"), ["", "http://192.0.2.1:8080"]);
        assert_eq!(of(&PublicUrl::At("https://pi".into()), "evil"), ["https://pi", ""]);
        assert_eq!(of(&PublicUrl::Same, "pi"), ["", ""]);
    }
}
