//! Records of executions: finding them again. [`mod@write`] puts them there.

pub mod write;

use picloud_host::call::{AppId, Cost, Fault, LogLine, Position};
use picloud_host::ports::StoreError;
use picloud_host::problem::Code;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use uuid::Uuid;

use super::column::{damaged, to_i64, to_optional_uuid, to_u64, to_uuid};
use super::database::Database;
use super::error::failed;

/// The record of an execution, as it was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// UUIDv7.
    pub id: Uuid,
    /// UUIDv7 of the root of the chain of triggers.
    pub root_id: Uuid,
    /// The execution that made the event; none for a direct call and for an event from outside.
    pub parent_id: Option<Uuid>,
    /// 0 for a direct call.
    pub trigger_depth: u32,
    /// The script's name at the time.
    pub script: String,
    /// The version's number.
    pub version: u32,
    /// `http` or the kind of the event.
    pub trigger: String,
    /// Milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// The status of the answer.
    pub status: u16,
    /// Whose fault the failure was: `script`, `limit`, `platform`.
    pub fault: Option<String>,
    /// The code of the error.
    pub code: Option<String>,
    /// The error's message.
    pub message: Option<String>,
    /// Where in the source.
    pub position: Option<Position>,
    /// What it cost.
    pub cost: Cost,
    /// The request's method.
    pub method: Option<String>,
    /// The request's path.
    pub path: Option<String>,
    /// The request id.
    pub request_id: Option<String>,
    /// Log lines that were over the limit.
    pub log_dropped: u32,
}

/// Which statuses to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// This one.
    Exactly(u16),
    /// Those of a hundred: 4 for 400 to 499.
    Class(u16),
}

/// Which faults to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultFilter {
    /// Calls that did not fail.
    None,
    /// Calls that failed, whoever was at fault.
    Any,
    /// Calls that failed by this fault.
    Of(Fault),
}

/// Which executions to list; an absent condition does not bind.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The script's name.
    pub script: Option<String>,
    /// The status of the answer.
    pub status: Option<StatusFilter>,
    /// Whose fault a failure was.
    pub fault: Option<FaultFilter>,
    /// The code of the error.
    pub code: Option<Code>,
    /// The version's number.
    pub version: Option<u32>,
    /// What made it run.
    pub trigger: Option<String>,
    /// The root of the chain of triggers; the root itself is among them.
    pub root: Option<Uuid>,
    /// Started at this time or later, in milliseconds since the Unix epoch.
    pub from_ms: Option<u64>,
    /// Started before this time.
    pub to_ms: Option<u64>,
}

/// In which order to list: by id, which is the order of starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Newest first.
    #[default]
    Descending,
    /// Oldest first.
    Ascending,
}

/// Which page of the list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The last id of the page before; the list goes on after it.
    pub after: Option<Uuid>,
    /// How many at most.
    pub limit: u32,
    /// In which order.
    pub order: Order,
}

const COLUMNS: &str = "id, root_id, parent_id, trigger_depth, script, version, trigger_kind, started_ms, status, fault, code,
    message, error_line, error_column, fuel, memory_bytes, queue_us, sandbox_us, commit_us, reruns, method, path,
    request_id, log_dropped";

/// An id is made when its call is accepted, so it carries the same time as `started_ms`; this much may lie between.
const ID_SLACK_MS: u64 = 60_000;

/// A page of the executions of an app.
///
/// # Errors
///
/// Storage failed.
pub async fn list(
    database: &Database,
    app: AppId,
    filter: &Filter,
    page: Page,
) -> Result<Vec<Execution>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(format!("select {COLUMNS} from execution where app_id = "));
    query.push_bind(app.0);
    push_filter(&mut query, app, filter);
    let (comparison, direction) = match page.order {
        Order::Descending => (" and id < ", "desc"),
        Order::Ascending => (" and id > ", "asc"),
    };
    if let Some(after) = page.after {
        query.push(comparison).push_bind(after.as_bytes().to_vec());
    }
    query.push(format!(" order by id {direction} limit ")).push_bind(i64::from(page.limit));
    let rows = query.build().fetch_all(&database.read).await.map_err(failed)?;
    rows.iter().map(decode).collect::<sqlx::Result<_>>().map_err(failed)
}

