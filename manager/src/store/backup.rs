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
        let mut file = options.get_filename().as_os_str().to_owned();
        file.push(".backup");
        let file = PathBuf::from(file);
        // What a crash has left.
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
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

    /// What is wrong with the database file, if anything is.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn damage(&self) -> Result<Option<String>, StoreError> {
        let found: String = sqlx::query_scalar("pragma integrity_check(1)")
            .fetch_one(&self.database.read)
            .await
            .map_err(failed)?;
        Ok((found != "ok").then_some(found))
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
        assert_eq!(names(test.store.copy_for_backup().await.unwrap()).await, ["a", "b"]);
    }
}
