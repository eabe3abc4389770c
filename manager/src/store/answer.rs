//! Answers that are kept. Commits write them, together with the effects of their calls; this reads what is durable.

use async_trait::async_trait;
use picloud_host::answer::{AnswerOp, Idempotency, KeptCall, KeptTotals, NewAnswer, Progress};
use picloud_host::call::{Answer, AppId};
use picloud_host::event::EventState;
use picloud_host::ports::{Answers, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use crate::store::column::{damaged, to_i64, to_u64, to_uuid};
use crate::store::{Store, failed};

/// So much more than it has each answer counts, in bytes: what its row and its entries in the indexes take at most.
const FIXED: u64 = 4096;

/// How many expired answers go with each one that is new: more than come, so that they do not pile up.
const EXPIRED_AT_ONCE: i64 = 16;

/// How long a call that was taken back before it ran is remembered after it was accepted, and a callback after it could not
/// be sent, in milliseconds.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

/// Do the operations one after the other.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    ops: &[AnswerOp],
    now_ms: u64,
) -> sqlx::Result<()> {
    for op in ops {
        match op {
            AnswerOp::Expect(new) => {
                forget_expired(connection, new.app, now_ms).await?;
                expect(connection, new).await?;
            }
            AnswerOp::Keep { id, answer, expires_ms, frees_key } => {
                let query =
                    sqlx::query(KEEP).bind(id.as_bytes().to_vec()).bind(to_i64(FIXED + answer.size() as u64));
                let query = query.bind(i64::from(answer.status)).bind(to_i64(*expires_ms));
                let query = query.bind(answer.headers_to_json()).bind(answer.body.to_vec()).bind(*frees_key);
                query.execute(&mut *connection).await?;
            }
        }
    }
    Ok(())
}

/// Delete some of what nobody may see any more. Where nothing is written nothing grows, so no timer is needed.
async fn forget_expired(connection: &mut SqliteConnection, app: AppId, now_ms: u64) -> sqlx::Result<()> {
    sqlx::query(FORGET).bind(to_i64(now_ms)).bind(EXPIRED_AT_ONCE).execute(&mut *connection).await?;
    let since_ms = to_i64(now_ms.saturating_sub(REMEMBERED_MS));
    let query = sqlx::query(FORGET_TAKEN_BACK).bind(app.0).bind(since_ms).bind(EXPIRED_AT_ONCE);
    query.execute(&mut *connection).await?;
    let query = sqlx::query(FORGET_CALLBACKS).bind(since_ms).bind(EXPIRED_AT_ONCE);
    query.execute(&mut *connection).await?;
    Ok(())
}

async fn expect(connection: &mut SqliteConnection, new: &NewAnswer) -> sqlx::Result<()> {
    let idempotency = new.idempotency.as_ref();
    if let Some(Idempotency { key, .. }) = idempotency {
        // One that has expired may still be there.
        let query = sqlx::query(FORGET_REPEATED).bind(new.app.0).bind(new.script.clone()).bind(key.clone());
        query.execute(&mut *connection).await?;
    }
    sqlx::query(EXPECT)
        .bind(new.id.as_bytes().to_vec())
        .bind(new.app.0)
        .bind(new.script.clone())
        .bind(to_i64(new.accepted_ms))
        .bind(new.access.map(Vec::from))
        .bind(idempotency.map(|idempotency| idempotency.key.clone()))
        .bind(idempotency.map(|idempotency| idempotency.fingerprint.to_vec()))
        .bind(idempotency.map(|idempotency| idempotency.salt.to_vec()))
        .bind(to_i64(FIXED.saturating_add(new.request_bytes)))
        .execute(connection)
        .await?;
    Ok(())
}

/// Delete all that has expired. For the start.
pub(super) async fn forget_all_expired(connection: &mut SqliteConnection, now_ms: u64) -> sqlx::Result<()> {
    sqlx::query(FORGET).bind(to_i64(now_ms)).bind(i64::MAX).execute(connection).await?;
    Ok(())
}

#[async_trait]
impl Answers for Store {
    async fn call(&self, app: AppId, id: Uuid) -> Result<Option<KeptCall>, StoreError> {
        let query = sqlx::query(CALL).bind(self.now_ms()).bind(app.0).bind(id.as_bytes().to_vec());
        let row = query.fetch_optional(&self.database.read).await.map_err(failed)?;
        row.as_ref().map(call_of).transpose().map_err(failed)
    }

    async fn repeated(
        &self,
        app: AppId,
        script: &str,
        key: &str,
    ) -> Result<Option<(KeptCall, Idempotency)>, StoreError> {
        let query = sqlx::query(REPEATED).bind(self.now_ms()).bind(app.0).bind(script.to_owned());
        let row = query.bind(key.to_owned()).fetch_optional(&self.database.read).await.map_err(failed)?;
        let both = |row: &SqliteRow| {
            let idempotency = Idempotency {
                key: key.into(),
                fingerprint: bytes_of(row.try_get("fingerprint")?)?,
                salt: bytes_of(row.try_get("salt")?)?,
            };
            Ok((call_of(row)?, idempotency))
        };
        row.as_ref().map(both).transpose().map_err(|error: sqlx::Error| failed(error))
    }

    async fn answer(&self, app: AppId, id: Uuid) -> Result<Option<Answer>, StoreError> {
        let query = sqlx::query(ANSWER).bind(self.now_ms()).bind(app.0).bind(id.as_bytes().to_vec());
        let row = query.fetch_optional(&self.database.read).await.map_err(failed)?;
        row.as_ref().map(answer_of).transpose().map_err(failed)
    }

