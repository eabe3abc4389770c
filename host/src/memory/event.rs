//! Events in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use uuid::Uuid;

use crate::call::AppId;
use crate::event::{EventOp, EventState, Lane, NewEvent, StoredEvent};
use crate::ports::{Events, LaneDue, StoreError};

/// Events by the order in which they were stored.
#[derive(Debug, Default)]
pub struct MemoryEvents(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<i64, StoredEvent>,
    last_seq: i64,
}

impl MemoryEvents {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Do what a group says.
    pub(super) fn apply(&self, ops: &[EventOp]) {
        let mut table = self.table();
        ops.iter().for_each(|op| table.apply(op));
    }

    /// How many events an app has.
    pub(super) fn count(&self, app: AppId) -> i64 {
        let count = self.table().rows.values().filter(|row| row.event.app == app).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    fn select(&self, limit: usize, wanted: impl Fn(&StoredEvent) -> bool) -> Vec<StoredEvent> {
        let table = self.table();
        let mut found: Vec<StoredEvent> = table.rows.values().filter(|row| wanted(row)).cloned().collect();
        found.sort_by_key(|row| (row.event.due_ms, row.seq));
        found.truncate(limit);
        found
    }
}

impl Table {
    fn apply(&mut self, op: &EventOp) {
        match op {
            EventOp::Insert(event) => self.insert(event),
            EventOp::Claim { id, attempt, lease_ms } => self.update(id, |row| {
                (row.state, row.attempt, row.event.due_ms) = (EventState::Running, *attempt, *lease_ms);
            }),
            EventOp::Complete { id } | EventOp::Remove { id } => {
                self.rows.retain(|_, row| row.event.id != *id);
            }
            EventOp::Retry { id, due_ms, attempt, failure, .. } => self.update(id, |row| {
                (row.state, row.attempt, row.event.due_ms) = (EventState::Waiting, *attempt, *due_ms);
                row.failure = failure.clone().or(row.failure.take());
            }),
            EventOp::Bury { id, failure } => self.update(id, |row| {
                (row.state, row.failure) = (EventState::Dead, Some(failure.clone()));
            }),
            EventOp::Replay { id, due_ms, .. } => self.update(id, |row| {
                (row.state, row.attempt, row.event.due_ms) = (EventState::Waiting, 0, *due_ms);
                row.failure = None;
            }),
            // There are no schedules without a server.
            EventOp::Advance { .. } => {}
        }
    }

    fn insert(&mut self, event: &NewEvent) {
        let twice = |row: &StoredEvent| {
            event.dedupe_key.is_some()
                && row.state != EventState::Dead
                && (row.event.app, &row.event.lane, &row.event.dedupe_key)
                    == (event.app, &event.lane, &event.dedupe_key)
        };
        if self.rows.values().any(twice) {
            return;
        }
        self.last_seq += 1;
        let (seq, event) = (self.last_seq, event.clone());
        let row = StoredEvent { event, seq, attempt: 0, state: EventState::Waiting, failure: None };
        self.rows.insert(seq, row);
    }

    fn update(&mut self, id: &Uuid, change: impl FnOnce(&mut StoredEvent)) {
        if let Some(row) = self.rows.values_mut().find(|row| row.event.id == *id) {
            change(row);
        }
    }
}

#[async_trait]
impl Events for MemoryEvents {
    async fn lanes(&self) -> Result<Vec<LaneDue>, StoreError> {
        let mut lanes = BTreeMap::new();
        for row in self.select(usize::MAX, |row| row.state == EventState::Waiting) {
            lanes.entry((row.event.app, row.event.lane)).or_insert(row.event.due_ms);
        }
        Ok(lanes.into_iter().map(|((app, lane), due_ms)| LaneDue { app, lane, due_ms }).collect())
    }

    async fn waiting(&self, app: AppId, lane: &Lane, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let of_lane = |row: &StoredEvent| row.event.app == app && row.event.lane == *lane;
        Ok(self.select(limit, |row| row.state == EventState::Waiting && of_lane(row)))
    }

    async fn event(&self, app: AppId, id: Uuid) -> Result<Option<StoredEvent>, StoreError> {
        Ok(self.select(1, |row| row.event.app == app && row.event.id == id).pop())
    }

    async fn waiting_for(
        &self,
        app: AppId,
        script: &str,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let of_script = |row: &StoredEvent| row.event.app == app && *row.event.script == *script;
        Ok(self.select(limit, |row| row.state == EventState::Waiting && of_script(row)))
    }
}
