//! An app that comes from an archive. It is put together as one that was deleted, so that nobody finds it and a crash leaves
//! nothing that is not removed after the next start; the last transaction lets it be there.

use picloud_host::call::{AppId, SourceHash};
use picloud_host::loader::LoadReport;
use picloud_host::outbound::policy::HttpPolicy;
use picloud_host::ports::StoreError;
use picloud_host::route::{Access, Route, RouteConfig};
use sqlx::SqliteConnection;

use crate::name::Name;
use crate::store::app::{self, App, AppSettings, check_room, hide};
use crate::store::column::to_i64;
use crate::store::route::{self, MayClaim, RouteConflict};
use crate::store::trigger::{self, NewTrigger};
use crate::store::{ChangeError, Store, failed, http_policy, script};

/// A script of an app that is put together.
#[derive(Debug, Clone)]
pub struct NewScript {
    /// Its name.
    pub name: Name,
    /// Who has to be there for a request to be taken.
    pub access: Access,
    /// The number of the version that is called.
    pub active: u32,
    /// The number of the one that was before it.
    pub previous: Option<u32>,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When its active version last changed, in milliseconds since the Unix epoch.
    pub updated_ms: u64,
}

/// A version of a script of an app that is put together. It has been loaded.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// The script, in storage.
    pub script_id: i64,
    /// Its number.
    pub number: u32,
    /// Its source.
    pub source: String,
    /// What loading it found out.
    pub report: LoadReport,
    /// What whoever uploaded it has said of it.
    pub message: Option<String>,
    /// The name of the principal that has uploaded it.
    pub author: Option<String>,
    /// Fuel that its smoke call took, if there was one.
    pub smoke_fuel: Option<u64>,
    /// When it was uploaded, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// What makes an app that was put together one that is there.
#[derive(Debug, Clone)]
pub struct NewApp {
    /// Its name.
    pub name: Name,
    /// What can be chosen of it.
    pub settings: AppSettings,
    /// Which requests it may send to other servers.
    pub http_policy: HttpPolicy,
    /// Its routes, each understood for the app and its name.
    pub routes: Vec<(Route, RouteConfig)>,
    /// Its triggers.
    pub triggers: Vec<(Name, NewTrigger)>,
    /// Its configuration values: JSON texts.
    pub config: Vec<(Name, String)>,
}

impl Store {
    /// Make the app that is to be put together, which nobody finds. Only [`Removals`](crate::removal::Removals) may call it,
    /// since it would remove it otherwise.
    ///
    /// # Errors
    ///
    /// [`ChangeError::TooManyApps`]; the database failed.
    pub(crate) async fn begin_app(&self) -> Result<AppId, ChangeError> {
        let mut tx = self.begin().await?;
        check_room(&mut tx).await?;
        let insert = "insert into app (name, created_ms) values (' new', $1) returning id";
        let id = AppId(sqlx::query_scalar(insert).bind(self.now_ms()).fetch_one(&mut *tx).await?);
        // As one that was deleted.
        hide(&mut tx, id, self.now_ms()).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Add scripts, none of which has a version yet. Returns which they are in storage, in the same order.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn add_scripts(&self, app: AppId, scripts: &[NewScript]) -> Result<Vec<i64>, StoreError> {
        let add = async {
            let mut tx = self.begin().await?;
            let mut ids = Vec::with_capacity(scripts.len());
            for script in scripts {
                let id = sqlx::query_scalar(
                    "insert into script (app_id, name, access, created_ms, updated_ms) \
                     values ($1, $2, $3, $4, $5) returning id",
                )
                .bind(app.0)
                .bind(script.name.as_str())
                .bind(script::access_text(&script.access))
                .bind(to_i64(script.created_ms))
                .bind(to_i64(script.updated_ms));
                ids.push(id.fetch_one(&mut *tx).await?);
            }
            tx.commit().await?;
            Ok(ids)
        };
        add.await.map_err(|error: sqlx::Error| failed(error))
    }

    /// Add versions.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn add_versions(&self, versions: &[NewVersion]) -> Result<(), StoreError> {
        let add = async {
            let mut tx = self.begin().await?;
            for version in versions {
                insert_version(&mut tx, version).await?;
            }
            tx.commit().await
        };
        add.await.map_err(failed)
    }