    async fn totals(&self, app: AppId, room: u64) -> Result<KeptTotals, StoreError> {
        let total = |statement| sqlx::query_scalar::<_, i64>(statement).bind(app.0);
        let calls = total(CALLS).fetch_one(&self.database.read).await.map_err(failed)?;
        let stored = total(STORED).fetch_optional(&self.database.read).await.map_err(failed)?;
        let mut bytes = to_u64(stored.unwrap_or(0));
        if bytes > room {
            // A new answer takes some of what has expired along, but there is none as long as there is no room.
            let live = total(BYTES).bind(self.now_ms()).fetch_one(&self.database.read).await;
            bytes = to_u64(live.map_err(failed)?);
        }
        Ok(KeptTotals { calls: to_u64(calls), bytes })
    }
}

fn call_of(row: &SqliteRow) -> sqlx::Result<KeptCall> {
    let progress = match row.try_get::<Option<u16>, _>("status")? {
        Some(status) => Progress::Done {
            status,
            expires_ms: to_u64(row.try_get::<Option<i64>, _>("expires_ms")?.unwrap_or(0)),
        },
        None => match row.try_get::<Option<&str>, _>("state")?.and_then(EventState::parse) {
            Some(EventState::Waiting) => Progress::Queued(row.try_get("attempt")?),
            Some(EventState::Running) => Progress::Running(row.try_get("attempt")?),
            Some(EventState::Dead) | None => Progress::Cancelled,
        },
    };
    Ok(KeptCall {
        id: to_uuid(row.try_get("id")?)?,
        script: row.try_get::<&str, _>("script")?.into(),
        accepted_ms: to_u64(row.try_get("accepted_ms")?),
        access: row.try_get::<Option<&[u8]>, _>("access")?.map(bytes_of).transpose()?,
        progress,
    })
}

fn answer_of(row: &SqliteRow) -> sqlx::Result<Answer> {
    Ok(Answer {
        status: row.try_get("status")?,
        headers: Answer::headers_from_json(row.try_get("headers")?).map_err(damaged)?,
        body: row.try_get::<Vec<u8>, _>("body")?.into(),
    })
}

fn bytes_of<const N: usize>(column: &[u8]) -> sqlx::Result<[u8; N]> {
    column.try_into().map_err(damaged)
}

const EXPECT: &str = "
    insert into answer (id, app_id, script, accepted_ms, access, idempotency_key, fingerprint, salt, bytes)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    on conflict (id) do nothing";

const KEEP: &str = "
    update answer
    set    bytes = $2, status = $3, expires_ms = $4, headers = $5, body = $6,
           idempotency_key = case when $7 then null else idempotency_key end
    where  id = $1";

const FORGET: &str = "
    delete from answer
    where  id in (select id from answer where expires_ms <= $1 order by expires_ms limit $2)";

const FORGET_TAKEN_BACK: &str = "
    delete from answer
    where  id in (select id
                  from   answer
                  where  app_id = $1 and accepted_ms <= $2 and status is null
                         and not exists (select 1 from event where event.id = answer.id)
                  order  by accepted_ms
                  limit  $3)";

const FORGET_CALLBACKS: &str = "
    delete from event
    where  seq in (select seq
                   from   event
                   where  kind = 'callback' and state = 'dead' and due_ms <= $1
                   order  by due_ms, seq
                   limit  $2)";

const FORGET_REPEATED: &str = "delete from answer where app_id = $1 and script = $2 and idempotency_key = $3";

/// A query for calls. One statement, so that it sees the answer and the event of one moment.
macro_rules! select_call {
    ($condition:literal) => {
        concat!(
            "
    select answer.id, answer.script, accepted_ms, access, fingerprint, salt, status, expires_ms,
           event.state, event.attempt
    from   answer
           left join event on event.id = answer.id
    where  (expires_ms is null or expires_ms > $1) and answer.app_id = $2 and ",
            $condition
        )
    };
}

const CALL: &str = select_call!("answer.id = $3");

const REPEATED: &str = select_call!("answer.script = $3 and idempotency_key = $4");

const ANSWER: &str = "
    select status, headers, body
    from   answer
    where  expires_ms > $1 and app_id = $2 and id = $3";

const CALLS: &str = "select count(*) from event where app_id = $1 and kind = 'http' and state <> 'dead'";

/// Triggers of the database keep it.
const STORED: &str = "select bytes from answer_total where app_id = $1";

/// The same without what has expired; its cost grows with the answers.
const BYTES: &str = "
    select coalesce(sum(bytes), 0)
    from   answer
    where  app_id = $1 and (expires_ms is null or expires_ms > $2)";

/// The statements whose cost must not grow with the table, each with the index that it must use.
#[cfg(test)]
pub(crate) const STATEMENTS: [(&str, &str); 11] = [
    (KEEP, "sqlite_autoindex_answer_1 (id=?)"),
    (FORGET, "COVERING INDEX answer_expires (expires_ms<?)"),
    (FORGET_TAKEN_BACK, "answer_expected (app_id=? AND accepted_ms<?)"),
    (FORGET_CALLBACKS, "COVERING INDEX event_dead_callback (due_ms<?)"),
    (FORGET_REPEATED, "answer_idempotency (app_id=? AND script=? AND idempotency_key=?)"),
    (CALL, "sqlite_autoindex_answer_1 (id=?)"),
    (CALL, "sqlite_autoindex_event_1 (id=?)"),
    (REPEATED, "answer_idempotency (app_id=? AND script=? AND idempotency_key=?)"),
    (CALLS, "COVERING INDEX event_http (app_id=?)"),
    (STORED, "sqlite_autoindex_answer_total_1 (app_id=?)"),
    (BYTES, "COVERING INDEX answer_bytes (app_id=?)"),
];
