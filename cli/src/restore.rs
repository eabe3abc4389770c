//! `picloud restore`: a backup becomes the database of a server that does not run.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use picloud_host::ports::SystemClock;
use picloud_manager::store::{self, Database, Durability, Store};
use serde_json::json;

use crate::args::{RestoreArgs, ServeArgs};
use crate::config::ServeConfig;
use crate::data_dir::{self, DATABASE, DataDir};
use crate::env::Env;
use crate::exit::CliError;
use crate::output::Terminal;

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
    let _ = std::fs::remove_file(&new);
    let file = copy(backup, &new).with_context(|| format!("cannot copy {}", backup.display()))?;
    let checked = check(&new).await;
    if checked.is_err() {
        ["", "-wal", "-shm"]
            .iter()
            .for_each(|end| drop(std::fs::remove_file(format!("{}{end}", new.display()))));
    }
    checked.with_context(|| format!("{} is no sound backup", backup.display()))?;
    data_dir::give_to_owner(&file, &data.path("."))?;
    file.sync_all()?;
    let kept = put_aside(&data)?;
    std::fs::rename(&new, data.path(DATABASE))?;
    File::open(data.path("."))?.sync_all()?;
    Ok(kept)
}

/// As [`std::fs::copy`], but into a file that nobody else has put there.
fn copy(from: &Path, to: &Path) -> std::io::Result<File> {
    let mut copied = File::create_new(to)?;
    std::io::copy(&mut File::open(from)?, &mut copied)?;
    Ok(copied)
}

/// Open it as a server would, which brings it up to date, and look whether it is whole.
async fn check(file: &Path) -> anyhow::Result<()> {
    let database = Database::open(file, Durability::Full, &store::MIGRATOR).await?;
    let store = Store::open(database.clone(), Arc::new(SystemClock)).await?;
    let damage = store.damage().await?;
    database.close().await;
    if let Some(damage) = damage {
        bail!("it is damaged: {damage}");
    }
    Ok(())
}

/// Give the database that is there another name, with what its last server has not yet written into it.
fn put_aside(data: &DataDir) -> anyhow::Result<Option<String>> {
    if !data.path(DATABASE).exists() {
        return Ok(None);
    }
    let kept = format!("{DATABASE}.before-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    for end in ["-wal", "-shm", ""] {
        let from = data.path(&format!("{DATABASE}{end}"));
        if from.exists() {
            std::fs::rename(from, data.path(&format!("{kept}{end}")))?;
        }
    }
    Ok(Some(kept))
}