    /// Say which versions are called, when all of them are there.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn activate_all(&self, scripts: &[(i64, NewScript)]) -> Result<(), StoreError> {
        let activate = async {
            let mut tx = self.begin().await?;
            for (id, script) in scripts {
                sqlx::query(
                    "update script \
                     set active_version_id = (select id from script_version where script_id = $1 and number = $2), \
                         previous_version_id = (select id from script_version where script_id = $1 and number = $3) \
                     where id = $1",
                )
                .bind(id)
                .bind(i64::from(script.active))
                .bind(script.previous.map(i64::from))
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await
        };
        activate.await.map_err(failed)
    }

    /// Let an app that was put together be there, with everything that would work at once: routes, triggers, configuration.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NameTaken`], [`ChangeError::Route`], [`ChangeError::TooManyRoutes`] and
    /// [`ChangeError::TooManyTriggers`]; the database failed.
    pub async fn finish_app(&self, id: AppId, new: &NewApp) -> Result<App, ChangeError> {
        let mut tx = self.begin().await?;
        if app::find(&mut tx, &new.name).await?.is_some() || route::claims_name(&mut tx, &new.name).await? {
            return Err(ChangeError::NameTaken);
        }
        sqlx::query(
            "update app \
             set name = $2, description = $3, limits = $4, quotas = $5, http_policy = $6, deleted_ms = null \
             where id = $1",
        )
        .bind(id.0)
        .bind(new.name.as_str())
        .bind(&new.settings.description)
        .bind(new.settings.stored_limits())
        .bind(new.settings.stored_quotas())
        .bind((new.http_policy != HttpPolicy::default()).then(|| http_policy::write(&new.http_policy)))
        .execute(&mut *tx)
        .await?;
        for (route, config) in &new.routes {
            let added = route::add(&mut tx, route, config, MayClaim::Anything, self.now_ms()).await;
            added.map_err(|error| naming(&route.name, error))?;
        }
        for (name, trigger) in &new.triggers {
            trigger::add(&mut tx, (id, name), trigger, self.now_ms()).await?;
        }
        for (name, value) in &new.config {
            sqlx::query(
                "insert into config_value (app_id, name, value, created_ms, updated_ms) values ($1, $2, $3, $4, $4)",
            )
            .bind(id.0)
            .bind(name.as_str())
            .bind(value)
            .bind(self.now_ms())
            .execute(&mut *tx)
            .await?;
        }
        let app = app::find(&mut tx, &new.name).await?.ok_or(ChangeError::NoApp)?;
        tx.commit().await?;
        Ok(app)
    }
}

/// Say which of many routes cannot be there.
fn naming(route: &str, error: ChangeError) -> ChangeError {
    match error {
        ChangeError::Route(conflict) => {
            RouteConflict::Claimed(format!("the route {route} of the archive: {conflict}")).into()
        }
        error => error,
    }
}

async fn insert_version(tx: &mut SqliteConnection, version: &NewVersion) -> sqlx::Result<()> {
    let NewVersion { script_id, number, source, report, message, author, smoke_fuel, created_ms } = version;
    let id: i64 = sqlx::query_scalar(
        "insert into script_version (script_id, number, source, source_hash, handles_requests, handles_events, \
                                     image_bytes, load_fuel, created_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id",
    )
    .bind(script_id)
    .bind(i64::from(*number))
    .bind(source)
    .bind(SourceHash::of(source).to_hex())
    .bind(report.handles_requests)
    .bind(report.handles_events)
    .bind(to_i64(report.image_bytes))
    .bind(to_i64(report.fuel))
    .bind(to_i64(*created_ms))
    .fetch_one(&mut *tx)
    .await?;
    script::insert_note(tx, id, message.as_deref(), author.as_deref(), *smoke_fuel).await
}
