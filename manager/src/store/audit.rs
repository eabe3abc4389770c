//! The audit log: who has changed what over the API, when, from where, and how that ended.

use picloud_host::ports::StoreError;
use sqlx::{FromRow, SqliteConnection};

use crate::store::column::{to_i64, to_u64};
use crate::store::{Store, failed};

/// How the paths begin of what everybody may do with their own sessions.
const SESSION: &str = "/api/v1/session";

/// How many entries are kept of each app, and of sessions; the oldest go first.
const KEPT_OF_APP: i64 = 10_000;

/// How many entries are kept of all together.
const KEPT: i64 = 1_000_000;

/// The oldest are looked for each time that so many new ones have come.
const EACH: i64 = 100;

/// A request that is about to change something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewEntry {
    /// What kind of principal has sent it: `token` or `user`; `dev` in dev mode; `server` for what it has done by itself.
    pub kind: String,
    /// The principal's name; none in dev mode, and where somebody tried to log in as nobody.
    pub name: Option<String>,
    /// The address that it came from.
    pub client_ip: Option<String>,
    /// Upper case.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// The app in the path.
    pub app: Option<String>,
    /// What came as `X-Request-Id`.
    pub request_id: Option<String>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number; later entries have larger ones.
    pub seq: u64,
    /// When the request came, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The request.
    pub request: NewEntry,
    /// The status of the answer; none when the server ended before there was one.
    pub status: Option<u16>,
    /// The code of the problem, if the answer was one.
    pub code: Option<String>,
}

/// Which entries to read.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this app.
    pub app: Option<String>,
    /// Only of this principal.
    pub name: Option<String>,
    /// Only from then on, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only before then.
    pub until_ms: Option<u64>,
}

#[derive(FromRow)]
struct Row {
    seq: i64,
    at_ms: i64,
    kind: String,
    name: Option<String>,
    client_ip: Option<String>,
    method: String,
    path: String,
    app: Option<String>,
    request_id: Option<String>,
    status: Option<i64>,
    code: Option<String>,
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        let Row { seq, at_ms, kind, name, client_ip, method, path, app, request_id, status, code } = row;
        let request = NewEntry { kind, name, client_ip, method, path, app, request_id };
        let status = status.and_then(|status| u16::try_from(status).ok());
        Self { seq: to_u64(seq), at_ms: to_u64(at_ms), request, status, code }
    }
}

impl Store {
    /// Write down that a request is about to change something. Returns the number of the entry, for
    /// [`Store::audit_ended`].
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn audit(&self, entry: &NewEntry) -> Result<u64, StoreError> {
        let write = async {
            let mut tx = self.begin().await?;
            let seq: i64 = sqlx::query_scalar(
                "insert into audit (at_ms, kind, name, client_ip, method, path, app, request_id) \
                 values ($1, $2, $3, $4, $5, $6, $7, $8) returning seq",
            )
            .bind(self.now_ms())
            .bind(&entry.kind)
            .bind(&entry.name)
            .bind(&entry.client_ip)
            .bind(&entry.method)
            .bind(&entry.path)
            .bind(&entry.app)
            .bind(&entry.request_id)
            .fetch_one(&mut *tx)
            .await?;
            if seq % EACH == 0 {
                trim(&mut tx, entry).await?;
            }
            tx.commit().await?;
            Ok(to_u64(seq))
        };
        write.await.map_err(|error: sqlx::Error| failed(error))
    }

