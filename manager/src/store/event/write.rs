//! What a group of commits does to events, in as few statements as its order allows.

use std::collections::HashSet;
use std::sync::LazyLock;

use picloud_host::event::{EventFailure, EventOp, NewEvent};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::store::chunks::{SIZES, Statements, chunks, list_of};
use crate::store::column::to_i64;

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Do the operations as if one after the other. One on an event that is not there does nothing.
pub(in crate::store) async fn apply(
    connection: &mut SqliteConnection,
    ops: &[EventOp],
    now_ms: u64,
) -> sqlx::Result<()> {
    let mut batch = Batch::default();
    for op in ops {
        if batch.add(op) {
            continue;
        }
        std::mem::take(&mut batch).write(connection).await?;
        // What goes into batches at all goes into an empty one.
        if !batch.add(op) {
            write_alone(connection, op, now_ms).await?;
        }
    }
    batch.write(connection).await
}

/// Operations whose order does not matter, so that those of a kind can go together: each is on another event, and none
/// gives the dedupe key of an event free that an earlier one has asked for.
///
/// A transaction ends one event and makes others, so hardly any two neighbours in a group are of the same kind.
#[derive(Default)]
struct Batch<'a> {
    ids: HashSet<Uuid>,
    ended: Vec<Uuid>,
    claimed: Vec<Claimed>,
    inserted: Vec<&'a NewEvent>,
    /// Whether an event with a dedupe key is among those inserted.
    keyed: bool,
}

struct Claimed {
    id: Uuid,
    attempt: u32,
    lease_ms: u64,
}

impl<'a> Batch<'a> {
    /// Add an operation. False if it cannot go together with the others.
    fn add(&mut self, op: &'a EventOp) -> bool {
        match op {
            EventOp::Insert(event) if self.ids.insert(event.id) => {
                self.keyed |= event.dedupe_key.is_some();
                self.inserted.push(event);
            }
            EventOp::Claim { id, attempt, lease_ms } if self.ids.insert(*id) => {
                self.claimed.push(Claimed { id: *id, attempt: *attempt, lease_ms: *lease_ms });
            }
            EventOp::Complete { id } | EventOp::Remove { id } if !self.keyed && self.ids.insert(*id) => {
                self.ended.push(*id);
            }
            _ => return false,
        }
        true
    }

    /// Those that end events come first: they give dedupe keys free for those that were added after them.
    async fn write(self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        for (chunk, statement) in chunks(&self.ended, &DELETE) {
            let bind = |query: Query<'static>, id: &Uuid| query.bind(bytes(*id));
            chunk.iter().fold(sqlx::query(statement), bind).execute(&mut *connection).await?;
        }
        for (chunk, statement) in chunks(&self.claimed, &CLAIM) {
            let bind = |query: Query<'static>, claimed: &Claimed| {
                let Claimed { id, attempt, lease_ms } = claimed;
                query.bind(bytes(*id)).bind(i64::from(*attempt)).bind(to_i64(*lease_ms))
            };
            chunk.iter().fold(sqlx::query(statement), bind).execute(&mut *connection).await?;
        }
        for (chunk, statement) in chunks(&self.inserted, &INSERT) {
            let query = chunk.iter().copied().fold(sqlx::query(statement), bind_event);
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }
}

/// Bind an event's values in the order of [`COLUMNS`].
fn bind_event<'q>(query: Query<'q>, event: &NewEvent) -> Query<'q> {
    let NewEvent { call, cause, .. } = event;
    query
        .bind(bytes(event.id))
        .bind(event.app.0)
        .bind(event.trigger.map(|trigger| trigger.0))
        .bind(call.trigger.as_str())
        .bind(event.script.clone())
        .bind(event.lane.to_text())
        .bind(to_i64(event.due_ms))
        .bind(i64::from(event.max_attempts))
        .bind(event.dedupe_key.clone())
        .bind(bytes(cause.root))
        .bind(cause.parent.map(bytes))
        .bind(i64::from(cause.depth))
        .bind(call.id.clone())
        .bind(call.source.clone())
        .bind(call.kind.clone())
        .bind(call.subject.clone())
        .bind(to_i64(call.time_ms))
        .bind(call.data.clone())
}

