//! Apps: what owns scripts, keys and quotas.

use picloud_host::call::AppId;
use picloud_host::ports::StoreError;
use sqlx::FromRow;

use crate::name::Name;
use crate::store::{Store, failed};

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct App {
    /// Its name.
    pub name: String,
    /// When it was created, in milliseconds since the Unix epoch.
    #[sqlx(try_from = "i64")]
    pub created_ms: u64,
}

impl Store {
    pub(super) async fn create_default_app(&self) -> Result<(), StoreError> {
        sqlx::query("insert into app (name, created_ms) values ($1, $2) on conflict (name) do nothing")
            .bind(Name::default_app().as_str())
            .bind(self.now_ms())
            .execute(&self.database.write)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// The identity of an app; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn app_id(&self, name: &Name) -> Result<Option<AppId>, StoreError> {
        sqlx::query_scalar("select id from app where name = $1")
            .bind(name.as_str())
            .fetch_optional(&self.database.read)
            .await
            .map(|id| id.map(AppId))
            .map_err(failed)
    }

    /// One app; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn app(&self, name: &Name) -> Result<Option<App>, StoreError> {
        sqlx::query_as("select name, created_ms from app where name = $1")
            .bind(name.as_str())
            .fetch_optional(&self.database.read)
            .await
            .map_err(failed)
    }

    /// At most `limit` apps in the order of their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn apps(&self, after: Option<&Name>, limit: u32) -> Result<Vec<App>, StoreError> {
        // Every name is greater than the empty text.
        sqlx::query_as("select name, created_ms from app where name > $1 order by name limit $2")
            .bind(after.map_or("", Name::as_str))
            .bind(i64::from(limit))
            .fetch_all(&self.database.read)
            .await
            .map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestStore, name};

    #[tokio::test]
    async fn the_default_app_exists_from_the_start_and_keeps_its_identity() {
        let test = TestStore::new().await;
        let id = test.store.app_id(&Name::default_app()).await.unwrap().unwrap();
        let again = test.reopen().await;
        assert_eq!(again.store.app_id(&Name::default_app()).await.unwrap(), Some(id));
        assert_eq!(again.store.apps(None, 10).await.unwrap().len(), 1);
        assert_eq!(again.store.app(&name("other")).await.unwrap(), None);
    }
}
