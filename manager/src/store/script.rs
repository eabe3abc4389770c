//! Scripts: a name and the version that is called by it. Creating versions is here too, because it moves that name.

use picloud_host::call::{AppId, SourceHash};
use picloud_host::loader::LoadReport;
use picloud_host::ports::StoreError;
use picloud_host::route::Access;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::canary;
use crate::store::column::to_i64;
use crate::store::version::{self, Version};
use crate::store::{ChangeError, Precondition, Store, failed};

/// A script with the facts of its active version.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Script {
    /// The app that owns it.
    pub app: String,
    /// Its name, unique in the app.
    pub name: String,
    /// The number of the active version.
    #[sqlx(try_from = "i64")]
    pub version: u32,
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
    /// Who has to be there for a request to be taken.
    #[sqlx(try_from = "AccessColumn")]
    pub access: Access,
    /// When the script was created, in milliseconds since the Unix epoch.
    #[sqlx(try_from = "i64")]
    pub created_ms: u64,
    /// When its active version last changed, in milliseconds since the Unix epoch.
    #[sqlx(try_from = "i64")]
    pub updated_ms: u64,
}

/// The column `access`: JSON, null for nobody.
#[derive(sqlx::Type)]
#[sqlx(transparent)]
pub(super) struct AccessColumn(Option<String>);

impl TryFrom<AccessColumn> for Access {
    type Error = serde_json::Error;

    fn try_from(column: AccessColumn) -> Result<Self, serde_json::Error> {
        access_of(column.0.as_deref())
    }
}

/// What the column `access` holds.
pub(super) fn access_of(stored: Option<&str>) -> Result<Access, serde_json::Error> {
    stored.map_or_else(|| Ok(Access::None), serde_json::from_str)
}

/// What the column `access` is to hold.
pub(super) fn access_text(access: &Access) -> Option<String> {
    (!access.is_none()).then(|| serde_json::to_string(access).unwrap_or_default())
}

/// A source that has been loaded, ready to become a version.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The source.
    pub source: String,
    /// What loading it found out.
    pub report: LoadReport,
    /// What whoever uploads it says of it.
    pub message: Option<String>,
    /// The name of the principal that uploads it.
    pub author: Option<String>,
    /// How many versions of the script to keep, with this one; none: all. The oldest go, but never the active one.
    pub keep: Option<u64>,
    /// Fuel that its smoke call took, if there was one.
    pub smoke_fuel: Option<u64>,
    /// Whether it is called from then on. The first version of a script always is.
    pub activate: bool,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The script is new; the source is its version 1.
    Created,
    /// The source is a new version; it is active, unless it is not to be yet.
    Replaced,
    /// The source was the active one already: nothing was written.
    Unchanged,
}

impl Put {
    /// What storing something is where something else, or nothing, was before.
    pub(super) fn of<T: PartialEq>(before: Option<&T>, new: &T) -> Self {
        match before {
            Some(before) if before == new => Self::Unchanged,
            Some(_) => Self::Replaced,
            None => Self::Created,
        }
    }
}

/// The columns of [`Script`] and where they come from.
macro_rules! select_script {
    ($rest:literal) => {
        concat!(
            "select app.name as app, s.name, v.number as version, v.handles_requests, v.handles_events, \
                    v.source_hash, octet_length(v.source) as source_bytes, v.image_bytes, v.load_fuel, \
                    s.access, s.created_ms, s.updated_ms \
             from script s \
             join app on app.id = s.app_id \
             join script_version v on v.id = s.active_version_id ",
            $rest
        )
    };
}

impl Store {
    /// Make an upload the active version of a script, which is created if it is not there.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Precondition`] and [`ChangeError::NoApp`]; the database failed.
    pub async fn put_script(
        &self,
        app: AppId,
        name: &Name,
        upload: &Upload,
        precondition: &Precondition,
    ) -> Result<(Put, Script), ChangeError> {
        let mut tx = self.begin().await?;
        let (put, script_id, _) = put(&mut tx, app, name, upload, precondition, self.now_ms()).await?;
        let script = fetch(&mut tx, script_id).await?;
        tx.commit().await?;
        Ok((put, script))
    }

