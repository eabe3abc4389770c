//! Triggers: what makes events. The data plane gets those that it looks at with the active set.

pub mod config;
mod schedule;
pub mod webhook;

use picloud_host::call::AppId;
use picloud_host::event::TriggerId;
use picloud_host::ports::StoreError;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::column::{to_i64, to_u64};
use crate::store::script::Put;
use crate::store::{ChangeError, Precondition, Store, failed};

pub use config::{NewTrigger, TriggerConfig};
#[cfg(test)]
pub(crate) use schedule::STATEMENTS;

/// The most triggers that an app can have.
pub const MAX_TRIGGERS: i64 = 200;

/// A trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// Its identity in storage, never used again.
    pub id: TriggerId,
    /// The app that owns it, by its identity in storage.
    pub app_id: AppId,
    /// The name of that app.
    pub app: String,
    /// Its name, unique in the app.
    pub name: String,
    /// The script that is called, by name. It may not be there.
    pub script: String,
    /// What its kind needs to know.
    pub config: TriggerConfig,
    /// How often an event is tried at most.
    pub attempts: u32,
    /// One that is not enabled makes no events.
    pub enabled: bool,
    /// Counted from 1 with each change.
    pub version: u64,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it was last changed, in milliseconds since the Unix epoch. That a schedule has run is no change.
    pub updated_ms: u64,
    /// When a schedule is due next, in milliseconds since the Unix epoch; none when it never is, and for other kinds.
    pub next_ms: Option<u64>,
}

impl Trigger {
    /// The entity tag, without quotes.
    #[must_use]
    pub fn tag(&self) -> String {
        tag(self.id.0, self.version)
    }
}

/// No trigger that was deleted comes back with its tag: the id is another one.
fn tag(id: i64, version: u64) -> String {
    format!("{id}-{version}")
}

/// A row of [`select_trigger`].
#[derive(FromRow)]
pub(super) struct Row {
    id: i64,
    app_id: i64,
    app: String,
    name: String,
    script: String,
    config: String,
    #[sqlx(try_from = "i64")]
    attempts: u32,
    enabled: bool,
    version: i64,
    created_ms: i64,
    updated_ms: i64,
    next_ms: Option<i64>,
}

/// A query for whole triggers.
macro_rules! select_trigger {
    ($rest:literal) => {
        concat!(
            "
    select t.id, t.app_id, app.name as app, t.name, t.script, t.config, t.attempts, t.enabled, t.version,
           t.created_ms, t.updated_ms, t.next_ms
    from   event_trigger t
    join   app on app.id = t.app_id
    ",
            $rest
        )
    };
}
pub(super) use select_trigger;

impl Row {
    /// None when the row is damaged: one that cannot be read must not take the others along.
    pub(super) fn into_trigger(self) -> Option<Trigger> {
        match serde_json::from_str(&self.config) {
            Ok(config) => Some(self.with(config)),
            Err(error) => {
                let Self { app, name, .. } = self;
                tracing::error!(%app, trigger = name, %error, "the trigger is damaged in the database");
                None
            }
        }
    }

    fn with(self, config: TriggerConfig) -> Trigger {
        Trigger {
            id: TriggerId(self.id),
            app_id: AppId(self.app_id),
            app: self.app,
            name: self.name,
            script: self.script,
            config,
            attempts: self.attempts,
            enabled: self.enabled,
            version: to_u64(self.version),
            created_ms: to_u64(self.created_ms),
            updated_ms: to_u64(self.updated_ms),
            next_ms: self.next_ms.map(to_u64),
        }
    }
}

impl Store {
    /// Store a trigger under a name, in the place of one that is there. The caller has [checked](NewTrigger::check) it,
    /// and says when a schedule is due; for one that is stored already as it is, that does not change.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Precondition`], [`ChangeError::TooManyTriggers`] and [`ChangeError::NoApp`]; the database failed.
    pub async fn put_trigger(
        &self,
        app: AppId,
        name: &Name,
        new: &NewTrigger,
        precondition: &Precondition,
    ) -> Result<(Put, Trigger), ChangeError> {
        let content = Content::of(new)?;
        let mut tx = self.begin().await?;
        let before = find(&mut tx, app, name).await?;
        precondition.check(before.as_ref().map(Found::tag).as_deref())?;
        let (put, id) = match before {
            Some(found) if found.content == content => (Put::Unchanged, found.id),
            Some(found) => {
                update(&mut tx, found.id, new, content, self.now_ms()).await?;
                (Put::Replaced, found.id)
            }
            None => (Put::Created, insert(&mut tx, (app, name), new, content, self.now_ms()).await?),
        };
        let row: Row =
            sqlx::query_as(select_trigger!("where t.id = $1")).bind(id).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok((put, row.with(new.config.clone())))
    }

