//! A database file as another one: in the newest schema, without gaps, and compared row by row with what it was made of.
//!
//! `vacuum into` makes it. Copying rows over statements of ours would have to switch the triggers off that count what apps
//! keep, and set the sequences of identities by hand; SQLite does neither wrong, and is several times as fast.

mod contents;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use crate::store::{MIGRATOR, TELEMETRY_MIGRATOR};
pub use contents::Contents;

/// Which of its two files a server has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `picloud.db`.
    Main,
    /// `telemetry.db`.
    Telemetry,
}

impl Kind {
    /// Its name in results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Telemetry => "telemetry",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Main => "picloud",
            Self::Telemetry => "telemetry",
        }
    }

    fn migrator(self) -> &'static Migrator {
        match self {
            Self::Main => &MIGRATOR,
            Self::Telemetry => &TELEMETRY_MIGRATOR,
        }
    }
}

/// A file that was made of another one.
#[derive(Debug)]
pub struct Migrated {
    /// What both are.
    pub kind: Kind,
    /// The number of the newest migration that the old file had.
    pub old_schema: i64,
    /// The number of the newest migration that the new file has.
    pub schema: i64,
    /// What is in it, by table.
    pub tables: Vec<Contents>,
}

/// How far it is: a table, how many rows were read so far, and how many there are to be read.
pub type Watch<'a> = &'a (dyn Fn(&str, u64, u64) + Sync);

/// Make a new file of another one, which is brought up to date first: nobody else may use it, and it should be a copy.
///
/// # Errors
///
/// The old file is none of PiCloud's, of a newer PiCloud, damaged, or has what PiCloud does not know; the new one is there
/// already, cannot be written, or is not the same as the old one.
pub async fn migrate(old: &Path, new: &Path, watch: Watch<'_>) -> anyhow::Result<Migrated> {
    let mut from = open(old).await?;
    let migrated = migrate_open(&mut from, new, watch).await;
    from.close().await?;
    migrated
}

/// Bring a file up to date that is a copy: nobody else may use it.
///
/// # Errors
///
/// It is not of this kind, of a newer PiCloud, damaged, or has what PiCloud does not know.
pub async fn update(file: &Path, wanted: Kind) -> anyhow::Result<()> {
    let mut connection = open(file).await?;
    let updated = async {
        let found = kind(&mut connection).await?;
        ensure!(found == wanted, "it is a {}.db, and a {}.db is needed", found.file(), wanted.file());
        check(&mut connection).await?;
        wanted.migrator().run(&mut connection).await.map_err(|error| explain(error, wanted))?;
        compare_layouts(&fresh_layout(wanted).await?, &layout(&mut connection).await?)
    };
    let updated = updated.await;
    connection.close().await?;
    updated
}

/// Few rows are read ahead: one may have megabytes.
async fn open(file: &Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .foreign_keys(true)
        // It is a copy: whoever loses power begins anew.
        .synchronous(SqliteSynchronous::Off)
        .row_buffer_size(4);
    options.connect().await.context("it cannot be read as a database")
}

async fn migrate_open(from: &mut SqliteConnection, new: &Path, watch: Watch<'_>) -> anyhow::Result<Migrated> {
    let kind = kind(from).await?;
    check(from).await?;
    let old_schema = schema(from).await?;
    kind.migrator().run(&mut *from).await.map_err(|error| explain(error, kind))?;
    let known = fresh_layout(kind).await?;
    compare_layouts(&known, &layout(from).await?)?;
    let rows = contents::count(from).await?;
    let tables = contents::read(from, &|table, done| watch(table, done, rows * 2)).await?;

    let path = new.to_str().context("the path of the new file is no text")?;
    sqlx::query("vacuum into $1").bind(path).execute(&mut *from).await?;

    let mut to = open(new).await?;
    check(&mut to).await.context("the new file is not sound")?;
    compare_layouts(&known, &layout(&mut to).await?).context("the new file is not sound")?;
    let copied = contents::read(&mut to, &|table, done| watch(table, rows + done, rows * 2)).await?;
    let schema = schema(&mut to).await?;
    to.close().await?;
    if let Some(table) = contents::difference(&tables, &copied) {
        bail!("the table `{table}` is not the same in the new file");
    }
    Ok(Migrated { kind, old_schema, schema, tables })
}

async fn kind(connection: &mut SqliteConnection) -> anyhow::Result<Kind> {
    let query = "select name from sqlite_schema
                 where  type = 'table' and name in ('_sqlx_migrations', 'app', 'execution') order by name";
    let tables: Vec<String> =
        sqlx::query_scalar(query).fetch_all(connection).await.context("it cannot be read as a database")?;
    match tables.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["_sqlx_migrations", "app"] => Ok(Kind::Main),
        ["_sqlx_migrations", "execution"] => Ok(Kind::Telemetry),
        _ => bail!("it is a database, but none of PiCloud's"),
    }
}

/// Whether every page is what it should be, and every row refers to one that is there.
async fn check(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let found: String = sqlx::query_scalar("pragma integrity_check(1)")
        .fetch_one(&mut *connection)
        .await
        .context("it is damaged")?;
    ensure!(found == "ok", "it is damaged: {found}");
    let strays: Option<String> = sqlx::query_scalar("select \"table\" from pragma_foreign_key_check limit 1")
        .fetch_optional(connection)
        .await?;
    if let Some(table) = strays {
        bail!("it is damaged: rows of the table `{table}` belong to others that are not there");
    }
    Ok(())
}

async fn schema(connection: &mut SqliteConnection) -> anyhow::Result<i64> {
    let query = "select coalesce(max(version), 0) from _sqlx_migrations";
    Ok(sqlx::query_scalar(query).fetch_one(connection).await?)
}

fn explain(error: MigrateError, kind: Kind) -> anyhow::Error {
    let newest = kind.migrator().iter().map(|migration| migration.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(version) if version > newest => anyhow::anyhow!(
            "it was written by a newer PiCloud: its schema is {version}, and this one knows {newest}"
        ),
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            anyhow::anyhow!("its schema is none that a release of PiCloud has: {version} is another one")
        }
        error => anyhow::Error::new(error).context("it cannot be brought up to date"),
    }
}

/// A table with its columns, or an index, a trigger or a view.
type Layout = BTreeSet<(String, String, String)>;

async fn layout(connection: &mut SqliteConnection) -> anyhow::Result<Layout> {
    let query = "select m.type, m.name,
                        coalesce((select group_concat(c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk)
                                  from   pragma_table_info(m.name) c), '')
                 from   sqlite_schema m
                 where  m.name not like 'sqlite\\_%' escape '\\'";
    let rows: Vec<(String, String, String)> = sqlx::query_as(query).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

/// What a new file of a new server has.
async fn fresh_layout(kind: Kind) -> anyhow::Result<Layout> {
    let mut fresh = SqliteConnectOptions::new().in_memory(true).connect().await?;
    kind.migrator().run(&mut fresh).await?;
    let layout = layout(&mut fresh).await;
    fresh.close().await?;
    layout
}

/// What somebody else has added would not be understood, and what is missing would be missed.
fn compare_layouts(known: &Layout, found: &Layout) -> anyhow::Result<()> {
    if let Some((kind, name, _)) = found.difference(known).next() {
        bail!("its {kind} `{name}` is none of PiCloud's");
    }
    if let Some((kind, name, _)) = known.difference(found).next() {
        bail!("its {kind} `{name}` is missing");
    }
    Ok(())
}
