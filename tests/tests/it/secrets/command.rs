//! Secrets and configuration from the command line.

use std::io::Write as _;
use std::process::Stdio;

use picloud_tests::{Ended, Process, Site};
use serde_json::json;

/// Run a command with this on its standard input.
async fn picloud(site: &Site, server: &Process, args: &[&str], input: &[u8]) -> Ended {
    let mut command = site.command();
    command.args(args).env("PICLOUD_SERVER", &server.url);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_vec();
    let run = move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { status: output.status, out: text(output.stdout), log: text(output.stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_comes_from_standard_input_or_a_file() {
    let site = Site::new();
    let server = site.serve(&["--dev"]).await;
    server.deploy("length", "fn handle(req) { secrets::get(\"mail\").len }").await;
    let file = site.home().join("value");
    std::fs::write(&file, "correct horse\r\n").unwrap();
    let file = file.to_str().unwrap();
    for (args, input, length, word) in [
        (&["secrets", "set", "mail"][..], "correct horse\n", "13", "made  mail\n"),
        (&["secrets", "set", "mail"], "correct horse", "13", "set  mail\n"),
        (&["secrets", "set", "mail", "--keep-newline"], "correct horse\n", "14", "set  mail\n"),
        (&["secrets", "set", "mail"], "correct horse\n\n", "14", "set  mail\n"),
        (&["secrets", "set", "mail", "--file", file], "", "13", "set  mail\n"),
    ] {
        let ended = picloud(&site, &server, args, input.as_bytes()).await;
        assert_eq!((ended.code(), ended.out.as_str()), (Some(0), word), "{ended:?}");
        assert_eq!(server.get("/default/length").await.text(), length, "{args:?}");
    }
    let list = picloud(&site, &server, &["secrets"], b"").await;
    assert!(list.out.contains("mail") && list.out.contains("yes") && !list.out.contains("horse"), "{list:?}");
    let short = picloud(&site, &server, &["secrets", "set", "mail"], b"short\n").await;
    assert_eq!(short.code(), Some(1), "{short:?}");
    assert!(short.log.contains("secret-invalid") && !short.log.contains("short\n"), "{short:?}");
    let long = picloud(&site, &server, &["secrets", "set", "mail"], &vec![b'x'; 20_000]).await;
    assert_eq!(long.code(), Some(1), "{long:?}");
    let removed = picloud(&site, &server, &["secrets", "rm", "mail"], b"").await;
    assert_eq!(removed.out, "deleted  mail\n");
    let gone = picloud(&site, &server, &["secrets", "rm", "mail"], b"").await;
    assert!(gone.code() == Some(1) && gone.log.contains("secret-not-found"), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_set_read_and_removed() {
    let site = Site::new();
    let server = site.serve(&["--dev"]).await;
    let run = async |args: &[&str]| picloud(&site, &server, args, b"[1.50]").await;
    assert_eq!(run(&["config", "set", "rooms", "-"]).await.out, "made  rooms\n");
    assert_eq!(run(&["config", "get", "rooms"]).await.out, "[1.50]\n");
    assert_eq!(run(&["config", "set", "rooms", "-5"]).await.out, "set  rooms\n");
    assert_eq!(
        run(&["config", "get", "rooms", "-o", "json"]).await.json(),
        json!({ "name": "rooms", "value": -5 })
    );
    assert!(run(&["config"]).await.out.contains("rooms"));
    let text = run(&["config", "set", "rooms", "hello"]).await;
    assert!(text.code() == Some(1) && text.log.contains("a text needs quotes"), "{text:?}");
    assert_eq!(run(&["config", "rm", "rooms"]).await.out, "deleted  rooms\n");
    assert!(run(&["config", "get", "rooms"]).await.log.contains("config-not-found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn run_gives_a_script_both() {
    let site = Site::new();
    std::fs::write(site.home().join("mail"), "correct horse\n").unwrap();
    let source = "let secret = secrets::get(\"mail\"); log::info(secret); [secret.len, config::get(\"n\").a]";
    std::fs::write(site.home().join("s.rhai"), source).unwrap();
    let args = ["run", "s.rhai", "--secret", "mail=mail", "--config", "n={\"a\": 5}"];
    let ended = site.picloud(&args).await;
    assert!(ended.code() == Some(0) && ended.out.contains("[13,5]"), "{ended:?}");
    assert!(ended.log.contains("[redacted]") && !ended.log.contains("horse"), "{ended:?}");
    for (flag, value, why) in [
        ("--secret", "mail", "there is no ="),
        ("--secret", "Mail=mail", "a name starts with"),
        ("--secret", "mail=nowhere", "nowhere: "),
        ("--config", "n={", "not JSON"),
    ] {
        let ended = site.picloud(&["run", "s.rhai", flag, value]).await;
        assert!(ended.code() != Some(0) && ended.log.contains(why), "{flag} {value}: {ended:?}");
    }
}
