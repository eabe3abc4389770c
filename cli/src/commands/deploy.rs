//! `picloud deploy`: uploads scripts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::{Method, StatusCode};
use picloud_host::call::SourceHash;
use picloud_host::limits::LIMITS;
use serde_json::{Value, json};

use super::request::read_file;
use super::{number, text};
use crate::args::DeployArgs;
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::{CliError, Exit};
use crate::output::diagnostic::Diagnostic;
use crate::output::text::{bytes, clean, thousands};
use crate::output::{Terminal, error_document};

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Created,
    Updated,
    Unchanged,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Upload every file, going on after those that fail.
///
/// # Errors
///
/// The arguments are wrong, the server cannot be reached, or a file could not be uploaded.
pub async fn run(args: &DeployArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let mut items = Vec::new();
    let mut failed = false;
    for (name, file) in find_scripts(args)? {
        match deploy(&name, &file, api, terminal).await {
            Ok((change, script)) => {
                if !terminal.json_wanted() {
                    let line = summary(&name, change, &script, api, terminal);
                    terminal.line(&line)?;
                }
                let file = file.display().to_string();
                items.push(json!({ "file": file, "name": name, "result": change.word(), "script": script }));
            }
            Err(error) if error.is_final() => return Err(error),
            Err(error) => {
                failed = true;
                terminal.report(&error);
                let mut item =
                    json!({ "file": file.display().to_string(), "name": name, "result": "failed" });
                item["error"] = error_document(&error)["error"].take();
                items.push(item);
            }
        }
    }
    if terminal.json_wanted() {
        terminal.json(&json!({ "items": items }))?;
    }
    if failed { Err(CliError::Reported(Exit::Failed)) } else { Ok(()) }
}

/// The scripts that the arguments mean, each with its name, in the order they were given.
fn find_scripts(args: &DeployArgs) -> Result<Vec<(String, PathBuf)>, CliError> {
    let mut files = Vec::new();
    for path in &args.files {
        if path.is_dir() {
            let is_for_tests = |path: &PathBuf| {
                path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_test"))
            };
            files.extend(scripts_in(path)?.into_iter().filter(|path| !is_for_tests(path)));
        } else {
            files.push(path.clone());
        }
    }
    if let Some(name) = &args.name {
        return match <[PathBuf; 1]>::try_from(files) {
            Ok([file]) => Ok(vec![(name.clone(), file)]),
            Err(files) => {
                Err(CliError::Usage(format!("--name names one script, but there are {} files", files.len())))
            }
        };
    }
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut scripts = Vec::new();
    for file in files {
        let name = file.file_stem().and_then(|stem| stem.to_str()).ok_or_else(|| {
            CliError::Usage(format!(
                "{}: its name cannot be a script's; give it one with --name",
                file.display()
            ))
        })?;
        match seen.insert(name.to_owned(), file.clone()) {
            None => scripts.push((name.to_owned(), file)),
            Some(other) if other == file => {}
            Some(other) => {
                let (one, two) = (other.display(), file.display());
                return Err(CliError::Usage(format!(
                    "{one} and {two} would both become the script `{name}`"
                )));
            }
        }
    }
    Ok(scripts)
}

/// Every `*.rhai` in a folder, by name. Folders in it are not looked into.
pub(crate) fn scripts_in(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let wrong = |error: std::io::Error| CliError::Failed(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|extension| extension == "rhai") && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(CliError::Usage(format!("there is no *.rhai in {}", folder.display())));
    }
    files.sort();
    Ok(files)
}

async fn deploy(
    name: &str,
    file: &Path,
    api: &Api,
    terminal: &Terminal,
) -> Result<(Change, Value), CliError> {
    let source = read_source(file)?;
    let path = api.path(["scripts", name]);
    // What is there now tells an unchanged script from one with a new version.
    let before = match api.get(path.clone()).await {
        Ok(script) => Some(script),
        Err(CliError::Problem(problem)) if problem.code.as_deref() == Some("script-not-found") => None,
        Err(error) => return Err(describe(error, file, &source, terminal)),
    };
    let call = Call::api(Method::PUT, path).body("text/plain; charset=utf-8", source.clone());
    let (status, script) = api.json(call).await.map_err(|error| describe(error, file, &source, terminal))?;
    let hash = SourceHash::of(&source).to_hex();
    let same = |before: &Value| {
        text(before, "source_hash") == hash && before.get("version") == script.get("version")
    };
    let change = match status {
        StatusCode::CREATED => Change::Created,
        _ if before.as_ref().is_some_and(same) => Change::Unchanged,
        _ => Change::Updated,
    };
    Ok((change, script))
}

/// Read a source. One that no server would take is refused here, before it is sent.
pub(crate) fn read_source(file: &Path) -> Result<String, CliError> {
    let most = LIMITS.iter().find(|row| row.name == "source_bytes").map_or(4 << 20, |row| row.maximum);
    let source = read_file(file, usize::try_from(most).unwrap_or(usize::MAX)).map_err(CliError::Failed)?;
    String::from_utf8(source).map_err(|error| {
        let valid = error.as_bytes()[..error.utf8_error().valid_up_to()].to_vec();
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        CliError::Failed(format!("{}: line {line} is not UTF-8", file.display()))
    })
}

/// What a refusal means for the file.
fn describe(error: CliError, file: &Path, source: &str, terminal: &Terminal) -> CliError {
    match error {
        CliError::Problem(problem) if !problem.is_refusal() => {
            let mut diagnostic =
                Diagnostic::of_problem(&problem).in_source(file.display().to_string(), source);
            if problem.code.as_deref() == Some("name-invalid") && !terminal.json_wanted() {
                diagnostic.notes.push(("help", "give the script another name with --name".to_owned()));
            }
            CliError::Diagnostic(Box::new(diagnostic))
        }
        other => other,
    }
}

fn summary(name: &str, change: Change, script: &Value, api: &Api, terminal: &Terminal) -> String {
    let paint = terminal.out_paint();
    let word = format!("{:<9}", change.word());
    let word = if change == Change::Unchanged { paint.dim(&word) } else { paint.good(&word) };
    format!(
        "{word}  {}  version {}  {}  image {}  load fuel {}",
        paint.bold(&clean(name)),
        number(script, "version"),
        clean(&api.url(&text(script, "url"))),
        bytes(number(script, "image_bytes")),
        thousands(number(script, "load_fuel")),
    )
}
