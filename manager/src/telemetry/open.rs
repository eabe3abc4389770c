//! Opening the telemetry file. It holds nothing that is worth a failed start: a damaged file is put aside.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sqlx::migrate::MigrateError;

use crate::store::{Database, Durability, TELEMETRY_MIGRATOR, retention};

/// The open file.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) path: PathBuf,
    /// How many minutes are stored.
    pub(super) minutes: u64,
}

/// Open the file, or a new one when it is damaged. None when that is impossible, too.
pub(super) async fn open(path: &Path) -> Option<Opened> {
    if beside(path, ".is-damaged").exists() {
        tracing::warn!(path = %path.display(), "the telemetry file was found damaged; starting a new one");
        put_aside(path);
    }
    let error = match try_open(path).await {
        Ok(opened) => return Some(opened),
        Err(error) => error,
    };
    if !error.chain().any(is_damage_of_any_kind) {
        tracing::warn!(error = format!("{error:#}"), "no telemetry is kept");
        return None;
    }
    tracing::warn!(error = format!("{error:#}"), "the telemetry file is damaged; starting a new one");
    put_aside(path);
    match try_open(path).await {
        Ok(opened) => Some(opened),
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "no telemetry is kept");
            None
        }
    }
}

async fn try_open(path: &Path) -> anyhow::Result<Opened> {
    let database = Database::open(path, Durability::Relaxed, &TELEMETRY_MIGRATOR).await?;
    let minutes = async { retention::count_minutes(&mut *database.write.acquire().await?).await }.await;
    match minutes {
        Ok(minutes) => Ok(Opened { database, path: path.to_owned(), minutes }),
        Err(error) => {
            database.close().await;
            Err(error.into())
        }
    }
}

/// Rename the file, replacing what was put aside before, so that damage cannot fill the disk.
fn put_aside(path: &Path) {
    for suffix in ["", "-wal"] {
        let to = beside(path, &format!(".damaged{suffix}"));
        let _ = std::fs::remove_file(&to);
        let _ = std::fs::rename(beside(path, suffix), to);
    }
    for suffix in ["-shm", ".is-damaged"] {
        let _ = std::fs::remove_file(beside(path, suffix));
    }
}

/// Leave word for the next start: damage deep in a file does not show when it is opened.
pub(super) fn mark_damaged(path: &Path) {
    let _ = std::fs::write(beside(path, ".is-damaged"), "");
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Whether the error says that the file's content is not what SQLite wrote.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    const CORRUPT: u32 = 11;
    const NOT_A_DATABASE: u32 = 26;
    let code =
        error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    // The lowest byte of an extended code is the primary one.
    code.is_some_and(|code| matches!(code & 0xff, CORRUPT | NOT_A_DATABASE))
}

/// Damage, or tables that are not ours, such as those of a newer version.
fn is_damage_of_any_kind(error: &(dyn std::error::Error + 'static)) -> bool {
    let migrate = |error: &MigrateError| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            is_damage(error)
                || error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("1"))
        }
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => true,
        _ => false,
    };
    error.downcast_ref::<sqlx::Error>().is_some_and(|error| match error {
        sqlx::Error::Migrate(error) => migrate(error),
        error => is_damage(error),
    }) || error.downcast_ref::<MigrateError>().is_some_and(migrate)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn executions(opened: &Opened) -> i64 {
        sqlx::query_scalar("select count(*) from execution").fetch_one(&opened.database.read).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("telemetry.db");
        for _ in 0..2 {
            std::fs::write(&path, b"this is no database, and it is long enough to look at".repeat(100))
                .unwrap();
            let opened = open(&path).await.unwrap();
            assert_eq!(executions(&opened).await, 0);
            opened.database.close().await;
            assert!(
                std::fs::read(folder.path().join("telemetry.db.damaged")).unwrap().starts_with(b"this is no")
            );
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "only the last one is kept");
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("telemetry.db");
        let opened = open(&path).await.unwrap();
        sqlx::query("update _sqlx_migrations set version = 999 where version = 1")
            .execute(&opened.database.write)
            .await
            .unwrap();
        opened.database.close().await;
        assert_eq!(executions(&open(&path).await.unwrap()).await, 0);
        assert!(folder.path().join("telemetry.db.damaged").exists());
    }

    #[tokio::test]
    async fn damage_found_while_running_shows_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("telemetry.db");
        open(&path).await.unwrap().database.close().await;
        mark_damaged(&path);
        open(&path).await.unwrap().database.close().await;
        assert!(folder.path().join("telemetry.db.damaged").exists());
        assert!(!folder.path().join("telemetry.db.is-damaged").exists());
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_means_no_telemetry_and_no_failure() {
        assert!(open(Path::new("/nonexistent/folder/telemetry.db")).await.is_none());
    }
}
