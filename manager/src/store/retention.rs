//! Keeping telemetry within an age and a size: the oldest goes when new things are written, so no timer is needed.

use picloud_host::call::AppId;
use sqlx::{SqliteConnection, SqlitePool};

use super::column::{to_i64, to_u64};

/// How many rows to delete at once. Each batch is a transaction, short enough for readers not to notice.
const BATCH: u64 = 250;

/// What a minute of a script version takes at most, in a script whose costs vary widely.
const MINUTE_ROW_BYTES: u64 = 1024;

/// What may be kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of the database file, without its write-ahead log.
    pub file_bytes: u64,
    /// Age of records of executions in milliseconds.
    pub record_age_ms: u64,
    /// Age of costs and faults by minute in milliseconds.
    pub minute_age_ms: u64,
}

impl Bounds {
    /// How many minutes may be kept: a quarter of the file, and the records have the rest.
    fn minutes(&self) -> u64 {
        self.file_bytes / 4 / MINUTE_ROW_BYTES
    }
}

/// Make room for `bytes` more: delete records that are too old, and then the oldest until there is enough room.
/// Returns how many minutes had to go, too, because there was no record left.
///
/// # Errors
///
/// Storage failed.
pub async fn make_room(
    connection: &mut SqliteConnection,
    bounds: &Bounds,
    bytes: u64,
    now_ms: u64,
) -> sqlx::Result<u64> {
    let oldest_record = to_i64(now_ms.saturating_sub(bounds.record_age_ms));
    while delete_records(connection, oldest_record).await? == BATCH {}

    let target = bounds.file_bytes.saturating_sub(bytes);
    let mut minutes = 0;
    while used_bytes(connection).await? > target {
        if delete_records(connection, i64::MAX).await? > 0 {
            continue;
        }
        match delete_minutes(connection, i64::MAX, BATCH).await? {
            0 => break,
            deleted => minutes += deleted,
        }
    }
    // Only when the bound was larger before: else new pages come out of the free ones.
    let (page_bytes, pages, free) = pages(connection).await?;
    if pages * page_bytes > bounds.file_bytes && free > 0 {
        sqlx::query("pragma incremental_vacuum").execute(connection).await?;
    }
    Ok(minutes)
}

/// Delete minutes that are too old or too many of the `stored` ones. Returns how many.
///
/// # Errors
///
/// Storage failed.
pub async fn trim_minutes(
    connection: &mut SqliteConnection,
    bounds: &Bounds,
    stored: u64,
    now_ms: u64,
) -> sqlx::Result<u64> {
    let mut total = 0;
    let oldest = to_i64(now_ms.saturating_sub(bounds.minute_age_ms) / 60_000);
    loop {
        let deleted = delete_minutes(connection, oldest, BATCH).await?;
        total += deleted;
        if deleted < BATCH {
            break;
        }
    }
    loop {
        let excess = stored.saturating_sub(total).saturating_sub(bounds.minutes());
        match delete_minutes(connection, i64::MAX, excess.min(BATCH)).await? {
            0 => return Ok(total),
            deleted => total += deleted,
        }
    }
}

/// How many minutes are stored.
///
/// # Errors
///
/// Storage failed.
pub async fn count_minutes(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    sqlx::query_scalar("select count(*) from execution_minute").fetch_one(connection).await.map(to_u64)
}

/// Delete those of the [`BATCH`] oldest records that started before `before_ms`.
async fn delete_records(connection: &mut SqliteConnection, before_ms: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "delete from execution
         where seq <= (select max(seq) from (select seq from execution order by seq limit $1)) and started_ms < $2",
    )
    .bind(to_i64(BATCH))
    .bind(before_ms)
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Delete the `rows` oldest minutes, as far as they are before the minute `before`.
async fn delete_minutes(connection: &mut SqliteConnection, before: i64, rows: u64) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "delete from execution_minute
         where id in (select id from execution_minute where minute < $1 order by minute limit $2)",
    )
    .bind(before)
    .bind(to_i64(rows))
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// Delete some of what is kept about an app. Returns how many rows; none when nothing is left.
///
/// # Errors
///
/// Storage failed.
pub async fn delete_of_app(pool: &SqlitePool, app: AppId) -> sqlx::Result<u64> {
    let mut deleted = 0;
    for delete in [
        "delete from execution where seq in (select seq from execution where app_id = $1 limit $2)",
        "delete from execution_minute where id in (select id from execution_minute where app_id = $1 limit $2)",
    ] {
        let done = sqlx::query(delete).bind(app.0).bind(to_i64(BATCH)).execute(pool).await?;
        deleted += done.rows_affected();
    }
    Ok(deleted)
}

/// Bytes of the pages that hold something.
async fn used_bytes(connection: &mut SqliteConnection) -> sqlx::Result<u64> {
    let (page_bytes, pages, free) = pages(connection).await?;
    Ok((pages - free) * page_bytes)
}

/// Bytes of a page, pages of the file, and how many of them are free.
async fn pages(connection: &mut SqliteConnection) -> sqlx::Result<(u64, u64, u64)> {
    let mut numbers = [0; 3];
    let pragmas = ["pragma page_size", "pragma page_count", "pragma freelist_count"];
    for (number, pragma) in numbers.iter_mut().zip(pragmas) {
        *number = to_u64(sqlx::query_scalar(pragma).fetch_one(&mut *connection).await?);
    }
    Ok(numbers.into())
}