    /// Delete a trigger. The events that it has made stay.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoTrigger`] and [`ChangeError::Precondition`]; the database failed.
    pub async fn delete_trigger(
        &self,
        app: AppId,
        name: &Name,
        precondition: &Precondition,
    ) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let found = find(&mut tx, app, name).await?.ok_or(ChangeError::NoTrigger)?;
        precondition.check(Some(&found.tag()))?;
        sqlx::query("delete from event_trigger where id = $1").bind(found.id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// One trigger; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn trigger(&self, app: AppId, name: &Name) -> Result<Option<Trigger>, StoreError> {
        let query = sqlx::query_as(select_trigger!("where  t.app_id = $1 and t.name = $2"));
        let query = query.bind(app.0).bind(name.as_str());
        let row: Option<Row> = query.fetch_optional(&self.database.read).await.map_err(failed)?;
        Ok(row.and_then(Row::into_trigger))
    }

    /// At most `limit` triggers of an app in the order of their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn triggers(
        &self,
        app: AppId,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<Trigger>, StoreError> {
        let query = select_trigger!("where  t.app_id = $1 and t.name > $2 order by t.name limit $3");
        let query = sqlx::query_as(query).bind(app.0).bind(after.map_or("", Name::as_str));
        let query = query.bind(i64::from(limit));
        let rows: Vec<Row> = query.fetch_all(&self.database.read).await.map_err(failed)?;
        Ok(rows.into_iter().filter_map(Row::into_trigger).collect())
    }
}

/// What a change needs to know of a trigger. Also of one that is damaged, which can be replaced and deleted.
#[derive(FromRow)]
struct Found {
    id: i64,
    version: i64,
    #[sqlx(flatten)]
    content: Content,
}

impl Found {
    fn tag(&self) -> String {
        tag(self.id, to_u64(self.version))
    }
}

/// What makes a trigger another one when it changes.
#[derive(PartialEq, Eq, FromRow)]
struct Content {
    script: String,
    config: String,
    #[sqlx(try_from = "i64")]
    attempts: u32,
    enabled: bool,
}

impl Content {
    fn of(new: &NewTrigger) -> Result<Self, StoreError> {
        let NewTrigger { script, config, attempts, enabled, next_ms: _ } = new;
        let config = serde_json::to_string(config).map_err(failed)?;
        Ok(Self { script: script.to_string(), config, attempts: *attempts, enabled: *enabled })
    }
}

async fn find(tx: &mut SqliteConnection, app: AppId, name: &Name) -> Result<Option<Found>, sqlx::Error> {
    sqlx::query_as(
        "select id, version, script, config, attempts, enabled
         from   event_trigger
         where  app_id = $1 and name = $2",
    )
    .bind(app.0)
    .bind(name.as_str())
    .fetch_optional(tx)
    .await
}

/// Add a trigger to an app that has none of this name.
pub(super) async fn add(
    tx: &mut SqliteConnection,
    place: (AppId, &Name),
    new: &NewTrigger,
    now_ms: i64,
) -> Result<(), ChangeError> {
    let content = Content::of(new)?;
    insert(tx, place, new, content, now_ms).await.map(drop)
}

/// Every trigger of an app, by name.
pub(super) async fn all_of(connection: &mut SqliteConnection, app: AppId) -> sqlx::Result<Vec<Trigger>> {
    let query = sqlx::query_as(select_trigger!("where  t.app_id = $1 order by t.name")).bind(app.0);
    let rows: Vec<Row> = query.fetch_all(connection).await?;
    Ok(rows.into_iter().filter_map(Row::into_trigger).collect())
}

async fn insert(
    tx: &mut SqliteConnection,
    (app, name): (AppId, &Name),
    new: &NewTrigger,
    content: Content,
    now_ms: i64,
) -> Result<i64, ChangeError> {
    let count = sqlx::query_scalar("select count(*) from event_trigger where app_id = $1").bind(app.0);
    let count: i64 = count.fetch_one(&mut *tx).await?;
    if count >= MAX_TRIGGERS {
        return Err(ChangeError::TooManyTriggers);
    }
    sqlx::query_scalar(
        "insert into event_trigger (app_id, name, kind, script, config, attempts, enabled, version, created_ms,
                                    updated_ms, next_ms)
         values ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8, $9)
         returning id",
    )
    .bind(app.0)
    .bind(name.as_str())
    .bind(new.config.kind().as_str())
    .bind(content.script)
    .bind(content.config)
    .bind(i64::from(content.attempts))
    .bind(content.enabled)
    .bind(now_ms)
    .bind(next_ms(new))
    .fetch_one(tx)
    .await
    .map_err(ChangeError::of_insert)
}

async fn update(
    tx: &mut SqliteConnection,
    id: i64,
    new: &NewTrigger,
    content: Content,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update event_trigger
         set    kind = $2, script = $3, config = $4, attempts = $5, enabled = $6, version = version + 1,
                updated_ms = $7, next_ms = $8
         where  id = $1",
    )
    .bind(id)
    .bind(new.config.kind().as_str())
    .bind(content.script)
    .bind(content.config)
    .bind(i64::from(content.attempts))
    .bind(content.enabled)
    .bind(now_ms)
    .bind(next_ms(new))
    .execute(tx)
    .await?;
    Ok(())
}

/// Only a schedule is ever due.
fn next_ms(new: &NewTrigger) -> Option<i64> {
    matches!(new.config, TriggerConfig::Schedule { .. }).then_some(new.next_ms).flatten().map(to_i64)
}
