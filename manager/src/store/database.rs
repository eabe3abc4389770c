//! One SQLite file: a pool of readers and a single writer, which is all that SQLite can use.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};

/// What a power cut may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed: every commit waits for the disk.
    Full,
    /// The last commits, never the consistency of the file.
    Relaxed,
}

/// An open database file, migrated to the newest schema.
#[derive(Debug, Clone)]
pub struct Database {
    /// For queries. Each connection sees what was committed when its statement started.
    pub read: SqlitePool,
    /// For changes: one connection, so that writers queue here instead of failing as busy.
    pub write: SqlitePool,
}

impl Database {
    /// Open the file, creating it if it is not there, and migrate it.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, is no SQLite database, or was written by a newer PiCloud.
    pub async fn open(path: &Path, durability: Durability, migrator: &Migrator) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                Durability::Full => SqliteSynchronous::Full,
                // Not `Off`: without any sync a power cut can leave a broken file.
                Durability::Relaxed => SqliteSynchronous::Normal,
            })
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10))
            .pragma("journal_size_limit", "67108864")
            .statement_cache_capacity(128);
        // What is relaxed is bounded in size, too, and must be able to shrink.
        let vacuum = match durability {
            Durability::Full => SqliteAutoVacuum::None,
            Durability::Relaxed => SqliteAutoVacuum::Incremental,
        };
        let open = || async {
            // No idle timeout and no lifetime: either would wake an idle process up.
            let pool =
                || SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None).test_before_acquire(false);
            let write = pool().max_connections(1).connect_with(options.clone().auto_vacuum(vacuum)).await?;
            migrator.run(&write).await?;
            let read =
                pool().max_connections(4).min_connections(1).connect_with(options.read_only(true)).await?;
            anyhow::Ok(Self { read, write })
        };
        open().await.with_context(|| format!("cannot open the database {}", path.display()))
    }

    /// Close every connection, writing the log back into the file.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}
