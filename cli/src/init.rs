//! `picloud init [DIR]`: a new project, with a script and its tests.

use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use crate::args::InitArgs;
use crate::env::Env;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::text::clean;
use crate::project::PROJECT_FILE;

/// What a new project consists of.
const FILES: &[(&str, &str)] = &[
    (PROJECT_FILE, include_str!("init/picloud.toml")),
    ("scripts/hello.rhai", include_str!("init/hello.rhai")),
    ("scripts/hello_test.rhai", include_str!("init/hello_test.rhai")),
    (".gitignore", include_str!("init/gitignore")),
];

/// Make a project. Files that are there already stay as they are.
///
/// # Errors
///
/// The folder is a project already, or a file cannot be made.
pub fn run(args: &InitArgs, env: &Env, terminal: &mut Terminal) -> Result<(), CliError> {
    let root = env.directory().map_or_else(|| args.dir.clone(), |directory| directory.join(&args.dir));
    if root.join(PROJECT_FILE).exists() {
        return Err(CliError::Failed(format!(
            "{} is a project already: it has a {PROJECT_FILE}, and nothing was changed",
            args.dir.display()
        )));
    }
    let mut items = Vec::new();
    for (name, text) in FILES {
        let made = make(&root.join(name), text)
            .map_err(|error| CliError::Failed(format!("{}: {error}", args.dir.join(name).display())))?;
        let word = if made { "created" } else { "kept" };
        if !terminal.json_wanted() {
            let paint = terminal.out_paint();
            let painted = if made { paint.good(word) } else { paint.dim("kept   ") };
            terminal.line(&format!("{painted}  {}", clean(&args.dir.join(name).display().to_string())))?;
        }
        items.push(json!({ "file": args.dir.join(name).display().to_string(), "result": word }));
    }
    if terminal.json_wanted() {
        return terminal.json(&json!({ "items": items }));
    }
    say_what_is_next(&args.dir, terminal);
    Ok(())
}

/// Make a file and the folder that it is in. False when there is one.
fn make(path: &Path, text: &str) -> std::io::Result<bool> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::File::create_new(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn say_what_is_next(folder: &Path, terminal: &mut Terminal) {
    terminal.note("\nWhat to do next:");
    if folder != Path::new(".") {
        terminal.note(&format!("  cd {}", clean(&folder.display().to_string())));
    }
    for (command, what) in [
        ("picloud serve --dev", "a server on this machine, in a terminal of its own"),
        ("picloud test scripts", "run the tests; this needs no server"),
        ("picloud deploy", "upload the scripts"),
        ("picloud invoke hello '/?name=Ada'", "call one"),
        ("picloud dev", "upload what changes, and see what happens"),
    ] {
        terminal.note(&format!("  {command:<34} {what}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::commands::tests::picloud_in;
    use crate::exit::Exit;

    #[tokio::test]
    async fn a_new_project_has_a_script_and_tests() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("shop");
        let ran = picloud_in(&[], &["init", root.to_str().unwrap()]).await.expect(Exit::Ok);
        let lines: Vec<&str> = ran.out.lines().collect();
        assert!(lines.len() == 4 && lines.iter().all(|line| line.starts_with("created  ")), "{}", ran.out);
        assert!(ran.err.contains("cd ") && ran.err.contains("picloud serve --dev"), "{}", ran.err);
        let project = crate::project::Project::find(&root.join("scripts")).unwrap().unwrap();
        assert_eq!(project.app.as_deref(), Some("default"));
        assert!(project.scripts.join("hello.rhai").is_file());
    }

    #[tokio::test]
    async fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let hello = folder.path().join("scripts/hello.rhai");
        std::fs::create_dir(folder.path().join("scripts")).unwrap();
        std::fs::write(&hello, "mine").unwrap();
        let path = folder.path().to_str().unwrap();
        let ran = picloud_in(&[], &["init", path, "-o", "json"]).await.expect(Exit::Ok);
        let results: Vec<_> =
            ran.json()["items"].as_array().unwrap().iter().map(|item| item["result"].clone()).collect();
        assert_eq!(results, [json!("created"), json!("kept"), json!("created"), json!("created")]);
        assert_eq!(std::fs::read_to_string(&hello).unwrap(), "mine");
        let ran = picloud_in(&[], &["init", path]).await.expect(Exit::Failed);
        assert!(ran.err.contains("is a project already"), "{}", ran.err);
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ran = picloud_in(&[], &["init", file.path().to_str().unwrap()]).await.expect(Exit::Failed);
        assert!(ran.err.contains("picloud.toml: "), "{}", ran.err);
    }
}
