//! What the REST API asks about events: lists, counts, and what it takes to change many.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use picloud_host::call::AppId;
use picloud_host::event::{EventKind, EventState, Lane, StoredEvent};
use picloud_host::ports::StoreError;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use uuid::Uuid;

use super::lane_of;
use super::row::{decode, readable, select_event};
use crate::store::column::{damaged, to_i64, to_u64, to_uuid};
use crate::store::{Store, failed};

/// Which events to list; an absent condition does not bind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// What they do.
    pub state: Option<EventState>,
    /// The script that is called, by name.
    pub script: Option<String>,
    /// Where they wait, or waited before.
    pub lane: Option<Lane>,
    /// What made them.
    pub kind: Option<EventKind>,
    /// The root of the chain of triggers.
    pub root: Option<Uuid>,
}

/// How many events a lane has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneCount {
    /// The lane.
    pub lane: Lane,
    /// Those that wait.
    pub waiting: u64,
    /// Those that a call handles.
    pub running: u64,
    /// Those that have failed for good.
    pub dead: u64,
    /// When the first of those that wait may run, in milliseconds since the Unix epoch.
    pub next_due_ms: Option<u64>,
}

/// What it takes to remove an event or to replay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventKey {
    /// In the order in which events were stored.
    pub seq: i64,
    /// Which.
    pub id: Uuid,
    /// Where it waits if it is replayed.
    pub lane: Lane,
}

/// Some events of a list.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// In the order of the list.
    pub events: Vec<StoredEvent>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// Bytes of data after which a page ends; the event that goes over is the last.
const PAGE_BYTES: usize = 4 << 20;

impl Store {
    /// At most `limit` events of an app, fewer if their data is large, from the one after `after` on, which is the `due_ms` and the `seq` of the last
    /// one that is known.
    ///
    /// Those that wait or run come by when they are due, the next first; dead ones by when they died, the last first; and
    /// where the state does not matter, they come by when they were stored, the last first.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn events(
        &self,
        app: AppId,
        filter: &Filter,
        after: Option<(u64, i64)>,
        limit: u32,
    ) -> Result<EventPage, StoreError> {
        let mut query = select(app, filter, after, limit.saturating_add(1));
        let mut rows = query.build().fetch(&self.database.read);
        let (mut events, mut bytes) = (Vec::new(), 0);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            if events.len() == limit || bytes > PAGE_BYTES {
                return Ok(EventPage { events, more: true });
            }
            for event in readable(std::slice::from_ref(&row), decode) {
                bytes += event.event.call.data.len();
                events.push(event);
            }
        }
        Ok(EventPage { events, more: false })
    }

    /// At most `limit` events of an app in the order in which they were stored, without what they are about: those whose
    /// `seq` is greater than the first and not greater than the second.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn event_keys(
        &self,
        app: AppId,
        filter: &Filter,
        (after, until): (i64, i64),
        limit: u32,
    ) -> Result<Vec<EventKey>, StoreError> {
        let mut query = QueryBuilder::new("select seq, id, lane from event where app_id = ");
        query.push_bind(app.0);
        push_filter(&mut query, filter);
        query.push(" and seq > ").push_bind(after).push(" and seq <= ").push_bind(until);
        query.push(" order by seq limit ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&self.database.read).await.map_err(failed)?;
        let key = |row: &SqliteRow| {
            Ok(EventKey { seq: row.try_get("seq")?, id: to_uuid(row.try_get("id")?)?, lane: lane_of(row)? })
        };
        Ok(readable(&rows, key))
    }

    /// The `seq` of the event that was stored last, of all apps; 0 when there is none.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar("select coalesce(max(seq), 0) from event");
        query.fetch_one(&self.database.read).await.map_err(failed)
    }

    /// The lanes of an app in which there are events, in the order of their names.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn lanes_of(&self, app: AppId) -> Result<Vec<LaneCount>, StoreError> {
        let query = sqlx::query(COUNTS).bind(app.0);
        let rows = query.fetch_all(&self.database.read).await.map_err(failed)?;
        let mut lanes = BTreeMap::new();
        for (lane, state, count, due_ms) in readable(&rows, count_of) {
            let none = LaneCount { lane: lane.clone(), waiting: 0, running: 0, dead: 0, next_due_ms: None };
            let counts = lanes.entry(lane).or_insert(none);
            match state {
                EventState::Waiting => (counts.waiting, counts.next_due_ms) = (count, Some(due_ms)),
                EventState::Running => counts.running = count,
                EventState::Dead => counts.dead = count,
            }
        }
        Ok(lanes.into_values().collect())
    }
}

pub(super) fn select(
    app: AppId,
    filter: &Filter,
    after: Option<(u64, i64)>,
    limit: u32,
) -> QueryBuilder<Sqlite> {
    let order = match filter.state {
        Some(EventState::Waiting | EventState::Running) => "due_ms, seq",
        Some(EventState::Dead) => "due_ms desc, seq desc",
        None => "seq desc",
    };
    // In two steps, so that what must be sorted or left out is not read whole.
    let mut query = QueryBuilder::new(select_event!("where seq in (select seq from event where app_id = "));
    query.push_bind(app.0);
    push_filter(&mut query, filter);
    match (filter.state, after) {
        (_, None) => {}
        (None, Some((_, seq))) => drop(query.push(" and seq < ").push_bind(seq)),
        (Some(state), Some((due_ms, seq))) => {
            let beyond = if state == EventState::Dead { "<" } else { ">" };
            query.push(format!(" and (due_ms, seq) {beyond} ("));
            query.push_bind(to_i64(due_ms)).push(", ").push_bind(seq).push(")");
        }
    }
    query.push(format!(" order by {order} limit ")).push_bind(i64::from(limit));
    query.push(format!(") order by {order}"));
    query
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, filter: &Filter) {
    let Filter { state, script, lane, kind, root } = filter;
    if let Some(state) = state {
        // Not a parameter: an index that holds only one state is used only if the statement says that it is enough.
        query.push(format!(" and state = '{}'", state.as_str()));
    }
    if let Some(script) = script {
        query.push(" and script = ").push_bind(script.clone());
    }
    if let Some(lane) = lane {
        query.push(" and lane = ").push_bind(lane.to_text());
    }
    if let Some(kind) = kind {
        query.push(" and kind = ").push_bind(kind.as_str());
    }
    if let Some(root) = root {
        query.push(" and root_id = ").push_bind(root.as_bytes().to_vec());
    }
}

fn count_of(row: &SqliteRow) -> sqlx::Result<(Lane, EventState, u64, u64)> {
    let state = EventState::parse(row.try_get("state")?).ok_or_else(|| damaged("the state is unknown"))?;
    Ok((lane_of(row)?, state, to_u64(row.try_get("count")?), to_u64(row.try_get("due_ms")?)))
}

// Three parts, since each state has an index of its own.
pub(super) const COUNTS: &str = "
    select lane, 'waiting' as state, count(*) as count, min(due_ms) as due_ms
    from   event
    where  app_id = $1 and state = 'waiting'
    group  by lane
    union  all
    select lane, 'running' as state, count(*) as count, min(due_ms) as due_ms
    from   event
    where  app_id = $1 and state = 'running'
    group  by lane
    union  all
    select lane, 'dead' as state, count(*) as count, min(due_ms) as due_ms
    from   event
    where  app_id = $1 and state = 'dead'
    group  by lane";
