//! Events. The sequencer of the data plane orders what happens to them; this reads what is durable.
//!
//! In reading order: `row` (an event as its columns have it), `write` (what a commit does to events), here the port and
//! what a start has to do; `list` (what the REST API asks).

pub mod list;
#[cfg(test)]
mod list_tests;
mod row;
mod write;

use async_trait::async_trait;
use picloud_host::call::AppId;
use picloud_host::event::{Lane, StoredEvent};
use picloud_host::ports::{Events, LaneDue, StoreError};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::store::column::{damaged, to_i64, to_u64};
use crate::store::failed;
use crate::store::kv::KvTable;

use row::{decode, readable, select_event};
pub(super) use write::apply;

impl KvTable {
    /// Let every event wait again that is claimed. Whoever claimed it is gone: only one process uses the database, and it
    /// claims nothing before this. How often the event was tried stays.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(super) async fn release_claims(&self) -> Result<(), StoreError> {
        let query = sqlx::query(RELEASE).bind(to_i64(self.clock.now_ms()));
        let released = query.execute(&self.database.write).await.map_err(failed)?.rows_affected();
        if released > 0 {
            tracing::info!(
                events = released,
                "events that were running when the server ended will run again"
            );
        }
        Ok(())
    }
}

#[async_trait]
impl Events for KvTable {
    async fn lanes(&self) -> Result<Vec<LaneDue>, StoreError> {
        let rows = sqlx::query(LANES).fetch_all(&self.database.read).await.map_err(failed)?;
        Ok(readable(&rows, lane_due))
    }

    async fn waiting(&self, app: AppId, lane: &Lane, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let query = sqlx::query(WAITING).bind(app.0).bind(lane.to_text()).bind(to_limit(limit));
        let rows = query.fetch_all(&self.database.read).await.map_err(failed)?;
        Ok(readable(&rows, decode))
    }

    async fn event(&self, app: AppId, id: Uuid) -> Result<Option<StoredEvent>, StoreError> {
        let query = sqlx::query(EVENT).bind(app.0).bind(id.as_bytes().to_vec());
        let row = query.fetch_optional(&self.database.read).await.map_err(failed)?;
        row.as_ref().map(decode).transpose().map_err(failed)
    }

    async fn waiting_for(
        &self,
        app: AppId,
        script: &str,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let query = sqlx::query(WAITING_FOR).bind(app.0).bind(script.to_owned()).bind(to_limit(limit));
        let rows = query.fetch_all(&self.database.read).await.map_err(failed)?;
        Ok(readable(&rows, decode))
    }
}

fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn lane_due(row: &SqliteRow) -> sqlx::Result<LaneDue> {
    Ok(LaneDue {
        app: AppId(row.try_get("app_id")?),
        lane: lane_of(row)?,
        due_ms: to_u64(row.try_get("due_ms")?),
    })
}

/// The lane in a row.
fn lane_of(row: &SqliteRow) -> sqlx::Result<Lane> {
    Lane::parse(row.try_get("lane")?).ok_or_else(|| damaged("the lane is unknown"))
}

const RELEASE: &str = "
    update event
    set    state = 'waiting', due_ms = $1
    where  state = 'running'";

const LANES: &str = "
    select app_id, lane, min(due_ms) as due_ms
    from   event
    where  state = 'waiting'
    group  by app_id, lane";

const WAITING: &str = select_event!(
    "where  app_id = $1 and lane = $2 and state = 'waiting'
    order  by due_ms, seq
    limit  $3"
);

const EVENT: &str = select_event!("where  app_id = $1 and id = $2");

// Without the data: a script that looks learns nothing of it, and it may be large.
const WAITING_FOR: &str = "
    select seq, id, app_id, trigger_id, kind, script, lane, state, due_ms, attempt, max_attempts, dedupe_key,
           root_id, parent_id, depth, failure_code, failure_text, failure_id, event_id, source, type, subject,
           time_ms, 'null' as data
    from   event
    where  app_id = $1 and script = $2 and state = 'waiting'
    order  by due_ms, seq
    limit  $3";

/// The statements whose cost must not grow with the table, each with the index that it must use.
#[cfg(test)]
pub(crate) fn statements() -> Vec<(&'static str, &'static str)> {
    let mut statements = write::statements();
    statements.extend([
        (RELEASE, "event_running"),
        (LANES, "COVERING INDEX event_lane"),
        (WAITING, "event_lane (app_id=? AND lane=?)"),
        (EVENT, "sqlite_autoindex_event_1 (id=?)"),
        (WAITING_FOR, "event_script (app_id=? AND script=?)"),
    ]);
    statements
}
