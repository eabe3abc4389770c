//! Users on the command line, against a real server: made with the admin token, logged in with a password, logged out.

use picloud_tests::{Ended, Site};

use super::cli::site;

/// Run a line of the shell. Returns how it ended.
async fn shell(site: &Site, line: &str) -> Ended {
    let mut command = site.shell(line);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { status: output.status, out: text(output.stdout), log: text(output.stderr) }
}

#[tokio::test]
async fn a_user_is_made_logs_in_and_out_and_the_token_is_still_there() {
    let (site, server) = site().await;
    let created =
        shell(&site, "printf 'correct horse battery' | picloud users create ann --scope app:default:deploy")
            .await;
    assert_eq!((created.code(), &*created.out), (Some(0), "made  ann\n"), "{created:?}");
    let again = shell(&site, "echo other-password | picloud users create ann --scope admin").await;
    assert!(again.code() == Some(1) && again.log.contains("there is a user ann already"), "{again:?}");
    let wrong = shell(&site, "echo wrong | picloud login --user ann").await;
    assert!(wrong.code() == Some(3) && wrong.log.contains("login-failed"), "{wrong:?}");
    let login = shell(&site, "echo 'correct horse battery' | picloud login --user ann").await;
    assert_eq!(login.code(), Some(0), "{login:?}");
    assert!(!login.out.contains("picloud_session") && !login.log.contains("picloud_session"), "{login:?}");
    let who = site.picloud(&["whoami", "-o", "json"]).await.json();
    assert_eq!((&who["kind"], &who["name"]), (&"user".into(), &"ann".into()));
    std::fs::write(site.home().join("a.rhai"), "\"by ann\"").unwrap();
    assert_eq!(site.picloud(&["deploy", "a.rhai"]).await.code(), Some(0));
    assert_eq!(server.get("/default/a").await.text(), "by ann");
    assert_eq!(site.picloud(&["users"]).await.code(), Some(3), "ann may not see who there is");
    assert_eq!(site.picloud(&["logout"]).await.code(), Some(0));
    let who = site.picloud(&["whoami", "-o", "json"]).await.json();
    assert_eq!((&who["kind"], &who["name"]), (&"token".into(), &"admin".into()));
    assert_eq!(site.picloud(&["users", "rm", "ann"]).await.code(), Some(0));
    server.stop().await;
}
