//! Routes: which requests an app takes beside those for its scripts. The data plane gets all of them with the active set.

mod place;

use picloud_host::call::AppId;
use picloud_host::ports::StoreError;
use picloud_host::route::{Route, RouteConfig};
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::column::to_u64;
use crate::store::script::Put;
use crate::store::{ChangeError, Precondition, Store, failed};

pub(super) use place::claims_name;
pub use place::{MayClaim, RouteConflict};

/// The most routes that an app can have.
pub const MAX_ROUTES: usize = 200;

/// A route as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRoute {
    id: i64,
    /// Its name, unique in the app.
    pub name: String,
    /// What it says.
    pub config: RouteConfig,
    version: u64,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it was last changed, in milliseconds since the Unix epoch.
    pub updated_ms: u64,
}

impl StoredRoute {
    /// The entity tag, without quotes. No route that was deleted comes back with its tag: the id is another one.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{}-{}", self.id, self.version)
    }
}

/// A row of `select_route!`.
#[derive(FromRow)]
pub(super) struct Row {
    id: i64,
    app_id: i64,
    app: String,
    name: String,
    config: String,
    version: i64,
    created_ms: i64,
    updated_ms: i64,
}

/// A query for whole routes. Those of apps that were deleted are not among them.
macro_rules! select_route {
    ($rest:literal) => {
        concat!(
            "
    select r.id, r.app_id, app.name as app, r.name, r.config, r.version, r.created_ms, r.updated_ms
    from   route r
    join   app on app.id = r.app_id
    where  app.deleted_ms is null ",
            $rest
        )
    };
}

/// Every route of every app.
pub(super) const ALL: &str = select_route!("order by r.id");

impl Row {
    /// None when the row is damaged: one that cannot be read must not take the others along.
    fn into_stored(self) -> Option<StoredRoute> {
        let config = match serde_json::from_str(&self.config) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!(app = self.app, route = self.name, %error, "the route is damaged in the database");
                return None;
            }
        };
        Some(StoredRoute {
            id: self.id,
            name: self.name,
            config,
            version: to_u64(self.version),
            created_ms: to_u64(self.created_ms),
            updated_ms: to_u64(self.updated_ms),
        })
    }

    /// What it means; none when the row is damaged.
    pub(super) fn into_route(self) -> Option<Route> {
        let (app_id, app) = (AppId(self.app_id), self.app.clone());
        let stored = self.into_stored()?;
        match stored.config.understood(app_id, &app, &stored.name) {
            Ok(route) => Some(route),
            Err(error) => {
                tracing::error!(app, route = stored.name, error, "the route is damaged in the database");
                None
            }
        }
    }
}

impl Store {
    /// Store a route, which the caller has understood from `config`, in the place of one of its name.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Route`] when it cannot be there beside the others, [`ChangeError::Precondition`],
    /// [`ChangeError::TooManyRoutes`] and [`ChangeError::NoApp`]; the database failed.
    pub async fn put_route(
        &self,
        route: &Route,
        config: &RouteConfig,
        may_claim: MayClaim,
        precondition: &Precondition,
    ) -> Result<(Put, StoredRoute), ChangeError> {
        let mut tx = self.begin().await?;
        let before = find(&mut tx, route.app, &route.name).await?;
        precondition.check(before.as_ref().map(StoredRoute::tag).as_deref())?;
        let put = Put::of(before.as_ref().map(|stored| &stored.config), config);
        if put == Put::Unchanged {
            place::check(&mut tx, route, may_claim).await?;
        } else {
            add(&mut tx, route, config, may_claim, self.now_ms()).await?;
        }
        let stored = find(&mut tx, route.app, &route.name).await?.ok_or(ChangeError::NoRoute)?;
        tx.commit().await?;
        Ok((put, stored))
    }

    /// Delete a route.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoRoute`] and [`ChangeError::Precondition`]; the database failed.
    pub async fn delete_route(
        &self,
        app: AppId,
        name: &Name,
        precondition: &Precondition,
    ) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let found = find(&mut tx, app, name.as_str()).await?.ok_or(ChangeError::NoRoute)?;
        precondition.check(Some(&found.tag()))?;
        sqlx::query("delete from route where id = $1").bind(found.id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// One route; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn route(&self, app: AppId, name: &Name) -> Result<Option<StoredRoute>, StoreError> {
        let mut connection = self.database.read.acquire().await.map_err(failed)?;
        find(&mut connection, app, name.as_str()).await.map_err(failed)
    }

