//! Which route a request is for: the most specific host, then the most specific path, then the method.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use http::Method;
use matchit::Router;

use super::goal::decoded;
use super::{HostPattern, Route};

/// Every route of every app, ready to be looked through.
#[derive(Default)]
pub struct RouteTable {
    /// By host.
    hosts: HashMap<Arc<str>, Paths>,
    /// By the end of the host's name, the longest first.
    below: Vec<(Arc<str>, Paths)>,
    /// For every host, whose path begins with something that is no parameter.
    everywhere: Paths,
    /// For every host, whose path begins with a parameter: asked only when nothing else is there.
    fallback: Paths,
}

/// The routes for some host.
#[derive(Default)]
struct Paths {
    /// To the place in `routes`, by the canonical path. Patterns that end in `{*name}` are apart, by how many parts are
    /// before it: one router cannot have `{name}` and `{*name}` at the same place.
    routers: BTreeMap<Option<usize>, Router<usize>>,
    /// Those with the same path, which differ by method.
    routes: Vec<Vec<Arc<Route>>>,
    /// The place in `routes`, by the canonical path: for making the table.
    places: HashMap<String, usize>,
}

/// What a request is for.
#[derive(Debug)]
pub enum Found {
    /// A route, with its parameters as they are in the path.
    Route(Arc<Route>, Vec<(Arc<str>, String)>),
    /// A path that has routes for these methods only, of which this is one.
    Methods(Arc<Route>, Vec<Method>),
}

impl Found {
    /// Whether this holds for the route, or for one of those that have the path.
    pub fn is(&self, holds: impl Fn(&Route) -> bool) -> bool {
        match self {
            Self::Route(route, _) | Self::Methods(route, _) => holds(route),
        }
    }
}

/// What a route takes for its app, of what there is once for all apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Names of hosts.
    Hosts(HostPattern),
    /// Every path that begins so, at every host.
    First(String),
    /// Every path that nobody else takes, at every host.
    Rest,
}

impl Route {
    /// What it takes for its app.
    #[must_use]
    pub fn claims(&self) -> Claimed {
        match (&self.host, self.path.first()) {
            (HostPattern::Any, Some(first)) => Claimed::First(first.to_owned()),
            (HostPattern::Any, None) => Claimed::Rest,
            (host, _) => Claimed::Hosts(host.clone()),
        }
    }
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(host) => write!(f, "the host {host}"),
            Self::First(first) => write!(f, "what begins with /{first}"),
            Self::Rest => f.write_str("what nobody else takes"),
        }
    }
}

impl Claimed {
    /// Whether two apps cannot have both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hosts(one), Self::Hosts(other)) => one.overlaps(other),
            (one, other) => one == other,
        }
    }
}

impl RouteTable {
    /// A table of these routes, of which no two [conflict](Route::conflicts).
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        let mut table = Self::default();
        let mut below: BTreeMap<Arc<str>, Paths> = BTreeMap::new();
        for route in routes {
            let paths = match (&route.host, route.path.first()) {
                (HostPattern::One(host), _) => table.hosts.entry(host.clone()).or_default(),
                (HostPattern::Below(end), _) => below.entry(end.clone()).or_default(),
                (HostPattern::Any, Some(_)) => &mut table.everywhere,
                (HostPattern::Any, None) => &mut table.fallback,
            };
            paths.add(route);
        }
        table.below = below.into_iter().collect();
        table.below.sort_by_key(|(end, _)| std::cmp::Reverse(end.len()));
        table
    }

    /// The route for a request, before it is looked whether it is for `/{app}/{script}`. `host` is in lower case and
    /// without its port.
    #[must_use]
    pub fn find(&self, host: &str, method: &Method, path: &str) -> Option<Found> {
        let at_host = self.at(host).find_map(|paths| paths.find(method, path));
        at_host.or_else(|| self.everywhere.find(method, path))
    }

    /// The name of the app that a host belongs to: the one that has a route for it.
    #[must_use]
    pub fn owner(&self, host: &str) -> Option<&Arc<str>> {
        self.at(host).find_map(|paths| Some(&paths.routes.first()?.first()?.app_name))
    }

    /// What there is for a host, the most specific first.
    fn at(&self, host: &str) -> impl Iterator<Item = &Paths> {
        let below =
            self.below.iter().filter(move |(end, _)| host.len() > end.len() && host.ends_with(&**end));
        self.hosts.get(host).into_iter().chain(below.map(|(_, paths)| paths))
    }

    /// The route for a request that is for nothing else.
    #[must_use]
    pub fn find_rest(&self, method: &Method, path: &str) -> Option<Found> {
        self.fallback.find(method, path)
    }

    /// Whether there is no route at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { hosts, below, everywhere, fallback } = self;
        hosts.is_empty() && below.is_empty() && everywhere.routes.is_empty() && fallback.routes.is_empty()
    }
}

