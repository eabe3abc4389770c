//! What a request is for: a route that an app has made, or a script under `/{app}/{script}`.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, header};

use crate::active::{ActiveApp, ActiveScript, ActiveSet};
use crate::call::BUILT_IN_ROUTE;
use crate::ingress::request::Target;
use crate::problem::{Code, Problem};
use crate::route::{Access, Found, Goal, Route, decode};

/// What a request is for.
pub(super) struct Aim {
    /// The app that has it.
    pub(super) app: Arc<str>,
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

/// Find out what a request is for: a route, then a script by its name, then a route for the rest.
pub(super) fn aim(set: &ActiveSet, head: &Parts) -> Result<Aim, Problem> {
    let path = head.uri.path();
    if set.routes.is_empty() {
        return built_in(set, path);
    }
    let (host, method) = (host(head), asked_for(head));
    if let Some(found) = set.routes.find(&host, method, path) {
        return of_route(set, found, path);
    }
    let built_in = built_in(set, path);
    match set.routes.find_rest(method, path).filter(|_| built_in.is_err()) {
        Some(found) => of_route(set, found, path),
        None => built_in,
    }
}

/// The method that matters: that of the request which a browser asks about, if it does.
fn asked_for(head: &Parts) -> &Method {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ];
    let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|_| is_preflight(head));
    let known =
        asked.and_then(|asked| KNOWN.iter().find(|method| method.as_str().as_bytes() == asked.as_bytes()));
    known.unwrap_or(&head.method)
}

/// Whether a browser asks if a page may send another request.
pub(super) fn is_preflight(head: &Parts) -> bool {
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
        Found::Methods(methods) => {
            let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            return Err(Problem::new(Code::MethodNotAllowed).allow(allow));
        }
    };
    let app = route.app_name.clone();
    let Goal::Script(name) = &route.goal else {
        return Ok(Aim { app, access: route.access.clone(), route: Some(route), to: To::Goal(parameters) });
    };
    let found = set.apps.get(&app).and_then(|app| Some((app, app.scripts.get(name)?)));
    let (active_app, script) = found.ok_or_else(|| {
        let detail = format!("the route {} leads to the script {name}, which does not exist", route.name);
        Problem::new(Code::ScriptNotFound).detail(detail)
    })?;
    let mut target = target(active_app, script, path.to_owned())?;
    target.route = route.path.as_str().clone();
    target.params = decode(&parameters);
    // A route that asks for nobody does not open a script that asks for somebody.
    let access = if route.access.is_none() { (*script.access).clone() } else { route.access.clone() };
    Ok(Aim { app, access, route: Some(route), to: To::Script(target) })
}

/// The script of `/{app}/{script}` or of something below it.
fn built_in(set: &ActiveSet, path: &str) -> Result<Aim, Problem> {
    let mut parts = path.splitn(4, '/').skip(1);
    let (app, script) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let rest = parts.next().map_or_else(|| "/".to_owned(), |rest| format!("/{rest}"));
    let found = set.apps.get_key_value(app);
    let found = found.and_then(|(name, app)| Some((name, app, app.scripts.get(script)?)));
    let Some((name, app, script)) = found else {
        return Err(Problem::new(Code::RouteNotFound).detail(format!("no script is served at {path}")));
    };
    let target = target(app, script, rest)?;
    Ok(Aim { app: name.clone(), access: (*script.access).clone(), route: None, to: To::Script(target) })
}

fn target(app: &ActiveApp, script: &ActiveScript, rest: String) -> Result<Target, Problem> {
    if !script.handles_requests {
        let name = &script.script.script;
        let detail = format!("the script {name} has no function handle, so it answers no requests");
        return Err(Problem::new(Code::HandlerMissing).detail(detail));
    }
    Ok(Target {
        script: script.script.clone(),
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
