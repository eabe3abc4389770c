//! Schedules: which of them are due, and whether what they have made is done. When one is due next, the caller says.

use picloud_host::event::TriggerId;
use picloud_host::ports::StoreError;

use super::{Row, Trigger, select_trigger};
use crate::store::column::{to_i64, to_u64};
use crate::store::{Store, failed};

impl Store {
    /// At most `limit` enabled schedules that are due at `now_ms`, those first that have been due for the longest.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn due_schedules(&self, now_ms: u64, limit: u32) -> Result<Vec<Trigger>, StoreError> {
        let query = sqlx::query_as(DUE).bind(to_i64(now_ms)).bind(i64::from(limit));
        let rows: Vec<Row> = query.fetch_all(&self.database.read).await.map_err(failed)?;
        let mut due = Vec::new();
        for row in rows {
            let id = TriggerId(row.id);
            match row.into_trigger() {
                Some(trigger) => due.push(trigger),
                None => self.never_due(id).await?,
            }
        }
        Ok(due)
    }

    /// When the next of all enabled schedules is due, in milliseconds since the Unix epoch; none when none ever is.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn next_schedule(&self) -> Result<Option<u64>, StoreError> {
        let next = sqlx::query_scalar::<_, Option<i64>>(NEXT).fetch_one(&self.database.read).await;
        next.map(|next| next.map(to_u64)).map_err(failed)
    }

    /// Whether an event that a schedule has made waits or runs.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn has_live_event(&self, schedule: TriggerId) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar(LIVE).bind(schedule.0);
        query.fetch_one(&self.database.read).await.map_err(failed)
    }

    /// Put a schedule that cannot be read out of the way: nobody could say when it is due next, so it would be for ever.
    async fn never_due(&self, id: TriggerId) -> Result<(), StoreError> {
        let query = sqlx::query("update event_trigger set next_ms = null where id = $1").bind(id.0);
        query.execute(&self.database.write).await.map_err(failed)?;
        Ok(())
    }
}

const DUE: &str = select_trigger!(
    "where  t.enabled and t.next_ms <= $1
    order  by t.next_ms
    limit  $2"
);

const NEXT: &str = "
    select min(next_ms)
    from   event_trigger
    where  enabled and next_ms is not null";

const LIVE: &str = "
    select exists (select 1
                   from   event
                   where  trigger_id = $1 and kind = 'schedule' and state <> 'dead')";

/// The statements whose cost must not grow with the table, each with the index that it must use.
#[cfg(test)]
pub(crate) const STATEMENTS: [(&str, &str); 3] = [
    (DUE, "event_trigger_next (next_ms<?)"),
    (NEXT, "event_trigger_next"),
    (LIVE, "event_schedule (trigger_id=?)"),
];
