//! Routes: which requests an app takes beside those for `/{app}/{script}`, and what becomes of them.
//!
//! In reading order: [`RouteConfig`] (what can be said of a route), `pattern` (hosts and paths), `goal` (what a request
//! leads to), `access` (who has to be there), `cors` (which pages of other origins may read the answers), `table` (which
//! of all routes a request is for).

mod access;
mod cors;
mod goal;
mod pattern;
mod table;

use std::sync::Arc;

use http::Method;
use serde::{Deserialize, Serialize};
use tower_http::cors::CorsLayer;

use crate::call::AppId;
use crate::object;

pub use access::{Access, AccessCheck, Denied};
pub use cors::Cors;
pub use goal::{Goal, Redirect, StaticAnswer, UnderstoodAnswer};
pub use pattern::{HostPattern, PathPattern};
pub use table::{Claimed, Found, RouteTable, decode};

/// The most methods that a route names.
const MAX_METHODS: usize = 16;

/// What can be said of a route, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// `shop.example.org`, or `*.example.org` for every name below it; none for every host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Upper case; none stands for every method. `GET` includes `HEAD`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// `/users/{id}`, or `/files/{*rest}` for everything below.
    pub path: String,
    /// The script that answers; it may be uploaded later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Where the client is sent instead.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// An answer that is always the same.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    pub answer: Option<StaticAnswer>,
    /// Who has to be there.
    #[serde(default, deserialize_with = "object::one", skip_serializing_if = "Access::is_none")]
    pub access: Access,
    /// Which pages of other origins may read the answers; none: no other ones.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
}

/// A route, understood.
#[derive(Debug, Clone)]
pub struct Route {
    /// The app that owns it.
    pub app: AppId,
    /// The app's name.
    pub app_name: Arc<str>,
    /// Its name, unique in the app.
    pub name: Arc<str>,
    /// Which hosts.
    pub host: HostPattern,
    /// None stands for every method.
    pub methods: Vec<Method>,
    /// Which paths.
    pub path: PathPattern,
    /// What a request leads to.
    pub goal: Goal,
    /// Who has to be there.
    pub access: Access,
    /// What lets pages of other origins read the answers.
    pub cors: Option<CorsLayer>,
}

impl RouteConfig {
    /// What it means, for a route of this name.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a sentence.
    pub fn understood(&self, app: AppId, app_name: &str, name: &str) -> Result<Route, String> {
        let path = PathPattern::parse(&self.path)?;
        let host = HostPattern::parse(self.host.as_deref())?;
        if self.methods.len() > MAX_METHODS {
            return Err(format!("methods may have {MAX_METHODS} entries at most"));
        }
        let methods = self.methods.iter().map(|text| method(text)).collect::<Result<Vec<_>, _>>()?;
        let goal = match (&self.script, &self.redirect, &self.answer) {
            (Some(script), None, None) => Goal::Script(script.as_str().into()),
            (None, Some(redirect), None) => {
                redirect.check(&path)?;
                Goal::Redirect(redirect.clone())
            }
            (None, None, Some(answer)) => Goal::Answer(answer.understood()?),
            _ => return Err("one of script, redirect and answer must be given".to_owned()),
        };
        self.access.check()?;
        if matches!(self.access, Access::Hmac { .. }) && self.script.is_none() {
            return Err("access: a signature is for requests that a script answers".to_owned());
        }
        if let Some(cors) = &self.cors {
            cors.check()?;
        }
        Ok(Route {
            app,
            app_name: app_name.into(),
            name: name.into(),
            cors: self.cors.as_ref().map(|cors| cors.layer(&methods)),
            host,
            methods,
            path,
            goal,
            access: self.access.clone(),
        })
    }
}

fn method(text: &str) -> Result<Method, String> {
    let upper = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let method = Method::from_bytes(text.as_bytes()).ok().filter(|_| upper && text != "CONNECT");
    method.ok_or_else(|| format!("{text:?} is no method, such as GET"))
}

impl Route {
    /// Whether it takes requests with this method.
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }

    /// Whether some request could be for both.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        self.host == other.host
            && self.path.canonical() == other.path.canonical()
            && (self.methods.is_empty()
                || other.methods.is_empty()
                || self.methods.iter().any(|method| other.methods.contains(method)))
    }
}