    /// The same, when the caller wants to know of the version.
    ///
    /// # Errors
    ///
    /// As those of [`Store::put_script`].
    pub async fn add_version(
        &self,
        app: AppId,
        name: &Name,
        upload: &Upload,
        precondition: &Precondition,
    ) -> Result<(Put, Version), ChangeError> {
        let mut tx = self.begin().await?;
        let (put, _, version_id) = put(&mut tx, app, name, upload, precondition, self.now_ms()).await?;
        let version = version::fetch(&mut tx, version_id).await?;
        tx.commit().await?;
        Ok((put, version))
    }

    /// Say who has to be there for a request for a script to be taken. The precondition is about its source.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoScript`] and [`ChangeError::Precondition`]; the database failed.
    pub async fn put_access(
        &self,
        app: AppId,
        name: &Name,
        access: &Access,
        precondition: &Precondition,
    ) -> Result<Script, ChangeError> {
        let mut tx = self.begin().await?;
        let script = find(&mut tx, app, name).await?.ok_or(ChangeError::NoScript)?;
        precondition.check(Some(&script.source_hash))?;
        sqlx::query("update script set access = $1 where id = $2")
            .bind(access_text(access))
            .bind(script.id)
            .execute(&mut *tx)
            .await?;
        let script = fetch(&mut tx, script.id).await?;
        tx.commit().await?;
        Ok(script)
    }

    /// Delete a script with all its versions.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoScript`] and [`ChangeError::Precondition`]; the database failed.
    pub async fn delete_script(
        &self,
        app: AppId,
        name: &Name,
        precondition: &Precondition,
    ) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let script = find(&mut tx, app, name).await?.ok_or(ChangeError::NoScript)?;
        precondition.check(Some(&script.source_hash))?;
        sqlx::query("delete from script where id = $1").bind(script.id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// One script; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn script(&self, app: AppId, name: &Name) -> Result<Option<Script>, StoreError> {
        sqlx::query_as(select_script!("where s.app_id = $1 and s.name = $2"))
            .bind(app.0)
            .bind(name.as_str())
            .fetch_optional(&self.database.read)
            .await
            .map_err(failed)
    }

    /// At most `limit` scripts of an app in the order of their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn scripts(
        &self,
        app: AppId,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<Script>, StoreError> {
        sqlx::query_as(select_script!("where s.app_id = $1 and s.name > $2 order by s.name limit $3"))
            .bind(app.0)
            .bind(after.map_or("", Name::as_str))
            .bind(i64::from(limit))
            .fetch_all(&self.database.read)
            .await
            .map_err(failed)
    }
}

/// Store an upload. Returns the script and the version, in storage.
async fn put(
    tx: &mut SqliteConnection,
    app: AppId,
    name: &Name,
    upload: &Upload,
    precondition: &Precondition,
    now_ms: i64,
) -> Result<(Put, i64, i64), ChangeError> {
    let hash = SourceHash::of(&upload.source).to_hex();
    let before = find(tx, app, name).await?;
    precondition.check(before.as_ref().map(|script| &*script.source_hash))?;
    let (put, script_id) = match &before {
        Some(script) if script.source_hash == hash => {
            return Ok((Put::Unchanged, script.id, script.version_id));
        }
        Some(script) => (Put::Replaced, script.id),
        None => (Put::Created, insert(tx, app, name, now_ms).await?),
    };
    let version_id = insert_version(tx, script_id, upload, &hash, now_ms).await?;
    if upload.activate || before.is_none() {
        set_active(tx, script_id, version_id, now_ms).await?;
    }
    let Upload { message, author, smoke_fuel, .. } = upload;
    insert_note(tx, version_id, message.as_deref(), author.as_deref(), *smoke_fuel).await?;
    if let Some(keep) = upload.keep {
        delete_oldest(tx, script_id, keep).await?;
    }
    Ok((put, script_id, version_id))
}

