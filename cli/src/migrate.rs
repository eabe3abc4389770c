//! `picloud migrate`: a database file becomes another one, which is up to date and has no gaps. The old one stays as it is.

mod workshop;

use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, bail, ensure};
use picloud_manager::store::migrate::{self, Kind, Migrated};
use serde_json::{Value, json};

use crate::args::MigrateArgs;
use crate::data_dir;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::text::{bytes, thousands};
use crate::secret_key::KEY_IS_NOT_IN_IT;
use workshop::{Workshop, beside};

/// What SQLite keeps beside a database: changes that are not in it yet, and what is needed to undo half a change.
const PARTS: [&str; 3] = ["", "-wal", "-journal"];

/// Make a database file of another one.
///
/// # Errors
///
/// The new file is there already or cannot be written; the old one is in use, damaged, or none of PiCloud's.
pub async fn run(args: MigrateArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    let MigrateArgs { from, to } = args;
    data_dir::keep_new_files_private();
    for part in ["", "-wal", "-shm", "-journal"] {
        let file = beside(&to, part);
        // A log that another database has left would be taken for a part of this one.
        if file.symlink_metadata().is_ok() {
            let file = file.display();
            return Err(CliError::Usage(format!("{file} is there already: no file is replaced")));
        }
    }
    let done = make(&from, &to, terminal).await;
    let done = done.map_err(|error| CliError::Failed(format!("nothing was migrated: {error:#}")))?;
    show(&from, &to, &done, terminal)
}

struct Done {
    migrated: Migrated,
    old_bytes: u64,
    bytes: u64,
}

/// The new file appears under its name when all of it is there, compared, and on the disk.
async fn make(from: &Path, to: &Path, terminal: &Terminal) -> anyhow::Result<Done> {
    // SQLite looks for the parts beside the file itself, not beside a link to it.
    let real = from.canonicalize().with_context(|| format!("cannot read {}", from.display()))?;
    ensure!(real.is_file(), "{} is no file", from.display());
    // Held until the copy is there, so that no server writes meanwhile.
    let lock = data_dir::keep_servers_away(real.parent().unwrap_or(Path::new("/")));
    let lock = lock.context("stop the server first")?;
    let workshop = Workshop::open(to)?;
    let (copy, new) = (workshop.path("old.db"), workshop.path("new.db"));
    let old_bytes = copy_still(&real, &copy)?;
    drop(lock);

    let bar = terminal.progress(1);
    let watch = |table: &str, done, of| {
        bar.set_length(of);
        bar.set_position(done);
        bar.set_message(table.to_owned());
    };
    let migrated = migrate::migrate(&copy, &new, &watch).await;
    bar.finish_and_clear();
    let migrated = migrated.with_context(|| format!("{} cannot be used", from.display()))?;

    let file = File::open(&new)?;
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    // A link fails if the name is there, where renaming would replace what has appeared meanwhile.
    std::fs::hard_link(&new, to).with_context(|| format!("cannot make {}", to.display()))?;
    File::open(workshop.parent())?.sync_all()?;
    Ok(Done { migrated, old_bytes, bytes })
}

/// Copy a database with its parts. Whoever else writes to it, such as a shell of SQLite, would spoil the copy. Returns how
/// large it is.
fn copy_still(from: &Path, to: &Path) -> anyhow::Result<u64> {
    let before = states(from);
    let mut size = 0;
    for part in PARTS {
        let file = beside(from, part);
        match copy_file(&file, &beside(to, part)) {
            Ok(bytes) => size += bytes,
            Err(error) if !part.is_empty() && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot copy {}", file.display())),
        }
    }
    if states(from) != before {
        bail!("{} was written to while it was read: end whatever uses it", from.display());
    }
    Ok(size)
}

/// As [`std::fs::copy`], but a copy of what may only be read can be written to.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<u64> {
    let mut from = File::open(from)?;
    std::io::copy(&mut from, &mut File::create_new(to)?)
}

/// The size of each part that is there, and when it was last written to.
fn states(database: &Path) -> [Option<(u64, SystemTime)>; 3] {
    PARTS.map(|part| {
        let found = std::fs::metadata(beside(database, part)).ok()?;
        Some((found.len(), found.modified().ok()?))
    })
}

fn show(from: &Path, to: &Path, done: &Done, terminal: &mut Terminal) -> Result<(), CliError> {
    let Done { migrated, old_bytes, bytes: new_bytes } = done;
    let Migrated { kind, old_schema, schema, tables } = migrated;
    if terminal.json_wanted() {
        let tables: Vec<Value> = tables
            .iter()
            .map(|found| {
                let digest: String = found.digest.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ "table": found.table, "rows": found.rows, "bytes": found.bytes, "sha256": digest })
            })
            .collect();
        terminal.json(&json!({
            "from": from, "to": to, "kind": kind.as_str(), "old_schema": old_schema, "schema": schema,
            "old_bytes": old_bytes, "bytes": new_bytes, "tables": tables,
        }))?;
    } else {
        let mut table = Table::new(&["TABLE", ">ROWS", ">BYTES"]);
        for found in tables {
            table.row(vec![found.table.clone(), thousands(found.rows), thousands(found.bytes)]);
        }
        terminal.line(&table.render(terminal.out_paint()))?;
        let sizes = format!("{} instead of {}", bytes(*new_bytes), bytes(*old_bytes));
        terminal
            .line(&format!("written  {}  {sizes}, schema {schema} instead of {old_schema}", to.display()))?;
    }
    if *kind == Kind::Main {
        terminal.note(KEY_IS_NOT_IN_IT);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_copy_has_the_parts_that_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.db"), folder.path().join("b.db"));
        std::fs::write(&from, "main").unwrap();
        std::fs::set_permissions(&from, Permissions::from_mode(0o400)).unwrap();
        std::fs::write(beside(&from, "-wal"), "log").unwrap();
        assert_eq!(copy_still(&from, &to).unwrap(), 7);
        assert_eq!(std::fs::read(&to).unwrap(), b"main");
        assert!(!std::fs::metadata(&to).unwrap().permissions().readonly(), "it is to be brought up to date");
        assert_eq!(std::fs::read(beside(&to, "-wal")).unwrap(), b"log");
        assert!(!beside(&to, "-journal").exists());
        let missing = folder.path().join("c.db");
        assert!(copy_still(&missing, &to).is_err());
    }
}
