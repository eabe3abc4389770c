//! `picloud restore`: a backup becomes the database of a server that does not run.

use std::fs::File;
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use picloud_manager::store::migrate::{self, Kind};
use serde_json::json;

use crate::args::{RestoreArgs, ServeArgs};
use crate::config::ServeConfig;
use crate::data_dir::{self, DATABASE, DataDir};
use crate::env::Env;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::owner::STDIN;

/// What a database may have beside it, and itself last: as long as that is there, the others are its own.
const PARTS: [&str; 4] = ["-wal", "-shm", "-journal", ""];

/// Put a backup into a data directory. What is there is kept beside it under another name.
///
/// # Errors
///
/// The file is no backup or is damaged, a server uses the data directory, or it cannot be written.
pub async fn run(args: RestoreArgs, env: &Env, terminal: &mut Terminal) -> Result<(), CliError> {
    let RestoreArgs { file, data_dir, config } = args;
    let config = ServeConfig::resolve(&ServeArgs { data_dir, config, ..ServeArgs::default() }, env)?;
    let restored = restore(&file, &config).await;
    let kept = restored.map_err(|error| CliError::Failed(format!("nothing was restored: {error:#}")))?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "data_dir": config.data_dir, "kept": kept }));
    }
    terminal.line(&format!("restored  {}", config.data_dir.display()))?;
    if let Some(kept) = kept {
        terminal.note(&format!("what was there is in {kept} now"));
    }
    Ok(())
}

/// Returns under which name the old database is kept, if there was one.
async fn restore(backup: &Path, config: &ServeConfig) -> anyhow::Result<Option<String>> {
    data_dir::keep_new_files_private();
    let data = DataDir::open(&config.data_dir)?;
    let new = data.path("picloud.db.restore");
    // Of one that was killed: SQLite would take its log for that of this one.
    discard(&new);
    let made = make(backup, &new).await;
    if made.is_err() {
        discard(&new);
    }
    made?;
    let kept = put_aside(&data)?;
    std::fs::rename(&new, data.path(DATABASE))?;
    File::open(data.path("."))?.sync_all()?;
    Ok(kept)
}

/// Remove a database with all of its parts.
fn discard(database: &Path) {
    PARTS.iter().for_each(|part| drop(std::fs::remove_file(format!("{}{part}", database.display()))));
}

/// Make a database of a backup, which is whole, up to date and on the disk.
async fn make(backup: &Path, new: &Path) -> anyhow::Result<()> {
    let name = if backup == Path::new(STDIN) { "standard input".into() } else { backup.to_string_lossy() };
    let file = copy(backup, new).with_context(|| format!("cannot copy {name}"))?;
    let updated = migrate::update(new, Kind::Main).await;
    updated.with_context(|| format!("{name} is no sound backup"))?;
    file.sync_all()?;
    Ok(())
}

/// As [`std::fs::copy`], but into a file that nobody else has put there.
fn copy(from: &Path, to: &Path) -> std::io::Result<File> {
    let mut copied = File::create_new(to)?;
    if from == Path::new(STDIN) {
        std::io::copy(&mut std::io::stdin().lock(), &mut copied)?;
    } else {
        std::io::copy(&mut File::open(from)?, &mut copied)?;
    }
    Ok(copied)
}

/// Give the database that is there another name, with what its last server has not yet written into it.
fn put_aside(data: &DataDir) -> anyhow::Result<Option<String>> {
    let now = format!("{DATABASE}.before-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    // Another restoring may have been in the same second, and what it has kept must stay.
    let names = std::iter::once(now.clone()).chain((2..).map(|number| format!("{now}-{number}")));
    let is_free = |name: &String| PARTS.iter().all(|part| !data.path(&format!("{name}{part}")).exists());
    let kept = names.into_iter().find(is_free).unwrap_or(now);
    let was_there = data.path(DATABASE).exists();
    // Also those of a database that is gone: they must not become parts of the new one.
    for part in PARTS {
        let from = data.path(&format!("{DATABASE}{part}"));
        if from.exists() {
            std::fs::rename(from, data.path(&format!("{kept}{part}")))?;
        }
    }
    Ok(was_there.then_some(kept))
}
