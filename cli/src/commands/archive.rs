//! `picloud apps export` and `import`: all of an app in one file, and an app out of one.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::apps::path;
use super::backup::download;
use super::{number, text};
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::text::{bytes, clean, counted};

/// How long sending an archive and loading what is in it may take.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// The longest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 1 << 20;

/// Write all of an app into a file.
pub(super) async fn export(
    name: &str,
    file: Option<&Path>,
    api: &Api,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let file = file.map_or_else(|| PathBuf::from(format!("{name}.tar.gz")), Path::to_owned);
    let size = download(&archive(name), &file, api, terminal).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "file": file, "bytes": size }));
    }
    terminal.line(&format!("written  {}  {}", file.display(), bytes(size)))?;
    terminal.note("the values of secrets are not in it");
    Ok(())
}

fn archive(name: &str) -> String {
    format!("{}/archive", path(name))
}

/// Make an app of a file.
pub(super) async fn import(
    file: &Path,
    name: Option<&str>,
    api: &Api,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", file.display()));
    let mut opened = File::open(file).map_err(failed)?;
    if !opened.metadata().map_err(failed)?.is_file() {
        return Err(CliError::Failed(format!("{} is no file", file.display())));
    }
    let name = match name {
        Some(name) => name.to_owned(),
        None => named(&opened).map_err(failed)?,
    };
    opened.seek(SeekFrom::Start(0)).map_err(failed)?;
    let size = opened.metadata().map_err(failed)?.len();
    // A server that refuses what is still being sent may not be heard.
    let found = api.http().send(Call::api(Method::GET, path(&name))).await?;
    if found.status == StatusCode::OK {
        let name = clean(&name);
        return Err(CliError::Failed(format!(
            "there is an app {name} already: --as makes one of another name"
        )));
    }
    let bar = terminal.bytes_progress();
    bar.set_length(size);
    let sending = bar.clone();
    let call =
        Call { timeout: PATIENCE, ..Call::api(Method::PUT, archive(&name)).body("application/gzip", "") };
    let made = api.upload(call, opened, move |sent| sending.set_position(sent)).await;
    bar.finish_and_clear();
    tell(&name, &made?, terminal)
}

fn tell(name: &str, made: &Value, terminal: &mut Terminal) -> Result<(), CliError> {
    if terminal.json_wanted() {
        return terminal.json(made);
    }
    terminal.line(&format!("made  {}", clean(name)))?;
    let parts = [
        ("scripts", "script"),
        ("versions", "version"),
        ("routes", "route"),
        ("triggers", "trigger"),
        ("config", "configuration value"),
        ("keys", "key"),
    ];
    let parts = parts.map(|(member, what)| counted(number(made, member), what));
    terminal.line(&format!("      {}", parts.join(", ")))?;
    let expired = number(made, "expired_keys");
    if expired > 0 {
        terminal.note(&format!("{expired} keys have expired and were left out"));
    }
    for version in made["left_out"].as_array().into_iter().flatten() {
        let (script, detail) = (clean(&text(version, "script")), clean(&text(version, "detail")));
        let version = number(version, "number");
        terminal
            .note(&format!("version {version} of {script} does not load here and was left out: {detail}"));
    }
    for secret in made["missing_secrets"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        terminal.note(&format!(
            "a secret has to be set: picloud secrets set {} --app {}",
            clean(secret),
            clean(name)
        ));
    }
    Ok(())
}

/// The name of the app that an archive is of.
fn named(file: &File) -> std::io::Result<String> {
    #[derive(Deserialize)]
    struct Manifest {
        app: String,
    }
    let wrong = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned());
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    // Raw, as the server reads it: nothing else is made sense of.
    for entry in archive.entries()?.raw(true) {
        let entry = entry?;
        if matches!(&*entry.path_bytes(), b"manifest.json" | b"./manifest.json") {
            let manifest: Result<Manifest, _> = serde_json::from_reader(entry.take(MAX_MANIFEST));
            return manifest
                .map(|manifest| manifest.app)
                .map_err(|_| wrong("its manifest.json is not understood"));
        }
    }
    Err(wrong("it is no archive of an app: there is no manifest.json in it"))
}