/// What a change needs to know of a script.
#[derive(FromRow)]
struct Found {
    id: i64,
    version_id: i64,
    source_hash: String,
}

async fn find(tx: &mut SqliteConnection, app: AppId, name: &Name) -> Result<Option<Found>, sqlx::Error> {
    sqlx::query_as(
        "select s.id, v.id as version_id, v.source_hash \
         from script s \
         join script_version v on v.id = s.active_version_id \
         where s.app_id = $1 and s.name = $2",
    )
    .bind(app.0)
    .bind(name.as_str())
    .fetch_optional(tx)
    .await
}

async fn insert(tx: &mut SqliteConnection, app: AppId, name: &Name, now_ms: i64) -> Result<i64, ChangeError> {
    sqlx::query_scalar(
        "insert into script (app_id, name, created_ms, updated_ms) values ($1, $2, $3, $3) returning id",
    )
    .bind(app.0)
    .bind(name.as_str())
    .bind(now_ms)
    .fetch_one(tx)
    .await
    .map_err(ChangeError::of_insert)
}

async fn insert_version(
    tx: &mut SqliteConnection,
    script_id: i64,
    upload: &Upload,
    hash: &str,
    now_ms: i64,
) -> Result<i64, sqlx::Error> {
    // The newest version is only ever deleted with its script, so the largest number plus one was never used.
    sqlx::query_scalar(
        "insert into script_version (script_id, number, source, source_hash, handles_requests, handles_events, \
                                     image_bytes, load_fuel, created_ms) \
         select $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7, $8 \
         from script_version \
         where script_id = $1 \
         returning id",
    )
    .bind(script_id)
    .bind(&upload.source)
    .bind(hash)
    .bind(upload.report.handles_requests)
    .bind(upload.report.handles_events)
    .bind(i64::try_from(upload.report.image_bytes).unwrap_or(i64::MAX))
    .bind(i64::try_from(upload.report.fuel).unwrap_or(i64::MAX))
    .bind(now_ms)
    .fetch_one(tx)
    .await
}

/// Keep what is told about a version, if there is anything.
pub(super) async fn insert_note(
    tx: &mut SqliteConnection,
    version_id: i64,
    message: Option<&str>,
    author: Option<&str>,
    smoke_fuel: Option<u64>,
) -> Result<(), sqlx::Error> {
    if message.is_none() && author.is_none() && smoke_fuel.is_none() {
        return Ok(());
    }
    sqlx::query("insert into version_note (version_id, message, author, smoke_fuel) values ($1, $2, $3, $4)")
        .bind(version_id)
        .bind(message)
        .bind(author)
        .bind(smoke_fuel.map(to_i64))
        .execute(tx)
        .await?;
    Ok(())
}

/// Delete all but the `keep` newest versions of a script, the active one and a canary.
async fn delete_oldest(tx: &mut SqliteConnection, script_id: i64, keep: u64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from script_version \
         where script_id = $1 \
         and   number <= (select number from script_version where script_id = $1 order by number desc limit 1 offset $2) \
         and   id <> (select active_version_id from script where id = $1) \
         and   id not in (select version_id from canary where script_id = $1 and ended_ms is null)",
    )
    .bind(script_id)
    .bind(to_i64(keep))
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn set_active(
    tx: &mut SqliteConnection,
    script_id: i64,
    version_id: i64,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update script set previous_version_id = active_version_id, active_version_id = $2, updated_ms = $3 where id = $1",
    )
        .bind(script_id)
        .bind(version_id)
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
    canary::end_at_activation(tx, script_id, version_id, now_ms).await
}

pub(super) async fn fetch(tx: &mut SqliteConnection, script_id: i64) -> Result<Script, sqlx::Error> {
    sqlx::query_as(select_script!("where s.id = $1")).bind(script_id).fetch_one(tx).await
}
