//! `picloud login`, `logout` and `whoami`, against a server that plays the API.

use serde_json::{Value, json};

use super::picloud_in;
use super::server::{FakeServer, json as answer, problem, with_type};
use crate::exit::Exit;

/// A home directory of its own.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn picloud(&self, words: &[&str]) -> super::Ran {
        picloud_in(&[("HOME", self.0.path().to_str().unwrap())], words).await
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.0.path().join(".config/picloud/client.toml")).unwrap_or_default()
    }
}

fn session() -> Value {
    json!({
        "token": "picloud_session_abc", "kind": "user", "name": "ann", "scopes": ["admin"],
        "expires_at": "later", "csrf_token": null,
    })
}

#[tokio::test]
async fn a_session_is_kept_used_and_forgotten() {
    let server = FakeServer::start(|seen| match &*seen.line {
        "POST /api/v1/session" => answer(201, &session()),
        "DELETE /api/v1/session" => with_type(204, "text/plain", ""),
        _ => answer(200, &session()),
    })
    .await;
    let home = Home::new();
    // What the tests type is `[1]`.
    let login = ["login", "--server", &server.url, "--user", "ann", "--password-stdin"];
    let ran = home.picloud(&login).await.expect(Exit::Ok);
    assert!(ran.out.starts_with("logged in  ann at ") && !ran.out.contains("picloud_session"), "{}", ran.out);
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.body, r#"{"password":"[1]","user":"ann"}"#);
    assert!(home.file().contains("picloud_session_abc"));
    // The server and the session come from the file now.
    let ran = home.picloud(&["whoami"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "user  ann\nscopes  admin\nuntil  later\n");
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.headers["authorization"], "Bearer picloud_session_abc");
    let ran = home.picloud(&["login", "--user", "ann", "-o", "json"]).await.expect(Exit::Ok);
    assert_eq!(ran.json()["name"], "ann");
    assert_eq!(server.seen().pop().unwrap().headers.get("authorization"), None, "nobody is there before");
    let ran = home.picloud(&["logout"]).await.expect(Exit::Ok);
    assert!(ran.out.starts_with("logged out  "), "{}", ran.out);
    assert_eq!(server.lines().pop().unwrap(), "DELETE /api/v1/session");
    assert!(!home.file().contains("picloud_session_abc"));
    let ran = home.picloud(&["logout", "--server", &server.url]).await.expect(Exit::Failed);
    assert!(ran.err.contains("nobody is logged in"), "{}", ran.err);
}

#[tokio::test]
async fn a_token_is_not_lost_by_logging_in_and_out() {
    let server = FakeServer::start(|seen| match &*seen.line {
        "POST /api/v1/session" => answer(201, &session()),
        _ if seen.headers["authorization"] == "Bearer pct_admin" => {
            problem(409, "session-unavailable", json!({}))
        }
        _ => problem(401, "unauthorized", json!({})),
    })
    .await;
    let home = Home::new();
    let env = crate::env::Env::of([("HOME", home.0.path().to_str().unwrap())]);
    crate::client::write_client_file(&env, &server.url, Some("pct_admin")).unwrap();
    home.picloud(&["login", "--user", "ann"]).await.expect(Exit::Ok);
    assert!(home.file().contains("pct_admin") && home.file().contains("picloud_session_abc"));
    // The session is over on the server; that is what was wanted.
    home.picloud(&["logout"]).await.expect(Exit::Ok);
    assert!(home.file().contains("pct_admin") && !home.file().contains("picloud_session_abc"));
    let ran = home.picloud(&["logout"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("a token, not a session"), "{}", ran.err);
    assert!(home.file().contains("pct_admin"));
}

#[tokio::test]
async fn nobody_is_logged_in_who_is_refused_or_cannot_be_asked() {
    let server = FakeServer::start(|_| problem(401, "login-failed", json!({ "title": "No." }))).await;
    let home = Home::new();
    let login = ["login", "--server", &server.url, "--user", "ann"];
    let ran = home.picloud(&login).await.expect(Exit::Unreachable);
    assert!(ran.err.contains("login-failed"), "{}", ran.err);
    assert_eq!(home.file(), "");
    let ran = home.picloud(&["login", "--server", &server.url]).await.expect(Exit::Usage);
    assert!(ran.err.contains("User at"), "{}", ran.err);
}
