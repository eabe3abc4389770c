//! `picloud routes` and `access`, against a server that plays the API.

use serde_json::{Value, json};

use super::picloud;
use super::server::{FakeServer, json as answer};
use crate::exit::Exit;

fn routes() -> Value {
    json!({ "items": [
        { "name": "files", "host": "files.example.org", "methods": ["GET", "PUT"], "path": "/{*rest}", "script": "files",
          "access": { "kind": "token" } },
        { "name": "old", "path": "/old", "redirect": { "location": "/new", "status": 308 } },
        { "name": "robots", "path": "/robots.txt", "answer": { "status": 200, "body": "x" } },
    ], "next_cursor": null })
}

#[tokio::test]
async fn routes_are_a_table() {
    let server = FakeServer::start(|_| answer(200, &routes())).await;
    let ran = picloud(&server.url, &["routes", "--app", "shop"]).await.expect(Exit::Ok);
    let rows: Vec<&str> = ran.out.lines().collect();
    assert_eq!(rows[1], "files   GET, PUT  files.example.org  /{*rest}     script files         token");
    assert_eq!(rows[2], "old     all       every              /old         308 /new             none");
    assert_eq!(rows[3], "robots  all       every              /robots.txt  200 always the same  none");
    assert_eq!(server.lines()[0], "GET /api/v1/apps/shop/routes");
}

#[tokio::test]
async fn flags_make_a_route() {
    let server = FakeServer::start(|_| answer(201, &json!({}))).await;
    let cases = [
        (
            "--path /users/{id} --script users --host a.org --method GET --method PUT",
            json!({ "path": "/users/{id}", "script": "users", "host": "a.org", "methods": ["GET", "PUT"] }),
        ),
        (
            "--path /old --redirect /new --status 301",
            json!({ "path": "/old", "redirect": { "location": "/new", "status": 301 } }),
        ),
        (
            "--path /x --answer gone --status 410",
            json!({ "path": "/x", "answer": { "body": "gone", "status": 410 } }),
        ),
        (
            "--path /o --script o --access hmac:key --cors https://a.example",
            json!({ "path": "/o", "script": "o", "access": { "kind": "hmac", "secret": "key" }, "cors": { "origins": ["https://a.example"] } }),
        ),
    ];
    for (flags, expected) in cases {
        let words: Vec<&str> = ["routes", "set", "mine"].into_iter().chain(flags.split(' ')).collect();
        let ran = picloud(&server.url, &words).await.expect(Exit::Ok);
        assert_eq!(ran.out, "made  mine\n");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.line, "PUT /api/v1/apps/default/routes/mine");
        assert_eq!(serde_json::from_str::<Value>(&seen.body).unwrap(), expected);
    }
    let ran = picloud(&server.url, &["routes", "set", "mine", "--json", "{\"path\": \"/\"}"])
        .await
        .expect(Exit::Ok);
    assert_eq!(
        (ran.out.as_str(), server.seen().pop().unwrap().body.as_str()),
        ("made  mine\n", "{\"path\": \"/\"}")
    );
    for wrong in [
        "",
        "--script a",
        "--path / --script a --redirect /b",
        "--path / --script a --access basic",
        "--json {} --path /",
        "--path / --script a --access basic:",
        "--path / --answer a --status 99",
    ] {
        let words: Vec<&str> =
            ["routes", "set", "mine"].into_iter().chain(wrong.split_whitespace()).collect();
        picloud(&server.url, &words).await.expect(Exit::Usage);
    }
}

#[tokio::test]
async fn access_is_set_for_a_script() {
    let server = FakeServer::start(|_| answer(200, &json!({}))).await;
    let ran = picloud(&server.url, &["access", "order", "basic:users"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "set  order\n");
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.line, "PUT /api/v1/apps/default/scripts/order/access");
    assert_eq!(
        serde_json::from_str::<Value>(&seen.body).unwrap(),
        json!({ "kind": "basic", "secret": "users" })
    );
    picloud(&server.url, &["access", "order", "everybody"]).await.expect(Exit::Usage);
}