fn push_filter(query: &mut QueryBuilder<Sqlite>, app: AppId, filter: &Filter) {
    if let Some(script) = &filter.script {
        query.push(" and script = ").push_bind(script.clone());
    }
    match filter.status {
        Some(StatusFilter::Exactly(status)) => {
            query.push(" and status = ").push_bind(i64::from(status));
        }
        Some(StatusFilter::Class(class)) => {
            query.push(" and status / 100 = ").push_bind(i64::from(class));
        }
        None => {}
    }
    match filter.fault {
        Some(FaultFilter::None) => drop(query.push(" and fault is null")),
        Some(FaultFilter::Any) => drop(query.push(" and fault is not null")),
        Some(FaultFilter::Of(fault)) => drop(query.push(" and fault = ").push_bind(fault.as_str())),
        None => {}
    }
    if let Some(code) = filter.code {
        query.push(" and code = ").push_bind(code.as_str());
    }
    if let Some(version) = filter.version {
        query.push(" and version = ").push_bind(i64::from(version));
    }
    match filter.trigger.as_deref() {
        // The word for every kind of event.
        Some("event") => drop(query.push(" and trigger_kind not in ('http', 'call')")),
        Some(trigger) => drop(query.push(" and trigger_kind = ").push_bind(trigger.to_owned())),
        None => {}
    }
    if let Some(root) = filter.root {
        // Only triggered calls are in the index of roots.
        query.push(" and id in (select id from execution where app_id = ").push_bind(app.0);
        query.push(" and trigger_depth > 0 and root_id = ").push_bind(root.as_bytes().to_vec());
        query.push(" union all select ").push_bind(root.as_bytes().to_vec()).push(")");
    }
    if let Some(from) = filter.from_ms {
        query.push(" and started_ms >= ").push_bind(to_i64(from));
        query.push(" and id >= ").push_bind(first_id_at(from.saturating_sub(ID_SLACK_MS)));
    }
    if let Some(to) = filter.to_ms {
        query.push(" and started_ms < ").push_bind(to_i64(to));
        query.push(" and id < ").push_bind(first_id_at(to.saturating_add(ID_SLACK_MS)));
    }
}

/// The smallest UUIDv7 of a time: its first 48 bits are the time.
fn first_id_at(ms: u64) -> Vec<u8> {
    let mut id = vec![0; 16];
    id[..6].copy_from_slice(&ms.min((1 << 48) - 1).to_be_bytes()[2..]);
    id
}

/// One execution with its log lines; none when there is no record of it, or no longer.
///
/// # Errors
///
/// Storage failed.
pub async fn get(
    database: &Database,
    app: AppId,
    id: Uuid,
) -> Result<Option<(Execution, Vec<LogLine>)>, StoreError> {
    let mut query =
        QueryBuilder::<Sqlite>::new(format!("select {COLUMNS}, log from execution where app_id = "));
    query.push_bind(app.0).push(" and id = ").push_bind(id.as_bytes().to_vec());
    let row = query.build().fetch_optional(&database.read).await.map_err(failed)?;
    let read = |row: &SqliteRow| -> sqlx::Result<_> { Ok((decode(row)?, decode_log(row.try_get("log")?)?)) };
    row.as_ref().map(read).transpose().map_err(failed)
}

pub(super) fn decode_log(json: Option<&str>) -> sqlx::Result<Vec<LogLine>> {
    let lines = json.map(serde_json::from_str).transpose();
    lines.map(Option::unwrap_or_default).map_err(damaged)
}

fn decode(row: &SqliteRow) -> sqlx::Result<Execution> {
    let number = |column: &str| row.try_get::<i64, _>(column).map(to_u64);
    let small = |column: &str| row.try_get::<u32, _>(column);
    let id = |column: &str| to_uuid(row.try_get(column)?);
    let place = |column: &str| row.try_get::<Option<u32>, _>(column);
    Ok(Execution {
        id: id("id")?,
        root_id: id("root_id")?,
        parent_id: to_optional_uuid(row.try_get("parent_id")?)?,
        trigger_depth: small("trigger_depth")?,
        script: row.try_get("script")?,
        version: small("version")?,
        trigger: row.try_get("trigger_kind")?,
        started_ms: number("started_ms")?,
        status: row.try_get("status")?,
        fault: row.try_get("fault")?,
        code: row.try_get("code")?,
        message: row.try_get("message")?,
        position: place("error_line")?
            .zip(place("error_column")?)
            .map(|(line, column)| Position { line, column }),
        cost: Cost {
            fuel: number("fuel")?,
            memory_bytes: number("memory_bytes")?,
            queue_us: number("queue_us")?,
            sandbox_us: number("sandbox_us")?,
            commit_us: number("commit_us")?,
            reruns: small("reruns")?,
        },
        method: row.try_get("method")?,
        path: row.try_get("path")?,
        request_id: row.try_get("request_id")?,
        log_dropped: small("log_dropped")?,
    })
}
