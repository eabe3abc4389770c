//! Routes: which requests an app takes beside those for its scripts. The data plane gets all of them with the active set.

use picloud_host::call::AppId;
use picloud_host::ports::StoreError;
use picloud_host::route::{Claimed, Route, RouteConfig};
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::column::to_u64;
use crate::store::script::Put;
use crate::store::{ChangeError, Precondition, Store, failed};

/// The most routes that an app can have.
pub const MAX_ROUTES: usize = 200;

/// All routes of an app together, in bytes of JSON: they are kept in memory. The last one may be over it.
const MAX_ROUTE_BYTES: i64 = 1 << 20;

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

/// Why a route cannot be there beside the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteConflict {
    /// Some request would be for both.
    #[error("some requests would be for it and for the route {0}")]
    Route(String),
    /// What it takes belongs to another app.
    #[error("{0}")]
    Claimed(String),
    /// What it takes is for all apps, and the app has not been given it.
    #[error(
        "{0} is what all apps share: who makes the first route there needs the scope admin; others of the app follow"
    )]
    Shared(String),
}

/// Whether somebody may take for an app what there is once for all apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayClaim {
    /// What nobody has.
    Anything,
    /// What the app has already, and what begins with its name.
    Nothing,
}

/// A row of [`select_route`].
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
        check_place(&mut tx, route, may_claim).await?;
        let put = match &before {
            Some(stored) if stored.config == *config => Put::Unchanged,
            Some(_) => Put::Replaced,
            None => Put::Created,
        };
        if put != Put::Unchanged {
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
            .bind(self.now_ms())
            .execute(&mut *tx)
            .await
            .map_err(ChangeError::of_insert)?;
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

/// Whether a route can be there beside all others, and beside all apps.
async fn check_place(
    tx: &mut SqliteConnection,
    route: &Route,
    may_claim: MayClaim,
) -> Result<(), ChangeError> {
    let rows: Vec<Row> = sqlx::query_as(ALL).fetch_all(&mut *tx).await?;
    let routes: Vec<Route> = rows.into_iter().filter_map(Row::into_route).collect();
    let (own, others): (Vec<_>, Vec<_>) = routes.into_iter().partition(|other| other.app == route.app);
    let claims = route.claims();
    let has_it = own.iter().any(|other| other.claims() == claims);
    if may_claim == MayClaim::Nothing && !has_it && claims != Claimed::First(route.app_name.to_string()) {
        return Err(RouteConflict::Shared(claims.to_string()).into());
    }
    let own = own.into_iter().filter(|other| other.name != route.name);
    if others.iter().any(|other| other.claims().overlaps(&claims)) {
        // Not whose it is: apps do not learn of one another.
        let what = "another app has a route for this host, or for paths that begin like this one";
        return Err(RouteConflict::Claimed(what.to_owned()).into());
    }
    if let Claimed::First(first) = &claims {
        let taken: Option<i64> =
            sqlx::query_scalar("select id from app where name = $1 and id <> $2 and deleted_ms is null")
                .bind(first)
                .bind(route.app.0)
                .fetch_optional(&mut *tx)
                .await?;
        if taken.is_some() {
            let what = format!("paths that begin with /{first} are another app's");
            return Err(RouteConflict::Claimed(what).into());
        }
    }
    let mut count = 0;
    for other in own {
        count += 1;
        if other.conflicts(route) {
            return Err(RouteConflict::Route(other.name.to_string()).into());
        }
    }
    let bytes: i64 = sqlx::query_scalar(
        "select coalesce(sum(octet_length(config)), 0) from route where app_id = $1 and name <> $2",
    )
    .bind(route.app.0)
    .bind(&*route.name)
    .fetch_one(&mut *tx)
    .await?;
    if count >= MAX_ROUTES || bytes > MAX_ROUTE_BYTES {
        return Err(ChangeError::TooManyRoutes);
    }
    Ok(())
}

/// Whether paths that begin with this name are taken by a route of some app, so that no other app can be called so.
pub(super) async fn claims_name(tx: &mut SqliteConnection, name: &Name) -> sqlx::Result<bool> {
    let rows: Vec<Row> = sqlx::query_as(ALL).fetch_all(tx).await?;
    let claimed = Claimed::First(name.to_string());
    Ok(rows.into_iter().filter_map(Row::into_route).any(|route| route.claims() == claimed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::app::AppSettings;
    use crate::store::testing::{TestStore, name};

    fn config(host: Option<&str>, path: &str, methods: &[&str]) -> RouteConfig {
        RouteConfig {
            host: host.map(str::to_owned),
            path: path.to_owned(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            script: Some("s".to_owned()),
            ..RouteConfig::default()
        }
    }

    async fn put(
        test: &TestStore,
        app: AppId,
        title: &str,
        config: &RouteConfig,
    ) -> Result<Put, ChangeError> {
        put_as(test, app, title, config, MayClaim::Anything).await
    }

    async fn put_as(
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

    #[tokio::test]
    async fn what_all_apps_share_is_given_to_an_app_and_not_taken() {
        let (test, other) = two_apps().await;
        let shared = [
            config(Some("a.org"), "/x", &[]),
            config(None, "/login", &[]),
            config(None, "/", &[]),
            config(None, "/{*rest}", &[]),
        ];
        for config in &shared {
            let refused = put_as(&test, other, "mine", config, MayClaim::Nothing).await;
            assert!(matches!(refused, Err(ChangeError::Route(RouteConflict::Shared(_)))), "{config:?}");
        }
        put_as(&test, other, "own", &config(None, "/other/x/{y}", &[]), MayClaim::Nothing).await.unwrap();
        put(&test, other, "given", &shared[0]).await.unwrap();
        put_as(&test, other, "more", &config(Some("a.org"), "/y", &[]), MayClaim::Nothing).await.unwrap();
        let wider =
            put_as(&test, other, "wider", &config(Some("*.a.org"), "/y", &[]), MayClaim::Nothing).await;
        assert!(matches!(wider, Err(ChangeError::Route(RouteConflict::Shared(_)))));
    }

    async fn two_apps() -> (TestStore, AppId) {
        let test = TestStore::new().await;
        let none = Precondition::default();
        let (_, other) = test.store.put_app(&name("other"), &AppSettings::default(), &none).await.unwrap();
        (test, other.id)
    }

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

    #[tokio::test]
    async fn routes_that_would_take_the_same_request_are_refused_by_name() {
        let test = TestStore::new().await;
        put(&test, test.app, "first", &config(None, "/users/{id}", &["GET", "PUT"])).await.unwrap();
        put(&test, test.app, "post", &config(None, "/users/{name}", &["POST"])).await.unwrap();
        let conflict = put(&test, test.app, "second", &config(None, "/users/{x}", &["PUT"])).await;
        assert!(matches!(conflict, Err(ChangeError::Route(RouteConflict::Route(name))) if name == "first"));
        put(&test, test.app, "host", &config(Some("a.org"), "/users/{x}", &["PUT"])).await.unwrap();
    }

    #[tokio::test]
    async fn no_app_takes_what_another_one_has() {
        let (test, other) = two_apps().await;
        put(&test, test.app, "a", &config(Some("*.a.org"), "/x", &[])).await.unwrap();
        put(&test, test.app, "b", &config(None, "/login", &["GET"])).await.unwrap();
        put(&test, test.app, "c", &config(None, "/{*rest}", &[])).await.unwrap();
        for config in [
            config(Some("shop.a.org"), "/y", &[]),
            config(None, "/login/more", &["POST"]),
            config(None, "/{x}", &["GET"]),
            config(None, "/default/s", &[]),
        ] {
            let refused = put(&test, other, "mine", &config).await;
            assert!(matches!(refused, Err(ChangeError::Route(RouteConflict::Claimed(_)))), "{config:?}");
        }
        put(&test, other, "mine", &config(Some("a.org"), "/login", &[])).await.unwrap();
        put(&test, other, "own", &config(None, "/other/s/{x}", &[])).await.unwrap();
        // Nor can a new app have a name that would take it.
        let none = Precondition::default();
        let taken = test.store.put_app(&name("login"), &AppSettings::default(), &none).await;
        assert!(matches!(taken, Err(ChangeError::NameTaken)));
        // What a deleted app had is free.
        test.store.delete_app(&name("default"), &none).await.unwrap();
        put(&test, other, "login", &config(None, "/login/more", &["POST"])).await.unwrap();
    }
}
