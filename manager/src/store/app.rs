//! Apps: what owns scripts, keys and quotas.

use picloud_host::call::{AppId, SourceHash};
use picloud_host::limits::OwnLimits;
use picloud_host::ports::StoreError;
use picloud_host::quota::Quotas;
use serde::de::DeserializeOwned;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::column::{damaged, to_u64};
use crate::store::script::Put;
use crate::store::{ChangeError, Precondition, Store, failed, principal, route};

/// The most apps that a server has.
pub const MAX_APPS: u32 = 1000;

/// An app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its identity, never used again.
    pub id: AppId,
    /// Its name.
    pub name: String,
    /// What can be chosen of it.
    pub settings: AppSettings,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When its settings last changed, in milliseconds since the Unix epoch.
    pub updated_ms: u64,
}

/// What can be chosen of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppSettings {
    /// What it is for, in the words of its owner.
    pub description: String,
    /// Limits that are narrower than the server's.
    pub limits: OwnLimits,
    /// Quotas in the place of those that the server has for every app.
    pub quotas: Quotas,
}

impl AppSettings {
    /// The limits as they are stored; none when there are none of its own.
    pub(super) fn stored_limits(&self) -> Option<String> {
        (!self.limits.is_empty()).then(|| serde_json::to_string(&self.limits).unwrap_or_default())
    }

    /// The quotas as they are stored; none when there are none of its own.
    pub(super) fn stored_quotas(&self) -> Option<String> {
        (self.quotas != Quotas::default()).then(|| serde_json::to_string(&self.quotas).unwrap_or_default())
    }
}

impl App {
    /// The entity tag, without quotes. It is another one for another app of the same name.
    #[must_use]
    pub fn tag(&self) -> String {
        let AppSettings { description, limits, quotas } = &self.settings;
        let text = serde_json::json!([self.id.0, description, limits, quotas]).to_string();
        SourceHash::of(&text).to_hex()
    }
}

#[derive(FromRow)]
struct Row {
    id: i64,
    name: String,
    description: String,
    limits: Option<String>,
    quotas: Option<String>,
    created_ms: i64,
    updated_ms: i64,
}

impl TryFrom<Row> for App {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: AppId(row.id),
            name: row.name,
            settings: AppSettings {
                description: row.description,
                limits: own(row.limits.as_deref())?,
                quotas: own(row.quotas.as_deref())?,
            },
            created_ms: to_u64(row.created_ms),
            updated_ms: to_u64(row.updated_ms),
        })
    }
}

/// What the columns `limits` and `quotas` hold.
pub(super) fn own<T: Default + DeserializeOwned>(stored: Option<&str>) -> sqlx::Result<T> {
    stored.map_or_else(|| Ok(T::default()), |json| serde_json::from_str(json).map_err(damaged))
}

/// The columns of [`App`] and where they come from. Those that were deleted are never among them.
macro_rules! select_app {
    ($rest:literal) => {
        concat!(
            "select id, name, description, limits, quotas, created_ms, coalesce(updated_ms, created_ms) as updated_ms \
             from app \
             where deleted_ms is null and ",
            $rest
        )
    };
}

impl Store {
    /// Make the app `default`, unless there is an app: whoever has deleted it does not get it back.
    pub(super) async fn create_default_app(&self) -> Result<(), StoreError> {
        sqlx::query(
            "insert into app (name, created_ms) \
             select $1, $2 where not exists (select 1 from app where deleted_ms is null)",
        )
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
        sqlx::query_scalar("select id from app where name = $1 and deleted_ms is null")
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
        let mut connection = self.database.read.acquire().await.map_err(failed)?;
        find(&mut connection, name).await.map_err(failed)
    }

