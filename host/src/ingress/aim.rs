//! What a request is for: a route that an app has made, or a script under `/{app}/{script}`.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, header};
use uuid::Uuid;

use crate::active::{ActiveApp, ActiveScript, ActiveSet};
use crate::call::{AppId, BUILT_IN_ROUTE};
use crate::ingress::request::Target;
use crate::problem::{Code, Problem};
use crate::route::{Access, Found, Goal, Route, decode};
use crate::secret::AppSecrets;

/// What a request is for.
pub(super) struct Aim {
    /// The name of the app that has it.
    pub(super) app: Arc<str>,
    /// The app.
    pub(super) app_id: AppId,
    /// What only the app knows, to tell who is there.
    pub(super) secrets: Arc<AppSecrets>,
    /// Who has to be there.
    pub(super) access: Access,
    /// The route that an app has made, if it is one.
    pub(super) route: Option<Arc<Route>>,
    /// What it leads to.
    pub(super) to: To,
}

/// What a request leads to.
pub(super) enum To {
    /// A script.
    Script(Target),
    /// The goal of the route, which needs no script. With the parameters as they are in the path.
    Goal(Vec<(Arc<str>, String)>),
}

/// Find out what a request is for: a route, then a script by its name, then a route for the rest. At a host that belongs to
/// an app there is nothing but what is this app's.
pub(super) fn aim(set: &ActiveSet, head: &Parts) -> Result<Aim, Problem> {
    let path = head.uri.path();
    if set.routes.is_empty() {
        return built_in(set, path);
    }
    let host = host(head);
    let owner = set.routes.owner(&host);
    let is_theirs = |route: &Route| owner.is_none_or(|owner| *owner == route.app_name);
    if let Some(found) =
        find(head, |method| set.routes.find(&host, method, path)).filter(|found| found.is(is_theirs))
    {
        return of_route(set, found, path);
    }
    let first = path.split('/').nth(1).unwrap_or_default();
    let built_in = match owner {
        Some(owner) if **owner != *first => Err(nothing(path)),
        _ => built_in(set, path),
    };
    // What begins with the name of an app is for no route of another one.
    let is_open =
        |route: &Route| is_theirs(route) && (*route.app_name == *first || !set.apps.contains_key(first));
    let rest = || find(head, |method| set.routes.find_rest(method, path)).filter(|found| found.is(is_open));
    match if built_in.is_err() { rest() } else { None } {
        Some(found) => of_route(set, found, path),
        None => built_in,
    }
}

/// Look for a route by the method: for one that speaks CORS by that of the request which a browser asks about, if it does.
fn find(head: &Parts, look: impl Fn(&Method) -> Option<Found>) -> Option<Found> {
    if is_preflight(head)
        && let Some(method) = asked_for(head)
        && let Some(found) = look(method)
        && found.is(|route| route.cors.is_some())
    {
        return Some(found);
    }
    look(&head.method)
}

/// The method of the request that a browser asks about.
fn asked_for(head: &Parts) -> Option<&'static Method> {
    const KNOWN: &[Method] = &[
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ];
    let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    KNOWN.iter().find(|method| method.as_str().as_bytes() == asked.as_bytes())
}

/// Whether a browser asks if a page may send another request.
fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(header::ORIGIN)
        && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The name of the host that the request is for, in lower case and without its port; empty when it names none.
fn host(head: &Parts) -> String {
    let named = head.uri.authority().map(http::uri::Authority::as_str);
    let named = named.or_else(|| head.headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
    let name = match named.rfind(']') {
        Some(end) => &named[..=end],
        None => named.split(':').next().unwrap_or_default(),
    };
    // A name with a dot at its end is the same name.
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn of_route(set: &ActiveSet, found: Found, path: &str) -> Result<Aim, Problem> {
    let (route, parameters) = match found {
        Found::Route(route, parameters) => (route, parameters),
        Found::Methods(_, methods) => {
            let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            return Err(Problem::new(Code::MethodNotAllowed).allow(allow));
        }
    };
    let app = set.apps.get(&route.app_name).ok_or_else(|| nothing(path))?;
    let Goal::Script(name) = &route.goal else {
        return Ok(aim_at(
            app,
            route.app_name.clone(),
            route.access.clone(),
            Some(route),
            To::Goal(parameters),
        ));
    };
    let script = app.scripts.get(name).ok_or_else(|| {
        let detail = format!("the route {} leads to the script {name}, which does not exist", route.name);
        Problem::new(Code::ScriptNotFound).detail(detail)
    })?;
    let mut target = target(app, script, path.to_owned())?;
    target.route = route.path.as_str().clone();
    target.params = decode(&parameters);
    // A route that asks for nobody does not open a script that asks for somebody.
    let access = if route.access.is_none() { (*script.access).clone() } else { route.access.clone() };
    Ok(aim_at(app, route.app_name.clone(), access, Some(route), To::Script(target)))
}

/// The script of `/{app}/{script}` or of something below it.
fn built_in(set: &ActiveSet, path: &str) -> Result<Aim, Problem> {
    let mut parts = path.splitn(4, '/').skip(1);
    let (app, script) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let rest = parts.next().map_or_else(|| "/".to_owned(), |rest| format!("/{rest}"));
    let found = set.apps.get_key_value(app);
    let found = found.and_then(|(name, app)| Some((name, app, app.scripts.get(script)?)));
    let Some((name, app, script)) = found else {
        return Err(nothing(path));
    };
    let target = target(app, script, rest)?;
    Ok(aim_at(app, name.clone(), (*script.access).clone(), None, To::Script(target)))
}

fn aim_at(app: &ActiveApp, name: Arc<str>, access: Access, route: Option<Arc<Route>>, to: To) -> Aim {
    Aim { app: name, app_id: app.id, secrets: app.secrets.clone(), access, route, to }
}

fn nothing(path: &str) -> Problem {
    Problem::new(Code::RouteNotFound).detail(format!("no script is served at {path}"))
}

fn target(app: &ActiveApp, script: &ActiveScript, rest: String) -> Result<Target, Problem> {
    if !script.handles_requests {
        let name = &script.script.script;
        let detail = format!("the script {name} has no function handle, so it answers no requests");
        return Err(Problem::new(Code::HandlerMissing).detail(detail));
    }
    let execution_id = Uuid::now_v7();
    Ok(Target {
        execution_id,
        script: script.version_for(execution_id).clone(),
        limits: app.limits.clone(),
        quotas: app.quotas.clone(),
        rest,
        route: BUILT_IN_ROUTE.into(),
        params: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn nothing_is_found_in_an_empty_set() {
        for path in ["/", "//", "/a", "/a/", "/a/b", "/a/b/c", "*"] {
            let problem = aim(&ActiveSet::default(), &head(path, &[])).map(|_| ()).unwrap_err();
            assert_eq!(problem.code(), Code::RouteNotFound, "{path}");
        }
    }

    #[test]
    fn the_host_is_a_name_without_a_port() {
        for (named, expected) in [
            ("Shop.Example.ORG:8080", "shop.example.org"),
            ("shop.example.org.", "shop.example.org"),
            ("[::1]:80", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(host(&head("/a", &[("host", named)])), expected);
        }
        assert_eq!(host(&head("http://a.org:1/x", &[("host", "b.org")])), "a.org");
        assert_eq!(host(&head("/a", &[])), "");
    }
}
