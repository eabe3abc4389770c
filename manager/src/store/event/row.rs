//! An event as the columns of its row have it.

use picloud_host::call::{AppId, EventCall};
use picloud_host::event::{Cause, EventFailure, EventKind, EventState, NewEvent, StoredEvent, TriggerId};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::lane_of;
use crate::store::column::{damaged, to_optional_uuid, to_u64, to_uuid};

/// A query for whole events.
macro_rules! select_event {
    ($rest:literal) => {
        concat!(
            "
    select seq, id, app_id, trigger_id, kind, script, lane, state, due_ms, attempt, max_attempts, dedupe_key,
           root_id, parent_id, depth, failure_code, failure_text, failure_id, event_id, source, type, subject,
           time_ms, data
    from   event
    ",
            $rest
        )
    };
}
pub(super) use select_event;

/// The rows that can be read: one that is damaged must not take the others along.
pub(super) fn readable<T>(rows: &[SqliteRow], decode: impl Fn(&SqliteRow) -> sqlx::Result<T>) -> Vec<T> {
    let read = |row| match decode(row) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(%error, "an event is damaged in the database");
            None
        }
    };
    rows.iter().filter_map(read).collect()
}

/// The event of a row of [`select_event`].
pub(super) fn decode(row: &SqliteRow) -> sqlx::Result<StoredEvent> {
    let kind = EventKind::parse(row.try_get("kind")?).ok_or_else(|| damaged("the kind is unknown"))?;
    let state = EventState::parse(row.try_get("state")?).ok_or_else(|| damaged("the state is unknown"))?;
    Ok(StoredEvent {
        event: NewEvent {
            id: to_uuid(row.try_get("id")?)?,
            app: AppId(row.try_get("app_id")?),
            trigger: row.try_get::<Option<i64>, _>("trigger_id")?.map(TriggerId),
            script: row.try_get::<&str, _>("script")?.into(),
            lane: lane_of(row)?,
            call: call(row, kind)?,
            due_ms: to_u64(row.try_get("due_ms")?),
            max_attempts: row.try_get("max_attempts")?,
            dedupe_key: row.try_get::<Option<&str>, _>("dedupe_key")?.map(Into::into),
            cause: Cause {
                root: to_uuid(row.try_get("root_id")?)?,
                parent: to_optional_uuid(row.try_get("parent_id")?)?,
                depth: row.try_get("depth")?,
            },
        },
        seq: row.try_get("seq")?,
        attempt: row.try_get("attempt")?,
        state,
        failure: failure(row)?,
    })
}

fn call(row: &SqliteRow, trigger: EventKind) -> sqlx::Result<EventCall> {
    Ok(EventCall {
        id: row.try_get("event_id")?,
        source: row.try_get("source")?,
        kind: row.try_get("type")?,
        subject: row.try_get("subject")?,
        time_ms: to_u64(row.try_get("time_ms")?),
        data: row.try_get::<&str, _>("data")?.into(),
        trigger,
    })
}

fn failure(row: &SqliteRow) -> sqlx::Result<Option<EventFailure>> {
    let Some(code) = row.try_get::<Option<String>, _>("failure_code")? else { return Ok(None) };
    let message = row.try_get::<Option<String>, _>("failure_text")?.unwrap_or_default();
    Ok(Some(EventFailure { code, message, execution: to_optional_uuid(row.try_get("failure_id")?)? }))
}
