//! Who may use the API: every operation of its description, with every kind of token.

use serde_json::{Value, json};

use super::fixture::{Answer, TestApi, script};
use crate::api::{Auth, openapi};
use crate::scope::{Permission, Scope};
use crate::store::Precondition;
use crate::store::app::AppSettings;
use crate::store::testing::name;

/// Every operation that needs no token.
const OPEN: [&str; 5] = [
    "POST /api/v1/apps/{app}/webhooks/{name}",
    "GET /api/v1/errors/{code}",
    "GET /api/v1/server",
    "POST /api/v1/session",
    "GET /openapi.json",
];

/// Every operation that the key of one execution opens, too.
const KEYED: [&str; 3] = [
    "DELETE /api/v1/apps/{app}/executions/{id}",
    "GET /api/v1/apps/{app}/executions/{id}",
    "GET /api/v1/apps/{app}/executions/{id}/answer",
];

/// Every operation about an app that is one of the server: it makes or removes apps.
const OF_SERVER: [&str; 3] =
    ["PUT /api/v1/apps/{app}", "DELETE /api/v1/apps/{app}", "PUT /api/v1/apps/{app}/archive"];

/// An operation as the description tells it.
struct Operation {
    method: String,
    path: String,
    security: Value,
}

impl Operation {
    fn all() -> Vec<Self> {
        let document = serde_json::to_value(openapi()).unwrap();
        assert_eq!(document.get("security"), None, "each operation has to say what it needs");
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let (method, path) = (method.to_uppercase(), path.clone());
                operations.push(Self { security: operation["security"].clone(), method, path });
            }
        }
        operations
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The address of something that does not exist, in the app `default`.
    fn address(&self) -> String {
        let path = self.path.replace("{app}", "default").replace("{number}", "9");
        let path = path.replace("{id}", "01981a3c-5f7e-7c3a-9b1d-2f6e8a4c0d17");
        path.replace("{root}", "01981a3c-5f7e-7c3a-9b1d-2f6e8a4c0d17")
            .replace("{code}", "internal")
            .replace(['{', '}'], "")
    }

    /// The scope that opens it; empty when any token does.
    fn scope(&self) -> String {
        let scopes = self.security[0]["token"].as_array();
        let scopes = scopes.unwrap_or_else(|| panic!("{} does not say what it needs", self.name()));
        match &scopes[..] {
            [] => String::new(),
            [scope] => scope.as_str().unwrap().replace("{app}", "default"),
            _ => panic!("{} has several scopes", self.name()),
        }
    }

    async fn send(&self, api: &TestApi, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", &*authorization)];
        let headers = if token.is_empty() { &[][..] } else { &headers };
        api.send(&self.method, &self.address(), headers, "").await
    }
}

async fn token(api: &TestApi, title: &str, scope: &str) -> String {
    let scopes: Vec<Scope> =
        Some(scope).into_iter().filter(|s| !s.is_empty()).map(|s| Scope::parse(s).unwrap()).collect();
    let (token, _) = api.test.store.create_token(&name(title), &scopes, None).await.unwrap();
    token
}

/// Every token that there is to try: its scope and its text.
async fn tokens(api: &TestApi) -> Vec<(String, String)> {
    let none = Precondition::default();
    api.test.store.put_app(&name("other"), &AppSettings::default(), &none).await.unwrap();
    let mut scopes = vec!["admin".to_owned(), String::new()];
    for app in ["default", "other", "*"] {
        scopes.extend(Permission::ALL.map(|(word, _)| format!("app:{app}:{word}")));
    }
    let mut tokens = Vec::new();
    for (number, scope) in scopes.into_iter().enumerate() {
        let text = token(api, &format!("token-{number}"), &scope).await;
        tokens.push((scope, text));
    }
    api.state.publisher.publish().await.unwrap();
    tokens
}

/// Whether a token with the scope `has` opens what needs the scope `needs`, of which the names are written down here once
/// more, so that the test does not repeat what it tests.
fn opens(has: &str, needs: &str) -> bool {
    let include = |has: &str, needs: &str| {
        matches!(
            (has, needs),
            ("read", "read")
                | ("invoke", "invoke")
                | ("deploy", "read" | "deploy")
                | ("admin", "read" | "invoke" | "deploy" | "admin")
        )
    };
    let of_app = needs.strip_prefix("app:default:");
    let has_for_it = has.strip_prefix("app:default:").or_else(|| has.strip_prefix("app:*:"));
    has == "admin"
        || needs.is_empty()
        || has_for_it.zip(of_app).is_some_and(|(has, needs)| include(has, needs))
}

