//! The route in the body of a request.

use axum::extract::{FromRequest, Request};
use picloud_host::ingress::is_script_path;
use picloud_host::problem::{Code, Problem};
use picloud_host::route::{Access, Route, RouteConfig};
use utoipa::ToSchema;

use crate::api::State;
use crate::api::body::{object, read_as};

/// The longest body, in bytes: a static answer and what goes with it.
const MAX_BYTES: u64 = 192 << 10;

/// Which requests are taken, and what they lead to: a script, another address, or an answer that is always the same.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described here; what is sent is read by the host")]
pub(crate) struct RouteBody {
    /// A name, or `*.` and a name for every name below it; every host when not given.
    #[schema(example = "shop.example.org")]
    host: Option<String>,
    /// Upper case; every method when not given. `GET` includes `HEAD`.
    #[schema(max_items = 16, example = json!(["GET"]))]
    methods: Option<Vec<String>>,
    /// Parts between `/`; `{name}` for any one of them, `{*name}` at the end for one or more.
    #[schema(example = "/users/{id}")]
    path: String,
    /// The script that answers. It may be uploaded later.
    script: Option<String>,
    /// Where the client is sent.
    redirect: Option<RouteRedirect>,
    /// What is answered.
    answer: Option<RouteAnswer>,
    /// Who has to be there; nobody when not given.
    access: Option<RouteAccess>,
    /// Which pages of other origins may read the answers; none when not given.
    cors: Option<RouteCors>,
}

/// Where a client is sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described here")]
pub(crate) struct RouteRedirect {
    /// A URL or a path. `{name}` stands for a parameter of the route, but not in the host.
    #[schema(example = "/new/{id}")]
    location: String,
    /// 301, 302, 303, 307 or 308; 308 when not given.
    status: Option<u16>,
}

/// An answer that is always the same.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described here")]
pub(crate) struct RouteAnswer {
    /// 200 when not given.
    status: Option<u16>,
    /// By name.
    headers: Option<std::collections::BTreeMap<String, String>>,
    /// Text, 64 KiB at most.
    body: Option<String>,
}

/// Who has to be there.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described here")]
pub(crate) struct RouteAccess {
    /// `none`; `token`: one with the scope `app:{app}:invoke`; `basic`: name and password; `hmac`: a signature of the body.
    #[schema(example = "token")]
    kind: String,
    /// `basic`: the secret with `NAME:PASSWORD` in each line. `hmac`: the secret with the key.
    secret: Option<String>,
    /// `hmac`: the header with the signature, in hexadecimal digits; `x-signature` when not given.
    header: Option<String>,
    /// `hmac`: what stands before the signature; nothing when not given.
    prefix: Option<String>,
}

/// Which pages of other origins may read the answers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described here")]
pub(crate) struct RouteCors {
    /// Origins, or `*` alone for every one.
    #[schema(min_items = 1, max_items = 32, example = json!(["https://app.example.org"]))]
    origins: Vec<String>,
    /// Methods that a page may use; those of the route when not given.
    methods: Option<Vec<String>>,
    /// Headers that a page may send.
    headers: Option<Vec<String>>,
    /// Headers of answers that a page may read, beside those of every call.
    expose: Option<Vec<String>>,
    /// Whether requests may come with cookies and passwords; not for `*`.
    credentials: Option<bool>,
    /// For how many seconds a browser need not ask again; 300 when not given.
    max_age_s: Option<u32>,
}

/// A route to store.
#[derive(Debug)]
pub(super) struct Body(pub(super) RouteConfig);

impl FromRequest<State> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_as("application/json", "route", &parts.headers, body, MAX_BYTES).await?;
        let config = object(&bytes);
        config.map(Self).map_err(|error| Problem::new(Code::RouteInvalid).detail(error.to_string()))
    }
}

/// Who has to be there, for a script.
#[derive(Debug)]
pub(in crate::api) struct AccessBody(pub(in crate::api) Access);

impl FromRequest<State> for AccessBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let invalid = |detail: String| Problem::new(Code::AccessInvalid).detail(detail);
        let (parts, body) = request.into_parts();
        let bytes = read_as("application/json", "access", &parts.headers, body, MAX_BYTES).await?;
        let access: Access = object(&bytes).map_err(|error| invalid(error.to_string()))?;
        access.check().map_err(invalid)?;
        Ok(Self(access))
    }
}

/// Whether requests to it get to the data plane at all.
pub(in crate::api) fn check_address(route: &Route) -> Result<(), String> {
    match route.path.first() {
        Some(first) if !first.is_empty() && !is_script_path(&format!("/{first}")) => {
            Err(format!("path: what begins with /{first} is the server's own"))
        }
        _ => Ok(()),
    }
}
