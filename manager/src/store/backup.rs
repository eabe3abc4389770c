//! Backups: a copy of the whole database as it was at one moment.

use std::path::PathBuf;

use picloud_host::ports::StoreError;
use sqlx::ConnectOptions as _;

use crate::store::{Store, failed};

impl Store {
    /// Write a copy of the database into a file beside it, in the place of one that is there, and tell where it is. Others read
    /// and write on meanwhile, and nothing that they do from now on is in it.
    ///
    /// # Errors
    ///
    /// The database failed, or the disk is full.
    pub async fn copy_for_backup(&self) -> Result<PathBuf, StoreError> {
        let options = self.database.write.connect_options();
        let file = self.backup_file();
        self.discard_backup()?;
        // A connection of its own: none of those that others wait for is taken for as long as this may last.
        let mut connection = options.as_ref().clone().connect().await.map_err(failed)?;
        let path =
            file.to_str().ok_or_else(|| StoreError("the path of the database is no text".to_owned()))?;
        let copied = sqlx::query("vacuum into $1").bind(path).execute(&mut connection).await;
        if copied.is_err() {
            // A disk that is full must not stay so.
            let _ = std::fs::remove_file(&file);
        }
        copied.map_err(failed)?;
        Ok(file)
    }

    /// Remove what a server has left that was killed while it made a copy.
    ///
    /// # Errors
    ///
    /// It is there, and cannot be removed.
    pub fn discard_backup(&self) -> Result<(), StoreError> {
        for part in ["-journal", ""] {
            let mut file = self.backup_file().into_os_string();
            file.push(part);
            match std::fs::remove_file(file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn backup_file(&self) -> PathBuf {
        let mut file = self.database.write.connect_options().get_filename().as_os_str().to_owned();
        file.push(".backup");
        file.into()
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;
    use crate::store::Precondition;
    use crate::store::testing::{TestStore, name, upload};

    #[tokio::test]
    async fn a_copy_has_what_was_there_and_nothing_that_came_later() {
        let test = TestStore::new().await;
        let put = async |script: &str| {
            let none = Precondition::default();
            test.store.put_script(test.app, &name(script), &upload("1"), &none).await.unwrap();
        };
        let names = async |file: PathBuf| -> Vec<String> {
            let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
            let sound: String =
                sqlx::query_scalar("pragma integrity_check").fetch_one(&mut connection).await.unwrap();
            assert_eq!(sound, "ok");
            sqlx::query_scalar("select name from script order by name")
                .fetch_all(&mut connection)
                .await
                .unwrap()
        };
        put("a").await;
        let first = test.store.copy_for_backup().await.unwrap();
        put("b").await;
        assert_eq!(names(first).await, ["a"]);
        let second = test.store.copy_for_backup().await.unwrap();
        assert_eq!(names(second.clone()).await, ["a", "b"]);
        test.store.discard_backup().unwrap();
        assert!(!second.exists());
        test.store.discard_backup().unwrap();
    }
}
