//! Configuration values of apps: what was set for their scripts.

use picloud_host::call::{AppId, SourceHash};
use picloud_host::ports::StoreError;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::column::to_u64;
use crate::store::script::Put;
use crate::store::{ChangeError, Precondition, Store, failed};

/// The most values that an app can have.
pub const MAX_CONFIG_VALUES: i64 = 100;

/// The longest value, in bytes of JSON text.
pub const MAX_CONFIG_BYTES: u64 = 64 << 10;

/// A value with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigValue {
    /// Its name, unique in the app.
    pub name: String,
    /// JSON text.
    pub value: String,
    /// When it was last set, in milliseconds since the Unix epoch.
    pub updated_ms: u64,
}

impl ConfigValue {
    /// The entity tag, without quotes.
    #[must_use]
    pub fn tag(&self) -> String {
        tag(&self.value)
    }
}

/// The tag of a value: its hash.
#[must_use]
pub fn tag(value: &str) -> String {
    SourceHash::of(value).to_hex()
}

#[derive(FromRow)]
struct Row {
    name: String,
    value: String,
    updated_ms: i64,
}

impl From<Row> for ConfigValue {
    fn from(row: Row) -> Self {
        Self { name: row.name, value: row.value, updated_ms: to_u64(row.updated_ms) }
    }
}

/// Every value of an app, by name.
pub(super) async fn all_of(connection: &mut SqliteConnection, app: AppId) -> sqlx::Result<Vec<ConfigValue>> {
    let select = "select name, value, updated_ms from config_value where app_id = $1 order by name";
    let rows: Vec<Row> = sqlx::query_as(select).bind(app.0).fetch_all(connection).await?;
    Ok(rows.into_iter().map(ConfigValue::from).collect())
}

impl Store {
    /// Set a value. The caller has checked that it is JSON and not too long.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Precondition`], [`ChangeError::TooManySettings`] and [`ChangeError::NoApp`]; the database failed.
    pub async fn put_config(
        &self,
        app: AppId,
        name: &Name,
        value: &str,
        precondition: &Precondition,
    ) -> Result<Put, ChangeError> {
        let mut tx = self.begin().await?;
        let select = sqlx::query_scalar("select value from config_value where app_id = $1 and name = $2");
        let before: Option<String> = select.bind(app.0).bind(name.as_str()).fetch_optional(&mut *tx).await?;
        precondition.check(before.as_deref().map(tag).as_deref())?;
        if before.is_none() {
            let count = sqlx::query_scalar("select count(*) from config_value where app_id = $1").bind(app.0);
            let count: i64 = count.fetch_one(&mut *tx).await?;
            if count >= MAX_CONFIG_VALUES {
                return Err(ChangeError::TooManySettings);
            }
        }
        sqlx::query(
            "insert into config_value (app_id, name, value, created_ms, updated_ms)
             values ($1, $2, $3, $4, $4)
             on conflict (app_id, name) do update set value = excluded.value, updated_ms = excluded.updated_ms",
        )
        .bind(app.0)
        .bind(name.as_str())
        .bind(value)
        .bind(self.now_ms())
        .execute(&mut *tx)
        .await
        .map_err(ChangeError::of_insert)?;
        tx.commit().await?;
        Ok(if before.is_some() { Put::Replaced } else { Put::Created })
    }

    /// Delete a value.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoConfig`] and [`ChangeError::Precondition`]; the database failed.
    pub async fn delete_config(
        &self,
        app: AppId,
        name: &Name,
        precondition: &Precondition,
    ) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let delete = "delete from config_value where app_id = $1 and name = $2 returning value";
        let value: Option<String> =
            sqlx::query_scalar(delete).bind(app.0).bind(name.as_str()).fetch_optional(&mut *tx).await?;
        precondition.check(Some(&tag(&value.ok_or(ChangeError::NoConfig)?)))?;
        tx.commit().await?;
        Ok(())
    }

    /// One value; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn config_value(&self, app: AppId, name: &Name) -> Result<Option<ConfigValue>, StoreError> {
        let select = "select name, value, updated_ms from config_value where app_id = $1 and name = $2";
        let row: Option<Row> = sqlx::query_as(select)
            .bind(app.0)
            .bind(name.as_str())
            .fetch_optional(&self.database.read)
            .await
            .map_err(failed)?;
        Ok(row.map(ConfigValue::from))
    }

    /// At most `limit` values of an app in the order of their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn config_values(
        &self,
        app: AppId,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<ConfigValue>, StoreError> {
        let query = "select name, value, updated_ms
                     from   config_value
                     where  app_id = $1 and name > $2
                     order  by name
                     limit  $3";
        let query = sqlx::query_as(query).bind(app.0).bind(after.map_or("", Name::as_str));
        let rows: Vec<Row> =
            query.bind(i64::from(limit)).fetch_all(&self.database.read).await.map_err(failed)?;
        Ok(rows.into_iter().map(ConfigValue::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use picloud_host::limits::Limits;
    use picloud_host::quota::Quotas;

    use super::*;
    use crate::store::testing::{TestStore, name};
    use crate::store::{Tag, Tags};

    #[tokio::test]
    async fn a_value_is_there_after_a_restart_and_in_the_active_set() {
        let test = TestStore::new().await;
        let any = Precondition::default();
        assert_eq!(test.store.put_config(test.app, &name("a"), "1", &any).await.unwrap(), Put::Created);
        assert_eq!(test.store.put_config(test.app, &name("a"), "[2.50]", &any).await.unwrap(), Put::Replaced);
        let test = test.reopen().await;
        let found = test.store.config_value(test.app, &name("a")).await.unwrap().unwrap();
        assert_eq!(found.value, "[2.50]");
        let set = test.store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
        assert_eq!(&*set.apps["default"].config["a"], "[2.50]");
        test.store.delete_config(test.app, &name("a"), &any).await.unwrap();
        let gone = test.store.delete_config(test.app, &name("a"), &any).await;
        assert!(matches!(gone, Err(ChangeError::NoConfig)));
        assert_eq!(test.store.config_values(test.app, None, 10).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_change_can_demand_what_it_replaces_and_nothing_is_lost_then() {
        let test = TestStore::new().await;
        test.store.put_config(test.app, &name("a"), "1", &Precondition::default()).await.unwrap();
        let wanted = Tags::List(vec![Tag { weak: false, value: tag("2") }]);
        let stale = Precondition { if_match: Some(wanted), ..Precondition::default() };
        let put = test.store.put_config(test.app, &name("a"), "3", &stale).await;
        assert!(matches!(put, Err(ChangeError::Precondition)));
        let deleted = test.store.delete_config(test.app, &name("a"), &stale).await;
        assert!(matches!(deleted, Err(ChangeError::Precondition)));
        assert_eq!(test.store.config_value(test.app, &name("a")).await.unwrap().unwrap().value, "1");
    }

    #[tokio::test]
    async fn an_app_has_a_bounded_number_of_values() {
        let test = TestStore::new().await;
        let any = Precondition::default();
        for n in 0..MAX_CONFIG_VALUES {
            test.store.put_config(test.app, &name(&format!("v{n}")), "1", &any).await.unwrap();
        }
        let put = test.store.put_config(test.app, &name("more"), "1", &any).await;
        assert!(matches!(put, Err(ChangeError::TooManySettings)));
        test.store.put_config(test.app, &name("v0"), "2", &any).await.unwrap();
    }
}