    /// Write down how such a request has ended.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn audit_ended(&self, seq: u64, status: u16, code: Option<&str>) -> Result<(), StoreError> {
        sqlx::query("update audit set status = $1, code = $2 where seq = $3")
            .bind(i64::from(status))
            .bind(code)
            .bind(to_i64(seq))
            .execute(&self.database.write)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// At most `limit` entries, the newest first, from the one before `before` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn audit_log(
        &self,
        filter: &Filter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        // Times are looked at one by one: the clock may have been set, so they need not be in the order of the numbers.
        let query = match &filter.app {
            Some(_) => {
                "select seq, at_ms, kind, name, client_ip, method, path, app, request_id, status, code
                 from   audit
                 where  app = $1 and seq < $2 and ($3 is null or name = $3) and at_ms >= $4 and at_ms < $5
                 order  by seq desc limit $6"
            }
            None => {
                "select seq, at_ms, kind, name, client_ip, method, path, app, request_id, status, code
                 from   audit
                 where  $1 is null and seq < $2 and ($3 is null or name = $3) and at_ms >= $4 and at_ms < $5
                 order  by seq desc limit $6"
            }
        };
        let rows: Vec<Row> = sqlx::query_as(query)
            .bind(&filter.app)
            .bind(before.map_or(i64::MAX, to_i64))
            .bind(&filter.name)
            .bind(to_i64(filter.since_ms.unwrap_or(0)))
            .bind(to_i64(filter.until_ms.unwrap_or(u64::MAX)))
            .bind(i64::from(limit))
            .fetch_all(&self.database.read)
            .await
            .map_err(failed)?;
        Ok(rows.into_iter().map(Entry::from).collect())
    }
}

