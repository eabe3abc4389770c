//! A project as people work with it: on a terminal, with questions, a table that is drawn anew, and uploads on save.

use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use picloud_tests::{Process, Site};
use rustix::process::{Pid, Signal, kill_process};

/// A project in the home directory of a site, and a server for it.
async fn project() -> (Site, Process) {
    let site = Site::with_compiled_code();
    let server = site.serve(&["--dev"]).await;
    let made = site.picloud(&["init"]).await;
    assert_eq!(made.code(), Some(0), "{made:?}");
    (site, server)
}

/// What a line prints, on both outputs, and how it ends.
async fn shell(site: &Site, server: &Process, line: &str) -> (String, Option<i32>) {
    let mut command = site.shell(&format!("exec 2>&1\n{line}"));
    command.env("PICLOUD_SERVER", &server.url).env("TERM", "xterm");
    let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    (String::from_utf8_lossy(&ended.stdout).into_owned(), ended.status.code())
}

/// The same on a terminal, on which `input` is typed.
async fn on_terminal(site: &Site, server: &Process, input: &str, line: &str) -> (String, Option<i32>) {
    let line = format!("(sleep 1; printf '{input}'; sleep 1) | script -qec \"{line}\" /dev/null");
    shell(site, server, &line).await
}

#[tokio::test]
async fn a_new_project_passes_its_tests_and_is_deployed() {
    let (site, server) = project().await;
    let (tested, code) = shell(&site, &server, "picloud test scripts").await;
    assert_eq!(code, Some(0), "{tested}");
    let (deployed, code) = shell(&site, &server, "mkdir deeper && cd deeper && picloud deploy").await;
    assert!(code == Some(0) && deployed.starts_with("created    hello  version 1"), "{deployed}");
    let (called, _) = shell(&site, &server, "picloud invoke hello '/?name=Ada' 2>/dev/null").await;
    assert_eq!(called.trim(), r#"{"hello":"Ada","visits":1}"#);
    server.stop().await;
}

#[tokio::test]
async fn pruning_asks_on_a_terminal() {
    let (site, server) = project().await;
    server.deploy("old", "1").await;
    let (said, code) = on_terminal(&site, &server, "n\\n", "picloud deploy --prune").await;
    assert!(code == Some(0) && said.contains("Delete old of the app default"), "{said}");
    assert!(server.get("/api/v1/apps/default/scripts/old").await.is_success(), "{said}");
    let (said, code) = on_terminal(&site, &server, "y\\n", "picloud deploy --prune").await;
    assert!(code == Some(0) && said.contains("deleted"), "{said}");
    assert_eq!(server.get("/api/v1/apps/default/scripts/old").await.status, 404);
    server.stop().await;
}

#[tokio::test]
async fn colours_are_for_terminals_that_want_them() {
    let (site, server) = project().await;
    let green = "\u{1b}[32m";
    let (said, _) = on_terminal(&site, &server, "", "picloud deploy --dry-run").await;
    assert!(said.contains("\u{1b}["), "{said:?}");
    let (said, _) = on_terminal(&site, &server, "", "NO_COLOR=1 picloud deploy --dry-run").await;
    assert!(!said.contains(green) && said.contains("create"), "{said:?}");
    let (said, _) = shell(&site, &server, "picloud deploy --dry-run").await;
    assert!(!said.contains('\u{1b}'), "{said:?}");
    server.stop().await;
}

#[tokio::test]
async fn long_work_shows_how_far_it_is_to_people_and_to_nobody_else() {
    let (site, server) = project().await;
    let many = "for n in 1 2 3 4 5; do echo 42 > scripts/more$n.rhai; done";
    shell(&site, &server, many).await;
    let (said, code) = on_terminal(&site, &server, "", "picloud deploy").await;
    // A bar is drawn over and over, and is gone at the end.
    assert!(code == Some(0) && said.contains("] 1/6") && said.contains("] 5/6"), "{said:?}");
    let last = said.trim_end().rsplit('\r').find(|line| !line.trim().is_empty()).unwrap();
    assert!(last.ends_with("6 created"), "{said:?}");
    for (line, bar) in [
        ("picloud backup one.backup", "KiB"),
        ("picloud apps export default one.tar.gz", "B"),
        ("picloud apps import one.tar.gz --as other", "B"),
    ] {
        let (said, code) = on_terminal(&site, &server, "", line).await;
        let drawn = said.split('\r').any(|drawn| drawn.contains(&format!(" {bar}/")));
        assert!(code == Some(0) && drawn, "{line}: {said:?}");
    }
    for line in ["picloud deploy", "picloud backup two.backup", "picloud apps export default two.tar.gz"] {
        let (said, code) = shell(&site, &server, line).await;
        assert!(code == Some(0) && !said.contains(['\r', '\u{1b}']), "{line}: {said:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_shell_completes_commands_and_flags() {
    let (site, server) = project().await;
    let complete = async |words: &str| {
        let line = format!(
            "bash -c 'eval \"$(picloud completions bash)\"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _picloud picloud \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             echo ${{COMPREPLY[@]}}'"
        );
        shell(&site, &server, &line).await.0.trim().to_owned()
    };
    assert_eq!(complete("picloud rollb").await, "rollback");
    assert_eq!(complete("picloud users sess").await, "sessions");
    assert_eq!(complete("picloud deploy --dry").await, "--dry-run");
    server.stop().await;
}

#[tokio::test]
async fn top_gives_the_screen_back_when_it_is_interrupted() {
    let (site, server) = project().await;
    server.deploy("busy", "42").await;
    server.get("/default/busy").await;
    let line = "timeout --foreground -s INT 3 picloud top --interval 1; echo ended $?";
    let (said, _) = on_terminal(&site, &server, "", line).await;
    let (before, drawn) = said.split_once("\u{1b}[?1049h").unwrap_or_else(|| panic!("{said:?}"));
    assert_eq!(before.trim(), "");
    let (drawn, after) = drawn.split_once("\u{1b}[?1049l").unwrap_or_else(|| panic!("{said:?}"));
    assert!(drawn.matches("CALLS/S").count() >= 2 && drawn.contains("busy"), "{said:?}");
    assert!(drawn.ends_with("\u{1b}[?25h"), "the cursor is back: {said:?}");
    assert!(after.starts_with("ended"), "{said:?}");
    let (once, _) = shell(&site, &server, "picloud top").await;
    assert!(!once.contains('\u{1b}') && once.contains("1 call of 1 script"), "{once:?}");
    server.stop().await;
}

/// A command that runs until it is told to end, with all that it prints in a file.
struct Running {
    child: Child,
    site: Site,
}

impl Running {
    fn start(site: Site, server: &Process, line: &str) -> Self {
        let mut command = site.shell(&format!("exec {line} 2>&1"));
        command.env("PICLOUD_SERVER", &server.url);
        command.stdout(File::create(site.home().join("printed")).unwrap());
        Self { child: command.spawn().unwrap(), site }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(self.site.home().join("printed")).unwrap()
    }

    /// Wait until it has printed something.
    async fn until(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.printed().contains(text) {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended: {}", self.printed());
            assert!(begun.elapsed() < Duration::from_secs(60), "no {text:?} in {}", self.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.site.home().join(name), text).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn dev_uploads_what_is_saved_tests_it_and_shows_calls() {
    let (site, server) = project().await;
    let mut dev = Running::start(site, &server, "picloud dev");
    dev.until("watching ").await;
    assert!(dev.printed().contains("created    hello  version 1"), "{}", dev.printed());

    dev.write("scripts/hello.rhai", "fn handle(req) {\n    log::info(\"hi\");\n    #{ hello: }\n}\n");
    dev.until("hello.rhai:3:15").await;
    assert!(dev.printed().contains("3 |     #{ hello: }\n"), "{}", dev.printed());
    dev.write("scripts/hello.rhai", "fn handle(req) { log::info(\"hi\"); #{ hello: \"world\", visits: 2 } }");
    dev.until("updated    hello  version 2").await;
    // Its tests ran, and one of them does not hold any more.
    dev.until("test_visits_are_counted_by_name").await;
    dev.until("test_everyone_is_greeted").await;

    server.get("/default/hello?name=Ada").await;
    dev.until("INFO   hello  hi\n").await;
    dev.until("200  hello  GET /").await;
    dev.write("scripts/new.rhai", "1");
    dev.until("created    new  version 1").await;
    std::fs::remove_file(dev.site.home().join("scripts/new.rhai")).unwrap();
    dev.until("new is gone here").await;

    kill_process(Pid::from_child(&dev.child), Signal::INT).unwrap();
    let status = dev.child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", dev.printed());
    assert!(dev.printed().ends_with("ended; the scripts stay as they are\n"), "{}", dev.printed());
    server.stop().await;
}

#[tokio::test]
async fn dev_says_how_to_start_a_server_when_there_is_none() {
    let site = Site::new();
    site.picloud(&["init"]).await;
    let mut command = site.command();
    command.args(["dev", "--server", "http://127.0.0.1:1"]);
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("picloud serve --dev"), "{said}");
}

#[tokio::test]
async fn the_doctor_finds_a_healthy_site_healthy() {
    let (site, server) = project().await;
    let line = format!("picloud doctor --data-dir {}", site.data().display());
    let (said, code) = shell(&site, &server, &line).await;
    assert!(code == Some(0) && said.ends_with(" 0 fail\n"), "{said}");
    assert!(said.contains("a server uses the data directory") && said.contains("is ready"), "{said}");
    assert!(Path::new(&site.data()).join("secret.key").is_file());
    server.stop().await;
}