#[tokio::test]
async fn every_operation_opens_to_the_scopes_that_it_names_and_to_no_other() {
    let api = TestApi::with_auth(Auth::Token).await;
    let tokens = tokens(&api).await;
    let mut tried = 0;
    for operation in Operation::all().iter().filter(|operation| !OPEN.contains(&&*operation.name())) {
        let needs = operation.scope();
        for (has, token) in &tokens {
            let answer = operation.send(&api, token).await;
            let what = format!("{} with {has:?}: {}", operation.name(), answer.status);
            if opens(has, &needs) {
                assert!(!matches!(answer.status, 401 | 403 | 500..), "{what}");
            } else {
                let problem = answer.problem(403, "forbidden");
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains(&needs), "{what}: {detail}");
            }
            tried += 1;
            // The first operations may have changed what the next ones need to find.
            if let Some(problem) =
                api.test.store.app(&name("default")).await.unwrap().is_none().then_some(what)
            {
                panic!("{problem} has deleted the app");
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[tokio::test]
async fn every_operation_but_the_open_ones_needs_a_token() {
    let api = TestApi::with_auth(Auth::Token).await;
    let mut open = Vec::new();
    for operation in Operation::all() {
        for token in ["", "picloud_unknown"] {
            // So that none of them is too many.
            api.test.clock.advance(6000);
            let answer = operation.send(&api, token).await;
            if answer.status == 401 {
                answer.problem(401, "unauthorized");
                assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"picloud\"");
            } else {
                open.push(operation.name());
            }
        }
        // Names that are not valid: nothing is told about them either.
        let address = operation.path.replace(['{', '}'], "!");
        let answer = api.send(&operation.method, &address, &[], "").await;
        assert_eq!(answer.status == 401, !OPEN.contains(&&*operation.name()), "{}", operation.name());
    }
    open.dedup();
    assert_eq!(open, OPEN);
}

#[test]
fn the_description_says_what_each_operation_needs() {
    for operation in Operation::all() {
        let (name, security) = (operation.name(), &operation.security);
        if OPEN.contains(&&*name) {
            assert_eq!(security, &json!([{}]), "{name}");
            continue;
        }
        let scope = operation.scope();
        assert!(scope.is_empty() || Scope::parse(&scope).is_ok(), "{name}: {scope}");
        let keys = security.as_array().unwrap().iter().filter(|way| way.get("key").is_some()).count();
        assert_eq!(keys == 1, KEYED.contains(&&*name), "{name}");
        let in_app = operation.path.contains("{app}");
        assert_eq!(
            scope.starts_with("app:"),
            in_app && !(OF_SERVER.contains(&&*name) && scope == "admin"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_token_opens_and_nothing_else_does() {
    let api = TestApi::with_auth(Auth::Token).await;
    let token = api.test.store.create_admin_token().await.unwrap().unwrap();
    api.state.publisher.publish().await.unwrap();
    let status =
        async |value: &str| api.send("PUT", &script("a"), &[("authorization", value)], "1").await.status;
    let refused =
        ["", "Bearer", "Bearer ", "Bearer x", &format!("Basic {token}"), &token, &format!("Bearer {token}x")];
    for value in refused {
        assert_eq!(status(value).await, 401, "{value}");
    }
    assert_eq!(status(&format!("Bearer {token}")).await, 201);
    assert_eq!(status(&format!("bearer  {token}")).await, 200);
}

#[tokio::test]
async fn who_is_wrong_too_often_has_to_wait_and_a_good_token_does_not() {
    let api = TestApi::with_auth(Auth::Token).await;
    let good = api.test.store.create_admin_token().await.unwrap().unwrap();
    api.state.publisher.publish().await.unwrap();
    let get = async |token: &str| {
        let authorization = format!("Bearer {token}");
        api.send("GET", "/api/v1/apps", &[("authorization", &authorization)], "").await
    };
    for _ in 0..10 {
        get("picloud_wrong").await.problem(401, "unauthorized");
    }
    let limited = get("picloud_wrong").await;
    limited.problem(429, "too-many-attempts");
    assert_eq!(limited.header("retry-after"), "6");
    assert_eq!(get(&good).await.status, 200);
    assert_eq!(api.get("/api/v1/apps").await.status, 401, "who sends no token has not been wrong");
    api.test.clock.advance(6000);
    get("picloud_wrong").await.problem(401, "unauthorized");
}