impl Paths {
    fn add(&mut self, route: Route) {
        let canonical = route.path.canonical().to_owned();
        if let Some(place) = self.places.get(&canonical) {
            self.routes[*place].push(Arc::new(route));
            return;
        }
        let depth = canonical.contains("{*").then(|| canonical.split('/').count());
        match self.routers.entry(depth).or_default().insert(canonical.clone(), self.routes.len()) {
            Ok(()) => {
                self.places.insert(canonical, self.routes.len());
                self.routes.push(vec![Arc::new(route)]);
            }
            // Nothing that a pattern can be is refused; if it is, the route is not there and nobody gets its requests.
            Err(error) => {
                tracing::error!(app = %route.app_name, route = %route.name, %error, "a route cannot be used")
            }
        }
    }

    fn find(&self, method: &Method, path: &str) -> Option<Found> {
        let found = self.routers.values().filter_map(|router| router.at(path).ok());
        let found = found.min_by_key(|found| specificity(self.routes[*found.value][0].path.canonical()))?;
        let same = &self.routes[*found.value];
        let Some(route) = same.iter().find(|route| route.takes(method)) else {
            return Some(Found::Methods(same[0].clone(), methods(same)));
        };
        let values = found.params.iter().map(|(_, value)| value.to_owned());
        let parameters = route.path.parameters().iter().cloned().zip(values).collect();
        Some(Found::Route(route.clone(), parameters))
    }
}

/// How specific a pattern is, part by part: of two that take the same path the smaller one goes first.
fn specificity(canonical: &str) -> Vec<u8> {
    let rank = |part: &str| u8::from(part.starts_with('{')) + u8::from(part.starts_with("{*"));
    canonical.split('/').map(rank).collect()
}

/// Every method that one of the routes takes, in an order that does not change.
fn methods(routes: &[Arc<Route>]) -> Vec<Method> {
    let mut methods: Vec<Method> = routes.iter().flat_map(|route| route.methods.iter().cloned()).collect();
    if methods.contains(&Method::GET) {
        methods.push(Method::HEAD);
    }
    methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    methods.dedup();
    methods
}

