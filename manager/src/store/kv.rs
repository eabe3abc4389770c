//! Keys and values. The sequencer of the data plane orders the commits; this reads and writes what is durable.

use std::ops::Bound;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use picloud_host::call::AppId;
use picloud_host::ports::{Clock, Events, KeyRange, KvEntry, KvPage, KvValue, KvWrite, Page, StoreError};
use picloud_host::sequencer::{
    Expiring, Filling, Group, KvBackend, Sequencer, SequencerOptions, Usage, bounds,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::store::chunks::{SIZES, Statements, chunks, list_of};
use crate::store::{Database, answer, event, failed};

/// [`Kv`](picloud_host::ports::Kv) in the main database.
pub type SqliteKv = Sequencer<KvTable>;

/// Open the keys and values, and the events, of a database that was opened with [`MIGRATOR`](super::MIGRATOR). Must be
/// called in a Tokio runtime, and only once for each file: two would not see each other's commits. Events that were
/// running when the last process ended wait again.
///
/// # Errors
///
/// The database failed.
pub async fn open(database: Database, options: SequencerOptions) -> Result<SqliteKv, StoreError> {
    let table = KvTable::new(database, options.clock.clone());
    table.release_claims().await?;
    table.forget_answers().await?;
    let newest = table.newest().await?;
    Ok(Sequencer::start(table, newest, options))
}

/// The table of keys and values, and beside it that of events: a commit changes both.
pub struct KvTable {
    pub(super) database: Database,
    /// By which an event that dies has died.
    pub(super) clock: Arc<dyn Clock>,
}

impl KvTable {
    /// Use a database that was opened with [`MIGRATOR`](super::MIGRATOR).
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    /// The number of the newest commit.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn newest(&self) -> Result<u64, StoreError> {
        sqlx::query_scalar("select value from commit_number where id = 1")
            .fetch_one(&self.database.write)
            .await
            .map(i64::cast_unsigned)
            .map_err(failed)
    }

    /// Delete the answers that expired while no server ran.
    async fn forget_answers(&self) -> Result<(), StoreError> {
        let mut connection = self.database.write.acquire().await.map_err(failed)?;
        answer::forget_all_expired(&mut connection, self.clock.now_ms()).await.map_err(failed)
    }

    async fn load_entries(&self, app: AppId, keys: &[Arc<str>]) -> Result<Vec<Option<KvEntry>>, sqlx::Error> {
        let mut sorted: Vec<(&str, usize)> = keys.iter().map(|key| &**key).zip(0..).collect();
        sorted.sort_unstable();
        let mut entries = vec![None; keys.len()];
        let mut connection = self.database.read.acquire().await?;
        for (chunk, statement) in chunks(&sorted, &SELECT) {
            let query = chunk.iter().fold(sqlx::query(statement).bind(app.0), |query, (_, at)| {
                query.bind(Arc::clone(&keys[*at]))
            });
            let mut rows = query.fetch(&mut *connection);
            while let Some(row) = rows.try_next().await? {
                let (key, entry): (&str, _) = (row.try_get(0)?, entry_of(&row)?);
                // A key that was asked for twice stands beside itself.
                let first = chunk.partition_point(|(sought, _)| *sought < key);
                for (_, at) in chunk[first..].iter().take_while(|(sought, _)| *sought == key) {
                    entries[*at] = Some(entry.clone());
                }
            }
        }
        Ok(entries)
    }

    async fn list_page(&self, app: AppId, range: &KeyRange, page: Page) -> Result<KvPage, sqlx::Error> {
        let mut filling = Filling::new(page);
        let Some((low, high)) = bounds(range) else { return Ok(filling.finish(false)) };
        let low = match low {
            Bound::Included(low) => low.into_owned(),
            Bound::Excluded(low) => successor(&low),
            Bound::Unbounded => String::new(),
        };
        let high = match high {
            Bound::Included(high) => Some(successor(&high)),
            Bound::Excluded(high) => Some(high.into_owned()),
            Bound::Unbounded => None,
        };
        // One more, to learn whether there is more.
        let limit = i64::try_from(page.entries).unwrap_or(i64::MAX).saturating_add(1);
        let statement = if high.is_some() { PAGE } else { PAGE_TO_THE_END };
        let query = sqlx::query(statement).bind(app.0).bind(limit).bind(low).bind(high);
        let mut rows = query.fetch(&self.database.read);
        while let Some(row) = rows.try_next().await? {
            if filling.is_full() {
                return Ok(filling.finish(true));
            }
            filling.push(row.try_get::<&str, _>(0)?.into(), entry_of(&row)?);
        }
        Ok(filling.finish(false))
    }

    async fn write(&self, group: &Group) -> Result<(), sqlx::Error> {
        let (mut sets, mut deletes) = (Vec::new(), Vec::new());
        for ((app, key), change) in &group.changes {
            match &change.write {
                Some(write) => sets.push(Set { app: *app, key, version: change.version, write }),
                None => deletes.push((*app, key)),
            }
        }
        let mut transaction = self.database.write.begin_with("begin immediate").await?;
        set(&mut transaction, &sets).await?;
        for of_app in deletes.chunk_by(|(app, _), (next, _)| app == next) {
            delete(&mut transaction, of_app).await?;
        }
        let now_ms = self.clock.now_ms();
        event::apply(&mut transaction, &group.events, now_ms).await?;
        answer::apply(&mut transaction, &group.answers, now_ms).await?;
        sqlx::query("update commit_number set value = $1 where id = 1")
            .bind(group.number.cast_signed())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}

impl KvBackend for KvTable {
    async fn load(&self, app: AppId, keys: &[Arc<str>]) -> Result<Vec<Option<KvEntry>>, StoreError> {
        self.load_entries(app, keys).await.map_err(failed)
    }

    async fn list(&self, app: AppId, range: &KeyRange, page: Page) -> Result<KvPage, StoreError> {
        self.list_page(app, range, page).await.map_err(failed)
    }

    fn events(&self) -> &dyn Events {
        self
    }

    async fn apply(&self, group: &Group) -> Result<(), StoreError> {
        // The sequencer logs it.
        self.write(group).await.map_err(|error| StoreError(error.to_string()))
    }

    async fn usage(&self, app: AppId) -> Result<(u64, Usage), StoreError> {
        let query = sqlx::query_as(USAGE).bind(app.0).fetch_one(&self.database.read);
        let (number, kv_bytes, events): (i64, i64, i64) = query.await.map_err(failed)?;
        Ok((number.cast_unsigned(), Usage { kv_bytes, events }))
    }

    async fn expiring(&self, limit: usize) -> Result<Vec<Expiring>, StoreError> {
        let query = sqlx::query(EXPIRING).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.database.read).await.map_err(failed)?;
        rows.iter().map(expiring_of).collect::<Result<_, _>>().map_err(failed)
    }
}

