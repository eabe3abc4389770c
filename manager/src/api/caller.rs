//! Who has sent a request. Found out once, for every request, before any handler; what it is good for is decided by what
//! handlers take (see `auth`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{Extensions, HeaderMap};
use picloud_host::attempts::Subject;

use crate::api::{Auth, State};
use crate::identity::{Known, bearer};
use crate::scope::Permission;

/// Who has sent a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Nobody who says who they are.
    Nobody,
    /// Somebody with a token that nobody has.
    Unknown,
    /// The same, too often.
    Limited {
        /// When to try again.
        retry_after_secs: u64,
    },
    /// Whoever can connect to a server in dev mode.
    Dev,
    /// Somebody.
    Known(Arc<Known>),
}

impl Caller {
    /// Who has sent the request with this head.
    pub(crate) fn of(parts: &Parts) -> &Self {
        parts.extensions.get().unwrap_or(&Self::Nobody)
    }

    /// Its name; none in dev mode, and for nobody.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Known(known) => Some(known.name.clone()),
            _ => None,
        }
    }

    /// Whether this one may do everything.
    pub(crate) fn may_all(&self) -> bool {
        match self {
            Self::Dev => true,
            Self::Known(known) => known.scopes.allow_server(),
            Self::Nobody | Self::Unknown | Self::Limited { .. } => false,
        }
    }

    /// Whether this one may do something with an app.
    pub(crate) fn may(&self, app: &str, permission: Permission) -> bool {
        match self {
            Self::Dev => true,
            Self::Known(known) => known.scopes.allow(app, permission),
            Self::Nobody | Self::Unknown | Self::Limited { .. } => false,
        }
    }

    fn new(state: &State, headers: &HeaderMap, address: IpAddr) -> Self {
        if state.auth == Auth::Dev {
            return Self::Dev;
        }
        let Some(token) = bearer(headers) else { return Self::Nobody };
        // A good token is good whatever else comes from its address: it cannot be guessed, so nothing is learnt.
        if let Some(known) = state.bearers.find(token) {
            return Self::Known(known);
        }
        match state.attempts.failed(Subject::Tokens, address, state.clock.now_ms()) {
            Ok(()) => Self::Unknown,
            Err(wait_ms) => Self::Limited { retry_after_secs: wait_ms.div_ceil(1000) },
        }
    }
}

/// The middleware that finds it out.
pub(crate) async fn identify(
    axum::extract::State(state): axum::extract::State<State>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = Caller::new(&state, request.headers(), client_ip(request.extensions()));
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The address that a request came from.
pub(crate) fn client_ip(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip().to_canonical())
}
