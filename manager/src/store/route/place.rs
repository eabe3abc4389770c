//! The place of a route beside the others: what it may take, and what is somebody else's.

use picloud_host::route::{Claimed, Route};
use sqlx::SqliteConnection;

use super::{ALL, MAX_ROUTES, Row};
use crate::name::Name;
use crate::store::ChangeError;

/// All routes of an app together, in bytes of JSON: they are kept in memory. The last one may be over it.
const MAX_ROUTE_BYTES: i64 = 1 << 20;

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

/// Whether a route can be there beside all others, and beside all apps.
pub(super) async fn check(
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
    if let Some(other) = others.iter().find(|other| other.claims().overlaps(&claims)) {
        let what = "a route for this host, or for paths that begin like this one";
        return Err(RouteConflict::Claimed(match may_claim {
            MayClaim::Anything => format!("the app {} has {what}: {}", other.app_name, other.name),
            // Not whose it is: apps do not learn of one another.
            MayClaim::Nothing => format!("another app has {what}"),
        })
        .into());
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
pub(in crate::store) async fn claims_name(tx: &mut SqliteConnection, name: &Name) -> sqlx::Result<bool> {
    let rows: Vec<Row> = sqlx::query_as(ALL).fetch_all(tx).await?;
    let claimed = Claimed::First(name.to_string());
    Ok(rows.into_iter().filter_map(Row::into_route).any(|route| route.claims() == claimed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Precondition;
    use crate::store::app::AppSettings;
    use crate::store::route::testing::{config, put, put_as};
    use crate::store::testing::{TestStore, name};
    use picloud_host::call::AppId;

    async fn two_apps() -> (TestStore, AppId) {
        let test = TestStore::new().await;
        let none = Precondition::default();
        let (_, other) = test.store.put_app(&name("other"), &AppSettings::default(), &none).await.unwrap();
        (test, other.id)
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
