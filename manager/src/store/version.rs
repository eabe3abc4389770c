//! Versions of scripts: immutable, numbered from 1, one of them active.

use std::sync::Arc;

use async_trait::async_trait;
use picloud_host::call::{AppId, VersionId};
use picloud_host::ports::{Scripts, StoreError};
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::script::{self, Script, set_active};
use crate::store::{ChangeError, Precondition, Store, failed};

/// One version of a script.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Version {
    /// Its identity in storage.
    pub id: i64,
    /// Counted from 1 for each script.
    #[sqlx(try_from = "i64")]
    pub number: u32,
    /// Whether it is the one that is called.
    pub active: bool,
    /// It answers HTTP requests.
    pub handles_requests: bool,
    /// It handles events.
    pub handles_events: bool,
    /// SHA-256 of the source, lower-case hexadecimal.
    pub source_hash: String,
    /// Length of the source in bytes.
    #[sqlx(try_from = "i64")]
    pub source_bytes: u64,
    /// Bytes of the image that are not zero.
    #[sqlx(try_from = "i64")]
    pub image_bytes: u64,
    /// Fuel that loading it took.
    #[sqlx(try_from = "i64")]
    pub load_fuel: u64,
    /// What whoever uploaded it has said of it.
    pub message: Option<String>,
    /// The name of the principal that has uploaded it; none in dev mode.
    pub author: Option<String>,
    /// Fuel that its smoke call took, if there was one.
    pub smoke_fuel: Option<i64>,
    /// How many of a hundred calls go to it, while it is a canary.
    pub canary_percent: Option<i64>,
    /// When it was uploaded, in milliseconds since the Unix epoch.
    #[sqlx(try_from = "i64")]
    pub created_ms: u64,
}

/// The source of a version.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Source {
    /// The version's identity in storage.
    pub id: i64,
    /// The source.
    pub source: String,
    /// Its SHA-256, lower-case hexadecimal.
    pub source_hash: String,
}

/// The columns of [`Version`] and where they come from.
macro_rules! select_version {
    ($rest:literal) => {
        concat!(
            "select v.id, v.number, v.id = s.active_version_id as active, v.handles_requests, v.handles_events, \
                    v.source_hash, octet_length(v.source) as source_bytes, v.image_bytes, v.load_fuel, v.created_ms, \
                    n.message, n.author, n.smoke_fuel, c.percent as canary_percent \
             from script s \
             join script_version v on v.script_id = s.id \
             left join version_note n on n.version_id = v.id \
             left join canary c on c.version_id = v.id and c.ended_ms is null ",
            $rest
        )
    };
}

impl Store {
    /// One version; none when the script has none of this number, or there is no such script.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn version(&self, app: AppId, name: &Name, number: u32) -> Result<Option<Version>, StoreError> {
        sqlx::query_as(select_version!("where s.app_id = $1 and s.name = $2 and v.number = $3"))
            .bind(app.0)
            .bind(name.as_str())
            .bind(i64::from(number))
            .fetch_optional(&self.database.read)
            .await
            .map_err(failed)
    }

    /// At most `limit` versions of a script, the newest first, from the one before `before` on. Empty when there is no
    /// such script.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn versions(
        &self,
        app: AppId,
        name: &Name,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<Version>, StoreError> {
        sqlx::query_as(select_version!(
            "where s.app_id = $1 and s.name = $2 and v.number < $3 order by v.number desc limit $4"
        ))
        .bind(app.0)
        .bind(name.as_str())
        .bind(before.map_or(i64::MAX, i64::from))
        .bind(i64::from(limit))
        .fetch_all(&self.database.read)
        .await
        .map_err(failed)
    }

    /// The source of a version, or of the active one when no number is given.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn source_of(
        &self,
        app: AppId,
        name: &Name,
        number: Option<u32>,
    ) -> Result<Option<Source>, StoreError> {
        let query = match number {
            Some(_) => {
                "select v.id, v.source, v.source_hash \
                 from script s \
                 join script_version v on v.script_id = s.id \
                 where s.app_id = $1 and s.name = $2 and v.number = $3"
            }
            None => {
                "select v.id, v.source, v.source_hash \
                 from script s \
                 join script_version v on v.id = s.active_version_id \
                 where s.app_id = $1 and s.name = $2"
            }
        };
        let query = sqlx::query_as(query).bind(app.0).bind(name.as_str());
        let query = match number {
            Some(number) => query.bind(i64::from(number)),
            None => query,
        };
        query.fetch_optional(&self.database.read).await.map_err(failed)
    }

    /// The version that was active before the one that is; none when there was none, or it is not kept any more.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn previous_version(&self, app: AppId, name: &Name) -> Result<Option<u32>, StoreError> {
        let number: Option<i64> = sqlx::query_scalar(
            "select v.number \
             from script s \
             join script_version v on v.id = s.previous_version_id \
             where s.app_id = $1 and s.name = $2",
        )
        .bind(app.0)
        .bind(name.as_str())
        .fetch_optional(&self.database.read)
        .await
        .map_err(failed)?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    /// Make a version the one that is called. By identity and not by number: the version that was looked at, even if
    /// the script is deleted and created again meanwhile. The precondition is about the version that was active.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoVersion`] and [`ChangeError::Precondition`]; the database failed.
    pub async fn activate(
        &self,
        version: VersionId,
        precondition: &Precondition,
    ) -> Result<Script, ChangeError> {
        let mut tx = self.begin().await?;
        let (script_id, active_id, hash): (i64, i64, String) = sqlx::query_as(
            "select s.id, active.id, active.source_hash \
             from script_version v \
             join script s on s.id = v.script_id \
             join script_version active on active.id = s.active_version_id \
             where v.id = $1",
        )
        .bind(version.0)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(ChangeError::NoVersion)?;
        precondition.check(Some(&hash))?;
        if active_id != version.0 {
            set_active(&mut tx, script_id, version.0, self.now_ms()).await?;
        }
        let script = script::fetch(&mut tx, script_id).await?;
        tx.commit().await?;
        Ok(script)
    }
}

/// Every version of a script, by number.
pub(super) async fn all_of(connection: &mut SqliteConnection, script: i64) -> sqlx::Result<Vec<Version>> {
    let select = sqlx::query_as(select_version!("where s.id = $1 order by v.number"));
    select.bind(script).fetch_all(connection).await
}

pub(super) async fn fetch(tx: &mut SqliteConnection, version: i64) -> sqlx::Result<Version> {
    sqlx::query_as(select_version!("where v.id = $1")).bind(version).fetch_one(tx).await
}

#[async_trait]
impl Scripts for Store {
    async fn source(&self, version: VersionId) -> Result<Option<Arc<str>>, StoreError> {
        sqlx::query_scalar::<_, String>("select source from script_version where id = $1")
            .bind(version.0)
            .fetch_optional(&self.database.read)
            .await
            .map(|source| source.map(Arc::from))
            .map_err(failed)
    }
}