/// The operations that are rare, or of which no two are alike.
async fn write_alone(connection: &mut SqliteConnection, op: &EventOp, now_ms: u64) -> sqlx::Result<()> {
    let query = match op {
        EventOp::Retry { id, due_ms, attempt, failure: None, .. } => {
            sqlx::query(RETRY).bind(bytes(*id)).bind(to_i64(*due_ms)).bind(i64::from(*attempt))
        }
        EventOp::Retry { id, due_ms, attempt, failure: Some(failure), .. } => {
            let query = sqlx::query(RETRY_AFTER_FAILURE).bind(bytes(*id)).bind(to_i64(*due_ms));
            bind_failure(query.bind(i64::from(*attempt)), failure)
        }
        EventOp::Bury { id, failure } => {
            bind_failure(sqlx::query(BURY).bind(bytes(*id)).bind(to_i64(now_ms)), failure)
        }
        EventOp::Replay { id, due_ms, .. } => sqlx::query(REPLAY).bind(bytes(*id)).bind(to_i64(*due_ms)),
        EventOp::Advance { trigger, from_ms, next_ms } => {
            sqlx::query(ADVANCE).bind(trigger.0).bind(to_i64(*from_ms)).bind(next_ms.map(to_i64))
        }
        EventOp::Insert(_) | EventOp::Claim { .. } | EventOp::Complete { .. } | EventOp::Remove { .. } => {
            return Ok(());
        }
    };
    query.execute(connection).await?;
    Ok(())
}

fn bind_failure<'q>(query: Query<'q>, failure: &EventFailure) -> Query<'q> {
    let EventFailure { code, message, execution } = failure;
    query.bind(code.clone()).bind(message.clone()).bind(execution.map(bytes))
}

fn bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

const COLUMNS: [&str; 18] = [
    "id",
    "app_id",
    "trigger_id",
    "kind",
    "script",
    "lane",
    "due_ms",
    "max_attempts",
    "dedupe_key",
    "root_id",
    "parent_id",
    "depth",
    "event_id",
    "source",
    "type",
    "subject",
    "time_ms",
    "data",
];

// In the statements for many rows the parameters have no numbers: SQLite looks numbered ones up one after the other, which
// takes longer than the row when there are hundreds.

static INSERT: Statements = LazyLock::new(|| {
    let row = format!("('waiting', 0, {})", ["?"; COLUMNS.len()].join(", "));
    SIZES.map(|size| {
        // The conflict is with an event that has the same dedupe key: then this one is not wanted.
        format!(
            "insert into event (state, attempt, {})
             values {}
             on conflict do nothing",
            COLUMNS.join(", "),
            list_of(size, |_| row.clone())
        )
    })
});

static CLAIM: Statements = LazyLock::new(|| {
    SIZES.map(|size| {
        format!(
            "with claim (id, attempt, lease_ms) as (values {})
             update event
             set    state = 'running', attempt = claim.attempt, due_ms = claim.lease_ms
             from   claim
             where  event.id = claim.id",
            list_of(size, |_| "(?, ?, ?)".to_owned())
        )
    })
});

static DELETE: Statements = LazyLock::new(|| {
    SIZES.map(|size| format!("delete from event where id in ({})", list_of(size, |_| "?".to_owned())))
});

const RETRY: &str = "
    update event
    set    state = 'waiting', due_ms = $2, attempt = $3
    where  id = $1";

const RETRY_AFTER_FAILURE: &str = "
    update event
    set    state = 'waiting', due_ms = $2, attempt = $3, failure_code = $4, failure_text = $5, failure_id = $6
    where  id = $1";

const BURY: &str = "
    update event
    set    state = 'dead', due_ms = $2, failure_code = $3, failure_text = $4, failure_id = $5
    where  id = $1";

// Another event may have come with the same dedupe key meanwhile. Somebody wants this one to run all the same.
const REPLAY: &str = "
    update event
    set    state = 'waiting', due_ms = $2, attempt = 0, failure_code = null, failure_text = null, failure_id = null,
           dedupe_key = case
               when exists (select 1
                            from   event other
                            where  other.app_id = event.app_id and other.lane = event.lane
                                   and other.dedupe_key = event.dedupe_key and other.state <> 'dead'
                                   and other.seq <> event.seq)
               then null
               else dedupe_key
           end
    where  id = $1";

const ADVANCE: &str = "update event_trigger set next_ms = $3 where id = $1 and next_ms = $2";

/// See [`super::statements`].
#[cfg(test)]
pub(super) fn statements() -> Vec<(&'static str, &'static str)> {
    const BY_ID: &str = "sqlite_autoindex_event_1 (id=?)";
    let many = CLAIM.iter().chain(&*DELETE).map(|statement| (statement.as_str(), BY_ID));
    let one = [RETRY, RETRY_AFTER_FAILURE, BURY, REPLAY].map(|statement| (statement, BY_ID));
    many.chain(one).chain([(REPLAY, "event_dedupe (app_id=? AND lane=? AND dedupe_key=?)")]).collect()
}