/// Take out what is over the bounds among entries like this one: by their count and not by their numbers, so that nobody drives
/// out those of others.
async fn trim(tx: &mut SqliteConnection, like: &NewEntry) -> sqlx::Result<()> {
    sqlx::query("delete from audit where seq <= (select seq from audit order by seq desc limit 1 offset $1)")
        .bind(KEPT)
        .execute(&mut *tx)
        .await?;
    match &like.app {
        Some(app) => {
            sqlx::query(
                "delete from audit where app = $1 and seq <= \
                 (select seq from audit where app = $1 order by seq desc limit 1 offset $2)",
            )
            .bind(app)
            .bind(KEPT_OF_APP)
            .execute(tx)
            .await?;
        }
        // Anybody can make these: who tries to log in, and who is logged in, whatever else that one may do.
        None if like.path.starts_with(SESSION) => {
            sqlx::query(
                "delete from audit where app is null and substr(path, 1, $1) = $2 and (method = 'POST') = $3 and seq <= \
                 (select seq from audit where app is null and substr(path, 1, $1) = $2 and (method = 'POST') = $3 \
                  order by seq desc limit 1 offset $4)",
            )
            .bind(SESSION.len() as i64)
            .bind(SESSION)
            .bind(like.method == "POST")
            .bind(KEPT_OF_APP)
            .execute(tx)
            .await?;
        }
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestStore;

    fn entry(name: &str, app: Option<&str>) -> NewEntry {
        NewEntry {
            kind: "token".into(),
            name: Some(name.into()),
            client_ip: Some("192.0.2.1".into()),
            method: "PUT".into(),
            path: "/api/v1/x".into(),
            app: app.map(str::to_owned),
            request_id: None,
        }
    }

    #[tokio::test]
    async fn entries_say_how_they_ended_and_are_found() {
        let test = TestStore::new().await;
        let first = test.store.audit(&entry("ann", Some("shop"))).await.unwrap();
        test.store.audit_ended(first, 404, Some("script-not-found")).await.unwrap();
        test.clock.advance(1000);
        let second = test.store.audit(&entry("bob", None)).await.unwrap();
        let found = async |filter: Filter| -> Vec<u64> {
            let entries = test.store.audit_log(&filter, None, 10).await.unwrap();
            entries.into_iter().map(|entry| entry.seq).collect()
        };
        assert_eq!(found(Filter::default()).await, [second, first]);
        assert_eq!(found(Filter { app: Some("shop".into()), ..Filter::default() }).await, [first]);
        assert_eq!(found(Filter { name: Some("bob".into()), ..Filter::default() }).await, [second]);
        let now_ms = 1_700_000_001_000;
        assert_eq!(found(Filter { since_ms: Some(now_ms), ..Filter::default() }).await, [second]);
        assert_eq!(found(Filter { until_ms: Some(now_ms), ..Filter::default() }).await, [first]);
        let log = test.store.audit_log(&Filter::default(), Some(second), 10).await.unwrap();
        assert_eq!((log[0].status, log[0].code.as_deref()), (Some(404), Some("script-not-found")));
        assert_eq!(log[0].request, entry("ann", Some("shop")));
    }

    #[tokio::test]
    async fn the_oldest_entries_go_and_no_app_drives_out_those_of_another() {
        let test = TestStore::new().await;
        let first = test.store.audit(&entry("ann", Some("shop"))).await.unwrap();
        sqlx::query(
            "with recursive n (n) as (select 2 union all select n + 1 from n where n < 10099) \
             insert into audit (seq, at_ms, kind, method, path, app) select n, 0, 'token', 'PUT', '/', 'bob' from n",
        )
        .execute(&test.database.write)
        .await
        .unwrap();
        let newest = test.store.audit(&entry("bob", Some("bob"))).await.unwrap();
        assert_eq!(newest, 10_100);
        let of = async |app: &str| {
            let filter = Filter { app: Some(app.to_owned()), ..Filter::default() };
            let log = test.store.audit_log(&filter, None, 20_000).await.unwrap();
            log.iter().map(|entry| entry.seq).collect::<Vec<_>>()
        };
        let bobs = of("bob").await;
        assert_eq!((bobs.len(), bobs[0], bobs[9_999]), (10_000, 10_100, 101));
        assert_eq!(of("shop").await, [first]);
    }

    #[tokio::test]
    async fn who_is_logged_in_drives_out_no_attempt_to_log_in() {
        let test = TestStore::new().await;
        let of = |method: &str| NewEntry {
            method: method.to_owned(),
            path: "/api/v1/session".to_owned(),
            ..entry("ann", None)
        };
        let login = test.store.audit(&of("POST")).await.unwrap();
        sqlx::query(
            "with recursive n (n) as (select 2 union all select n + 1 from n where n < 10099) \
             insert into audit (seq, at_ms, kind, method, path) select n, 0, 'user', 'DELETE', '/api/v1/session' from n",
        )
        .execute(&test.database.write)
        .await
        .unwrap();
        test.store.audit(&of("DELETE")).await.unwrap();
        let log = test.store.audit_log(&Filter::default(), None, 20_000).await.unwrap();
        assert_eq!((log.len(), log.last().unwrap().seq), (10_001, login));
    }

    #[tokio::test]
    async fn who_logs_in_and_out_drives_out_nobody_else_and_all_together_have_a_bound() {
        let test = TestStore::new().await;
        let fill = async |from: u64, to: u64, path: &str| {
            sqlx::query(
                "with recursive n (n) as (select $1 union all select n + 1 from n where n < $2) \
                 insert into audit (seq, at_ms, kind, method, path) select n, 0, 'token', 'PUT', $3 from n",
            )
            .bind(to_i64(from))
            .bind(to_i64(to))
            .bind(path)
            .execute(&test.database.write)
            .await
            .unwrap();
        };
        let count = async || {
            let count = "select count(*), min(seq) from audit where path not like '/api/v1/session%'";
            let others: (i64, i64) = sqlx::query_as(count).fetch_one(&test.database.read).await.unwrap();
            let all: i64 = sqlx::query_scalar("select count(*) from audit")
                .fetch_one(&test.database.read)
                .await
                .unwrap();
            (others, all)
        };
        fill(1, 1, "/api/v1/users/ann").await;
        fill(2, 10_199, "/api/v1/session").await;
        let out = NewEntry { path: "/api/v1/session".into(), ..entry("ann", None) };
        assert_eq!(test.store.audit(&out).await.unwrap(), 10_200);
        assert_eq!(count().await, ((1, 1), 10_001));
        fill(10_201, 1_000_999, "/api/v1/users/ann").await;
        test.store.audit(&entry("ann", None)).await.unwrap();
        let (others, all) = count().await;
        assert!(others.1 > 1, "the oldest goes, whatever it is");
        assert_eq!(all, KEPT);
    }
}