/// A row to write.
struct Set<'a> {
    app: AppId,
    key: &'a Arc<str>,
    version: u64,
    write: &'a KvWrite,
}

async fn set(connection: &mut SqliteConnection, sets: &[Set<'_>]) -> Result<(), sqlx::Error> {
    for (chunk, statement) in chunks(sets, &UPSERT) {
        let mut query = sqlx::query(statement);
        for Set { app, key, version, write } in chunk {
            let (kind, json, blob) = match &write.value {
                KvValue::Json(text) => ("json", Some(Arc::clone(text)), None),
                KvValue::Blob(bytes) => ("blob", None, Some(bytes.to_vec())),
            };
            let expires = write.expires_ms.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
            query = query.bind(app.0).bind(Arc::clone(key)).bind(kind).bind(json).bind(blob);
            query = query.bind(version.cast_signed()).bind(expires);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Delete keys of one app.
async fn delete(connection: &mut SqliteConnection, keys: &[(AppId, &Arc<str>)]) -> Result<(), sqlx::Error> {
    for (chunk, statement) in chunks(keys, &DELETE) {
        let mut query = sqlx::query(statement).bind(chunk[0].0.0);
        for (_, key) in chunk {
            query = query.bind(Arc::clone(key));
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// The smallest text that is greater than `text`.
fn successor(text: &str) -> String {
    format!("{text}\0")
}

/// The entry of a row whose columns start with `key, kind, json, blob, version, expires_ms`.
pub(super) fn entry_of(row: &SqliteRow) -> Result<KvEntry, sqlx::Error> {
    let value = match row.try_get(1)? {
        "json" => KvValue::Json(row.try_get::<&str, _>(2)?.into()),
        _ => KvValue::Blob(Bytes::copy_from_slice(row.try_get::<&[u8], _>(3)?)),
    };
    let expires_ms: Option<i64> = row.try_get(5)?;
    Ok(KvEntry {
        value,
        version: row.try_get::<i64, _>(4)?.cast_unsigned(),
        expires_ms: expires_ms.map(i64::cast_unsigned),
    })
}

fn expiring_of(row: &SqliteRow) -> Result<Expiring, sqlx::Error> {
    Ok(Expiring {
        app: AppId(row.try_get(0)?),
        key: row.try_get::<&str, _>(1)?.into(),
        version: row.try_get::<i64, _>(2)?.cast_unsigned(),
        expires_ms: row.try_get::<i64, _>(3)?.cast_unsigned(),
    })
}

// One statement, so that all of it is of one moment. An app that is just being deleted keeps nothing.
pub(crate) const USAGE: &str = "
    select n.value, coalesce(u.kv_bytes, 0), coalesce(u.events, 0)
    from   commit_number n
    left   join app_usage u on u.app_id = $1
    where  n.id = 1";

const EXPIRING: &str = "
    select app_id, key, version, expires_ms
    from   kv
    where  expires_ms is not null
    order  by expires_ms
    limit  $1";

const PAGE: &str = "
    select key, kind, json, blob, version, expires_ms
    from   kv
    where  app_id = $1 and key >= $3 and key < $4
    order  by key
    limit  $2";

const PAGE_TO_THE_END: &str = "
    select key, kind, json, blob, version, expires_ms
    from   kv
    where  app_id = $1 and key >= $3
    order  by key
    limit  $2";

static UPSERT: Statements = LazyLock::new(|| {
    SIZES.map(|size| {
        let row = |at: usize| {
            let [app, key, kind, json, blob, version, expires] =
                std::array::from_fn(|column| 7 * at + column + 1);
            format!("(${app}, ${key}, ${kind}, ${json}, ${blob}, ${version}, ${expires})")
        };
        format!(
            "insert into kv (app_id, key, kind, json, blob, version, expires_ms)
             values {}
             on conflict (app_id, key) do update
             set kind = excluded.kind, json = excluded.json, blob = excluded.blob,
                 version = excluded.version, expires_ms = excluded.expires_ms",
            list_of(size, row)
        )
    })
});

static DELETE: Statements = LazyLock::new(|| {
    SIZES.map(|size| {
        format!(
            "delete from kv where app_id = $1 and key in ({})",
            list_of(size, |at| format!("${}", at + 2))
        )
    })
});

static SELECT: Statements = LazyLock::new(|| {
    SIZES.map(|size| {
        let keys = list_of(size, |at| format!("${}", at + 2));
        format!(
            "select key, kind, json, blob, version, expires_ms
             from   kv
             where  app_id = $1 and key in ({keys})"
        )
    })
});

/// The statements whose cost must not grow with the table, each with the index that it must use.
#[cfg(test)]
pub(crate) const STATEMENTS: [(&str, &str); 3] = [
    (EXPIRING, "kv_expires"),
    (PAGE, "PRIMARY KEY (app_id=? AND key>? AND key<?)"),
    (PAGE_TO_THE_END, "PRIMARY KEY (app_id=? AND key>?)"),
];
