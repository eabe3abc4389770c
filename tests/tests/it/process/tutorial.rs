//! docs/TUTORIAL.md as it is typed: every command runs in its order against a fresh server, and what it prints is what the
//! page says. `UPDATE_EXPECT=1` writes what came back into the page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use picloud_tests::{Process, Site};

use super::transcript::{Block, ids, in_common_form, page, parse, without_counts, without_tokens};

/// Where the page says that the server is.
const SHOWN: &str = "http://127.0.0.1:8080";

/// And what the home directory is called there.
const HOME: &str = "/home/ada";

/// Somebody who types what the page says.
struct Reader {
    site: Site,
    folder: PathBuf,
    server: Option<Process>,
    /// What the page's ids are called in this run.
    ids: BTreeMap<String, String>,
    /// The id that was seen last: what a page that is new means by any.
    last_id: String,
    /// What the last commands have printed.
    printed: String,
}

impl Reader {
    async fn new() -> Self {
        let site = Site::with_compiled_code();
        let folder = site.home().to_owned();
        Self {
            site,
            folder,
            server: None,
            ids: BTreeMap::new(),
            last_id: String::new(),
            printed: String::new(),
        }
    }

    /// Type the lines of a block; gives them back with the ids of this run.
    async fn type_in(&mut self, lines: &str) -> String {
        self.printed.clear();
        let mut typed = lines.to_owned();
        for id in ids(lines) {
            typed = typed.replace(&id, self.ids.get(&id).unwrap_or(&self.last_id));
        }
        for line in typed.lines() {
            if let Some(folder) = line.strip_prefix("cd ") {
                self.folder = self.folder.join(folder);
            } else if let Some(flags) = line.strip_prefix("picloud serve") {
                self.serve(&flags.split_whitespace().collect::<Vec<_>>()).await;
            } else {
                self.run(line).await;
            }
        }
        typed
    }

    /// Start a server, after the one before has ended as with Ctrl-C.
    async fn serve(&mut self, flags: &[&str]) {
        if let Some(before) = self.server.take() {
            before.stop().await;
        }
        let mut server = self.site.serve(flags).await;
        if !flags.contains(&"--dev") {
            server.printed_token().await;
            // The last that it does before it waits.
            let begun = Instant::now();
            while !server.log().contains("the command line uses this server now") {
                assert!(begun.elapsed() < Duration::from_secs(60), "it says nothing of it: {}", server.log());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        self.printed = server.out();
        self.server = Some(server);
    }

    async fn run(&mut self, line: &str) {
        let line = match &self.server {
            Some(server) => line.replace(SHOWN, &server.url),
            None => line.to_owned(),
        };
        let mut command = self.site.shell(&line);
        command.current_dir(&self.folder).env("TZ", "UTC");
        if let Some(server) = &self.server {
            command.env("PICLOUD_SERVER", &server.url).env("PICLOUD_DATA_DIR", self.site.data());
        }
        let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        for output in [ended.stdout, ended.stderr] {
            let home = self.site.home().display().to_string();
            let text = String::from_utf8(output).unwrap().replace(&home, HOME);
            self.printed.push_str(&match &self.server {
                Some(server) => text.replace(&server.url, SHOWN),
                None => text,
            });
            // As on a terminal, where an answer is a line of its own.
            if !self.printed.is_empty() && !self.printed.ends_with('\n') {
                self.printed.push('\n');
            }
        }
        if let Some(id) = ids(&self.printed).last() {
            self.last_id.clone_from(id);
        }
    }

    /// Hold what was printed against what the page says.
    fn compare(&mut self, said: &str) -> Result<(), String> {
        self.ids.extend(ids(said).into_iter().zip(ids(&self.printed)));
        self.printed = without_tokens(&self.printed);
        self.hold(in_common_form(said), in_common_form(&self.printed))
    }

    /// The same where how many there were of something differs from run to run.
    fn compare_but_counts(&self, said: &str) -> Result<(), String> {
        let form = |text: &str| without_counts(&in_common_form(text));
        self.hold(form(said), form(&self.printed))
    }

    fn hold(&self, said: String, printed: String) -> Result<(), String> {
        if said == printed {
            Ok(())
        } else {
            Err(format!("the page says\n{said}\nbut this came:\n{printed}"))
        }
    }
}

#[tokio::test]
async fn the_tutorial_is_what_happens() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/TUTORIAL.md");
    let mut blocks = parse(&std::fs::read_to_string(&path).unwrap());
    let mut reader = Reader::new().await;
    let (mut wrong, mut commands) = (Vec::new(), 0);
    for block in &mut blocks {
        match block {
            Block::Code { info, text } if info == "sh" => {
                commands += 1;
                *text = reader.type_in(text).await;
            }
            Block::Code { info, text } if info == "text" => {
                if let Err(why) = reader.compare(text) {
                    wrong.push(why);
                }
                text.clone_from(&reader.printed);
            }
            Block::Code { info, text } if info == "text counts" => {
                if let Err(why) = reader.compare_but_counts(text) {
                    wrong.push(why);
                }
                text.clone_from(&reader.printed);
            }
            Block::Code { info, text } if info == "text machine" => {
                if checks(text) != checks(&reader.printed) {
                    wrong.push(format!("other checks: {}", reader.printed));
                }
                text.clone_from(&reader.printed);
            }
            Block::Code { info, text } => {
                let file = info.strip_prefix("rhai ").unwrap_or_else(|| panic!("what is ```{info}?"));
                std::fs::write(reader.folder.join(file), text).unwrap();
            }
            Block::Prose(_) => {}
        }
    }
    assert!(commands > 15, "the page has lost its commands");
    if update {
        std::fs::write(&path, page(&blocks)).unwrap();
    } else {
        assert!(wrong.is_empty(), "UPDATE_EXPECT=1 rewrites docs/TUTORIAL.md\n\n{}", wrong.join("\n\n"));
    }
    reader.server.unwrap().stop().await;
}

/// The names of the checks that `picloud doctor` has made.
fn checks(text: &str) -> Vec<String> {
    let is_check = |line: &&str| ["ok ", "warn ", "fail "].iter().any(|state| line.starts_with(state));
    text.lines().filter(is_check).map(|line| line[6..22].trim().to_owned()).collect()
}