/// Parameters as scripts see them.
#[must_use]
pub fn decode(parameters: &[(Arc<str>, String)]) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| (name.to_string(), decoded(value))).collect()
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteTable").field("hosts", &self.hosts.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::RouteConfig;
    use super::*;
    use crate::call::AppId;

    fn route(text: &str) -> Route {
        let words: Vec<&str> = text.split(' ').collect();
        let config = RouteConfig {
            host: Some(words[0]).filter(|host| *host != "-").map(str::to_owned),
            methods: words[1].split(',').filter(|method| *method != "-").map(str::to_owned).collect(),
            path: words[2].to_owned(),
            script: Some("s".to_owned()),
            ..RouteConfig::default()
        };
        config.understood(AppId(1), "shop", text).unwrap()
    }

    /// What a request is for: the route as it was written with its parameters, or the methods that there are.
    fn found(table: &RouteTable, host: &str, method: &Method, path: &str) -> String {
        let found = table.find(host, method, path).or_else(|| table.find_rest(method, path));
        match found {
            None => "nothing".to_owned(),
            Some(Found::Methods(_, methods)) => {
                methods.iter().map(Method::as_str).collect::<Vec<_>>().join(",")
            }
            Some(Found::Route(route, parameters)) => {
                let parameters = decode(&parameters);
                let pairs = parameters.iter().map(|(name, value)| format!(" {name}={value}"));
                format!("{}{}", route.name, pairs.collect::<String>())
            }
        }
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = [
            "- - /users/{id}",
            "- - /users/me",
            "- - /users/{user}/posts",
            "- - /users/{*all}",
            "- - /{*rest}",
            "- - /users/me/{*more}",
            "a.org - /users/{name}",
            "*.org - /users/{id}",
            "*.b.org - /only",
        ];
        let table = RouteTable::new(routes.map(route).into());
        let get = |host: &str, path: &str| found(&table, host, &Method::GET, path);
        assert_eq!(get("x", "/users/me"), "- - /users/me");
        assert_eq!(get("x", "/users/7"), "- - /users/{id} id=7");
        assert_eq!(get("x", "/users/7/posts"), "- - /users/{user}/posts user=7");
        assert_eq!(get("x", "/users/7/a/b"), "- - /users/{*all} all=7/a/b");
        assert_eq!(get("x", "/users/me/posts"), "- - /users/me/{*more} more=posts");
        assert_eq!(get("x", "/other/a%20b"), "- - /{*rest} rest=other/a b");
        assert_eq!(get("a.org", "/users/me"), "a.org - /users/{name} name=me");
        assert_eq!(get("c.org", "/users/me"), "*.org - /users/{id} id=me");
        assert_eq!(get("x.b.org", "/users/7"), "*.org - /users/{id} id=7");
        assert_eq!(get("x.b.org", "/only"), "*.b.org - /only");
        assert_eq!(
            get("a.org", "/users/7/posts"),
            "- - /users/{user}/posts user=7",
            "a host that has no such path"
        );
        assert_eq!(get("x", "/"), "nothing");
    }

    #[test]
    fn methods_tell_routes_apart_and_those_that_are_missing_are_named() {
        let table = RouteTable::new(["- GET /a", "- POST,PUT /a", "- DELETE /b", "- - /c"].map(route).into());
        assert_eq!(found(&table, "x", &Method::GET, "/a"), "- GET /a");
        assert_eq!(found(&table, "x", &Method::HEAD, "/a"), "- GET /a");
        assert_eq!(found(&table, "x", &Method::PUT, "/a"), "- POST,PUT /a");
        assert_eq!(found(&table, "x", &Method::DELETE, "/a"), "GET,HEAD,POST,PUT");
        assert_eq!(found(&table, "x", &Method::GET, "/b"), "DELETE");
        assert_eq!(found(&table, "x", &Method::PATCH, "/c"), "- - /c");
    }

    #[test]
    fn routes_conflict_when_a_request_could_be_for_both() {
        let conflict = |one: &str, other: &str| route(one).conflicts(&route(other));
        assert!(conflict("- - /a/{x}", "- GET /a/{y}"));
        assert!(conflict("a.org GET,POST /a", "A.org POST /a"));
        assert!(!conflict("- GET /a", "- POST /a"));
        assert!(!conflict("a.org - /a", "- - /a"));
        assert!(!conflict("- - /a/{x}", "- - /a/x"));
        assert!(!conflict("- - /a/{x}", "- - /a/{*x}"));
    }

    #[test]
    fn what_a_route_takes_no_other_app_can_take() {
        let claims = |one: &str, other: &str| route(one).claims().overlaps(&route(other).claims());
        assert!(claims("- - /shop/a", "- GET /shop/{x}"));
        assert!(!claims("- - /shop/a", "- - /blog/a"));
        assert!(claims("*.a.org - /", "x.a.org - /y"));
        assert!(!claims("a.org - /shop", "- - /shop"), "a host goes before every host");
        assert!(claims("- - /{x}", "- - /{*y}"));
        assert!(!claims("- - /{x}", "- - /shop"));
    }
}
