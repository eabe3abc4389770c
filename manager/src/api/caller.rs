//! Who has sent a request. Found out once, for every request, before any handler; what it is good for is decided by what
//! handlers take (see `auth`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{Extensions, header};
use picloud_host::attempts::Subject;
use picloud_host::problem::Code;

use crate::api::session::cookie;
use crate::api::{Auth, Origin, State};
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
    /// Somebody with the cookie of a session, in a request that some other page may have made a browser send.
    Forged(Code),
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
            Self::Nobody | Self::Unknown | Self::Limited { .. } | Self::Forged(_) => false,
        }
    }

    /// Whether this one may do something with an app.
    pub(crate) fn may(&self, app: &str, permission: Permission) -> bool {
        match self {
            Self::Dev => true,
            Self::Known(known) => known.scopes.allow(app, permission),
            Self::Nobody | Self::Unknown | Self::Limited { .. } | Self::Forged(_) => false,
        }
    }

    fn new(state: &State, request: &Request) -> Self {
        if state.auth == Auth::Dev {
            return Self::Dev;
        }
        let (headers, address) = (request.headers(), client_ip(request.extensions()));
        // What was written down on purpose comes before what a browser adds.
        if !headers.contains_key(header::AUTHORIZATION) && state.origin == Origin::Own {
            return Self::with_cookie(state, request);
        }
        let Some(token) = bearer(headers) else { return Self::Nobody };
        // A good token is good whatever else comes from its address: it cannot be guessed, so nothing is learnt.
        if let Some(known) = state.bearers.find(token) {
            return Self::Known(known);
        }
        Self::wrong(state, address)
    }

    /// Who shows a cookie. A stale one is no attempt at anything: browsers send them on their own.
    fn with_cookie(state: &State, request: &Request) -> Self {
        let Some(text) = cookie::session(request.headers()) else { return Self::Nobody };
        if let Err(code) =
            cookie::check(request.method(), request.uri(), request.headers(), request.extensions())
        {
            return Self::Forged(code);
        }
        state.bearers.find_cookie(text).map_or(Self::Unknown, Self::Known)
    }

    fn wrong(state: &State, address: IpAddr) -> Self {
        match state.attempts.count(Subject::Tokens, address, state.clock.now_ms()) {
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
    let caller = Caller::new(&state, &request);
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The address that a request came from.
pub(crate) fn client_ip(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip().to_canonical())
}