    /// At most `limit` routes of an app in the order of their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn routes(
        &self,
        app: AppId,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<StoredRoute>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(select_route!("and r.app_id = $1 and r.name > $2 order by r.name limit $3"))
                .bind(app.0)
                .bind(after.map_or("", Name::as_str))
                .bind(i64::from(limit))
                .fetch_all(&self.database.read)
                .await
                .map_err(failed)?;
        Ok(rows.into_iter().filter_map(Row::into_stored).collect())
    }
}

/// Store a route, if it can be there beside the others, in the place of one of its name.
pub(super) async fn add(
    tx: &mut SqliteConnection,
    route: &Route,
    config: &RouteConfig,
    may_claim: MayClaim,
    now_ms: i64,
) -> Result<(), ChangeError> {
    place::check(tx, route, may_claim).await?;
    let text = serde_json::to_string(config).unwrap_or_default();
    sqlx::query(
        "insert into route (app_id, name, config, version, created_ms, updated_ms)
         values ($1, $2, $3, 1, $4, $4)
         on conflict (app_id, name) do update
         set    config = excluded.config, version = version + 1, updated_ms = excluded.updated_ms",
    )
    .bind(route.app.0)
    .bind(&*route.name)
    .bind(text)
    .bind(now_ms)
    .execute(tx)
    .await
    .map_err(ChangeError::of_insert)?;
    Ok(())
}

/// Every route of an app, by name.
pub(super) async fn all_of(connection: &mut SqliteConnection, app: AppId) -> sqlx::Result<Vec<StoredRoute>> {
    let query = sqlx::query_as(select_route!("and r.app_id = $1 order by r.name")).bind(app.0);
    let rows: Vec<Row> = query.fetch_all(connection).await?;
    Ok(rows.into_iter().filter_map(Row::into_stored).collect())
}

async fn find(
    connection: &mut SqliteConnection,
    app: AppId,
    name: &str,
) -> sqlx::Result<Option<StoredRoute>> {
    let row: Option<Row> = sqlx::query_as(select_route!("and r.app_id = $1 and r.name = $2"))
        .bind(app.0)
        .bind(name)
        .fetch_optional(connection)
        .await?;
    Ok(row.and_then(Row::into_stored))
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::store::testing::TestStore;

    pub(super) fn config(host: Option<&str>, path: &str, methods: &[&str]) -> RouteConfig {
        RouteConfig {
            host: host.map(str::to_owned),
            path: path.to_owned(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            script: Some("s".to_owned()),
            ..RouteConfig::default()
        }
    }

    pub(super) async fn put(
        test: &TestStore,
        app: AppId,
        title: &str,
        config: &RouteConfig,
    ) -> Result<Put, ChangeError> {
        put_as(test, app, title, config, MayClaim::Anything).await
    }

    pub(super) async fn put_as(
        test: &TestStore,
        app: AppId,
        title: &str,
        config: &RouteConfig,
        may_claim: MayClaim,
    ) -> Result<Put, ChangeError> {
        let name = if app == test.app { "default" } else { "other" };
        let route = config.understood(app, name, title).unwrap();
        test.store.put_route(&route, config, may_claim, &Precondition::default()).await.map(|(put, _)| put)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::route::testing::{config, put};
    use crate::store::testing::{TestStore, name};

    #[tokio::test]
    async fn a_route_is_made_changed_and_deleted() {
        let test = TestStore::new().await;
        let get = config(None, "/users/{id}", &["GET"]);
        assert_eq!(put(&test, test.app, "a", &get).await.unwrap(), Put::Created);
        assert_eq!(put(&test, test.app, "a", &get).await.unwrap(), Put::Unchanged);
        let first = test.store.route(test.app, &name("a")).await.unwrap().unwrap();
        assert_eq!(
            put(&test, test.app, "a", &config(None, "/users/{id}", &[])).await.unwrap(),
            Put::Replaced
        );
        let second = test.store.route(test.app, &name("a")).await.unwrap().unwrap();
        assert_ne!(first.tag(), second.tag());
        let none = Precondition::default();
        test.store.delete_route(test.app, &name("a"), &none).await.unwrap();
        assert!(matches!(
            test.store.delete_route(test.app, &name("a"), &none).await,
            Err(ChangeError::NoRoute)
        ));
    }
}