    /// At most `limit` apps in the order of their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn apps(&self, after: Option<&Name>, limit: u32) -> Result<Vec<App>, StoreError> {
        // Every name is greater than the empty text.
        let rows: Vec<Row> = sqlx::query_as(select_app!("name > $1 order by name limit $2"))
            .bind(after.map_or("", Name::as_str))
            .bind(i64::from(limit))
            .fetch_all(&self.database.read)
            .await
            .map_err(failed)?;
        rows.into_iter().map(|row| row.try_into().map_err(failed)).collect()
    }

    /// Create an app or replace its settings.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Precondition`], [`ChangeError::TooManyApps`], and [`ChangeError::NameTaken`] by a route of another app;
    /// the database failed.
    pub async fn put_app(
        &self,
        name: &Name,
        settings: &AppSettings,
        precondition: &Precondition,
    ) -> Result<(Put, App), ChangeError> {
        let mut tx = self.begin().await?;
        let before = find(&mut tx, name).await?;
        precondition.check(before.as_ref().map(App::tag).as_deref())?;
        let put = Put::of(before.as_ref().map(|app| &app.settings), settings);
        if put == Put::Created {
            check_room(&mut tx).await?;
            if route::claims_name(&mut tx, name).await? {
                return Err(ChangeError::NameTaken);
            }
            sqlx::query("insert into app (name, created_ms) values ($1, $2)")
                .bind(name.as_str())
                .bind(self.now_ms())
                .execute(&mut *tx)
                .await?;
        }
        if put != Put::Unchanged {
            sqlx::query(
                "update app set description = $1, limits = $2, quotas = $3, updated_ms = $4 where name = $5",
            )
            .bind(&settings.description)
            .bind(settings.stored_limits())
            .bind(settings.stored_quotas())
            .bind(self.now_ms())
            .bind(name.as_str())
            .execute(&mut *tx)
            .await?;
        }
        let app = find(&mut tx, name).await?.ok_or(ChangeError::NoApp)?;
        tx.commit().await?;
        Ok((put, app))
    }

    /// Delete an app. From then on nobody finds it, its name is free, and its triggers, secrets, configuration values and
    /// what principals may do with it are gone. Everything else that it owns is left to [`Store::remove_rows`].
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoApp`] and [`ChangeError::Precondition`]; the database failed.
    pub async fn delete_app(&self, name: &Name, precondition: &Precondition) -> Result<AppId, ChangeError> {
        let mut tx = self.begin().await?;
        let app = find(&mut tx, name).await?.ok_or(ChangeError::NoApp)?;
        precondition.check(Some(&app.tag()))?;
        hide(&mut tx, app.id, self.now_ms()).await?;
        for delete in [
            "delete from event_trigger where app_id = $1",
            "delete from secret where app_id = $1",
            "delete from config_value where app_id = $1",
        ] {
            sqlx::query(delete).bind(app.id.0).execute(&mut *tx).await?;
        }
        principal::remove_app(&mut tx, app.id.0).await?;
        tx.commit().await?;
        Ok(app.id)
    }

    /// Apps that were deleted and still own something.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn deleted_apps(&self) -> Result<Vec<AppId>, StoreError> {
        sqlx::query_scalar("select id from app where deleted_ms is not null order by id")
            .fetch_all(&self.database.read)
            .await
            .map(|ids: Vec<i64>| ids.into_iter().map(AppId).collect())
            .map_err(failed)
    }

    /// Remove some of what a deleted app owns, and at last the app itself: few rows at once, so that others can write in
    /// between. False when nothing was left. Nobody may write anything of the app any more.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn remove_rows(&self, app: AppId) -> Result<bool, StoreError> {
        for delete in REMOVALS {
            let removed = sqlx::query(*delete).bind(app.0).execute(&self.database.write).await;
            if removed.map_err(failed)?.rows_affected() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What an app owns, in the order in which it goes. Whatever is not named here is little, and goes with the app.
const REMOVALS: &[&str] = &[
    "delete from kv where app_id = $1 and key in (select key from kv where app_id = $1 limit 500)",
    // By state, since there is an index for each.
    "delete from event where seq in \
     (select seq from event where app_id = $1 and state = 'waiting' limit 500)",
    "delete from event where seq in \
     (select seq from event where app_id = $1 and state = 'running' limit 500)",
    "delete from event where seq in \
     (select seq from event where app_id = $1 and state = 'dead' limit 500)",
    "delete from answer where id in (select id from answer where app_id = $1 limit 100)",
    "delete from script_version where id in \
     (select v.id from script s join script_version v on v.script_id = s.id where s.app_id = $1 limit 100)",
    "delete from script where id in (select id from script where app_id = $1 limit 500)",
    "delete from app where id = $1 and deleted_ms is not null",
];

pub(super) async fn find(connection: &mut SqliteConnection, name: &Name) -> sqlx::Result<Option<App>> {
    let row: Option<Row> =
        sqlx::query_as(select_app!("name = $1")).bind(name.as_str()).fetch_optional(connection).await?;
    row.map(App::try_from).transpose()
}

/// Refuse one more app than there may be.
///
/// # Errors
///
/// [`ChangeError::TooManyApps`]; the database failed.
pub(super) async fn check_room(tx: &mut SqliteConnection) -> Result<(), ChangeError> {
    let count: i64 = sqlx::query_scalar("select count(*) from app").fetch_one(tx).await?;
    if count >= i64::from(MAX_APPS) { Err(ChangeError::TooManyApps) } else { Ok(()) }
}

/// Give an app a name by which nobody finds it: no name begins with a blank.
pub(super) async fn hide(tx: &mut SqliteConnection, app: AppId, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query("update app set name = ' ' || id, deleted_ms = $1 where id = $2")
        .bind(now_ms)
        .bind(app.0)
        .execute(tx)
        .await?;
    Ok(())
}
