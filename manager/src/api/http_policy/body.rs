//! The policy as clients see it.

use axum::extract::{FromRequest, Request};
use picloud_host::outbound::policy;
use picloud_host::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::State;
use crate::api::body::{object, read_as};

/// The longest body, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Which requests the scripts of an app may send. What no rule allows is not allowed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpPolicy {
    /// A request is allowed if one of these allows it.
    #[serde(deserialize_with = "picloud_host::object::list")]
    #[schema(max_items = 64)]
    rules: Vec<HttpRule>,
}

/// Something that is allowed: each request that fits all of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpRule {
    /// Names, such as `api.example.org`; `*.example.org` for all names below one, but not that one itself; addresses,
    /// such as `192.0.2.1` and `[2001:db8::1]`.
    #[schema(min_items = 1, max_items = 64, example = json!(["api.example.org"]))]
    hosts: Vec<String>,
    /// `https` alone when not given.
    #[serde(default = "only_https")]
    #[schema(min_items = 1)]
    schemes: Vec<HttpScheme>,
    /// The usual port of the scheme when there is none.
    #[serde(default)]
    #[schema(max_items = 64)]
    ports: Vec<u16>,
    /// All of them when there is none.
    #[serde(default)]
    #[schema(max_items = 64, example = json!(["GET"]))]
    methods: Vec<String>,
    /// Whether the hosts may have addresses that are not on the public internet, such as those of this machine and of
    /// its network. Metadata services of clouds are out of reach all the same.
    #[serde(default)]
    private: bool,
    /// Whether callers may name URLs under it that are told of the answers of asynchronous calls, too.
    #[serde(default)]
    callbacks: bool,
}

/// In the clear or over TLS.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HttpScheme {
    Http,
    Https,
}

fn only_https() -> Vec<HttpScheme> {
    vec![HttpScheme::Https]
}

impl From<policy::HttpPolicy> for HttpPolicy {
    fn from(policy: policy::HttpPolicy) -> Self {
        Self { rules: policy.rules.into_iter().map(HttpRule::from).collect() }
    }
}

impl From<policy::HttpRule> for HttpRule {
    fn from(rule: policy::HttpRule) -> Self {
        let policy::HttpRule { hosts, schemes, ports, methods, private, callbacks } = rule;
        let scheme = |scheme| match scheme {
            policy::Scheme::Http => HttpScheme::Http,
            policy::Scheme::Https => HttpScheme::Https,
        };
        Self { hosts, schemes: schemes.into_iter().map(scheme).collect(), ports, methods, private, callbacks }
    }
}

impl From<HttpRule> for policy::HttpRule {
    fn from(rule: HttpRule) -> Self {
        let HttpRule { hosts, schemes, ports, methods, private, callbacks } = rule;
        let scheme = |scheme| match scheme {
            HttpScheme::Http => policy::Scheme::Http,
            HttpScheme::Https => policy::Scheme::Https,
        };
        Self { hosts, schemes: schemes.into_iter().map(scheme).collect(), ports, methods, private, callbacks }
    }
}

/// A policy to store, in the form in which requests are compared with it.
#[derive(Debug)]
pub(super) struct Body(pub(super) policy::HttpPolicy);

impl FromRequest<State> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_as("application/json", "policy", &parts.headers, body, MAX_BYTES).await?;
        let policy: HttpPolicy = object(&bytes).map_err(|error| invalid(error.to_string()))?;
        let rules = policy.rules.into_iter().map(policy::HttpRule::from).collect();
        policy::HttpPolicy { rules }.normalised().map(Self).map_err(invalid)
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::PolicyInvalid).detail(detail)
}
