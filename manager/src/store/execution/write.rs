//! Writing records of executions, many at once.

use std::sync::{Arc, LazyLock};

use picloud_host::call::LogLevel;
use picloud_host::ports::ExecutionRecord;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection};

use crate::store::chunks::{SIZES, Statements, chunks};
use crate::store::column::to_i64;

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

const COLUMNS: [&str; 27] = [
    "id",
    "root_id",
    "parent_id",
    "trigger_depth",
    "app_id",
    "script",
    "version",
    "trigger_kind",
    "started_ms",
    "status",
    "fault",
    "code",
    "message",
    "error_line",
    "error_column",
    "fuel",
    "memory_bytes",
    "queue_us",
    "sandbox_us",
    "commit_us",
    "reruns",
    "method",
    "path",
    "request_id",
    "log_dropped",
    "log_level",
    "log",
];

/// A row costs 6 µs of processor time in a statement of 64 rows, 20 to 40 in a statement of its own, and 30 through
/// `json_each`.
static STATEMENTS: Statements = LazyLock::new(|| SIZES.map(insert));

fn insert(rows: usize) -> String {
    // The parameters have no numbers, unlike everywhere else: SQLite looks numbered ones up one after the other, and
    // with 27 in each of 64 rows a row would cost 100 µs.
    let row = format!("({})", ["?"; COLUMNS.len()].join(", "));
    // The same execution twice is a mistake of ours, and no reason to lose the rest of the batch.
    format!("insert or ignore into execution ({}) values {}", COLUMNS.join(", "), vec![row; rows].join(", "))
}

/// Write records. The caller has begun a transaction.
///
/// # Errors
///
/// Storage failed.
pub async fn insert_all(connection: &mut SqliteConnection, records: &[ExecutionRecord]) -> sqlx::Result<()> {
    for (chunk, statement) in chunks(records, &STATEMENTS) {
        chunk.iter().fold(sqlx::query(statement), bind).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Texts that come from outside are cut, so that a row has a size that can be reckoned with.
const MESSAGE_BYTES: usize = 8 << 10;
const PATH_BYTES: usize = 2 << 10;
const SHORT_BYTES: usize = 256;

/// Bind a record's values in the order of [`COLUMNS`].
fn bind<'q>(query: Query<'q>, record: &ExecutionRecord) -> Query<'q> {
    let cost = &record.cost;
    let error = record.error.as_ref();
    let position = error.and_then(|error| error.position);
    let http = record.http.as_ref();
    query
        .bind(record.execution_id.as_bytes().to_vec())
        .bind(record.root_execution_id.as_bytes().to_vec())
        .bind(record.parent_execution_id.map(|id| id.as_bytes().to_vec()))
        .bind(i64::from(record.trigger_depth))
        .bind(record.script.app_id.0)
        .bind(Arc::clone(&record.script.script))
        .bind(i64::from(record.script.version))
        .bind(record.trigger)
        .bind(to_i64(record.started_ms))
        .bind(i64::from(record.status))
        .bind(error.and_then(|error| error.fault).map(|fault| fault.as_str()))
        .bind(error.map(|error| error.code.as_str()))
        .bind(error.map(|error| cut(&error.message, MESSAGE_BYTES)))
        .bind(position.map(|position| i64::from(position.line)))
        .bind(position.map(|position| i64::from(position.column)))
        .bind(to_i64(cost.fuel))
        .bind(to_i64(cost.memory_bytes))
        .bind(to_i64(cost.queue_us))
        .bind(to_i64(cost.sandbox_us))
        .bind(to_i64(cost.commit_us))
        .bind(i64::from(cost.reruns))
        .bind(http.map(|(method, _)| cut(method, SHORT_BYTES)))
        .bind(http.map(|(_, path)| cut(path, PATH_BYTES)))
        .bind(record.request_id.as_ref().map(|id| cut(id, SHORT_BYTES)))
        .bind(i64::from(record.log_dropped))
        .bind(log_level(record))
        .bind((!record.log.is_empty()).then(|| serde_json::to_string(&record.log).unwrap_or_default()))
}

/// The text, or as much of its beginning as `bytes` bytes can hold.
fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

/// The highest level among what a record has to say.
fn log_level(record: &ExecutionRecord) -> Option<i64> {
    let fault = record.error.as_ref().and_then(|error| error.fault).map(|_| LogLevel::Error);
    record.log.iter().map(|line| line.level).chain(fault).max().map(level_number)
}

/// A log level as the column `log_level` has it.
pub fn level_number(level: LogLevel) -> i64 {
    match level {
        LogLevel::Debug => 1,
        LogLevel::Info => 2,
        LogLevel::Warn => 3,
        LogLevel::Error => 4,
    }
}

/// About how many bytes of the database a record takes, indexes included.
#[must_use]
pub fn stored_bytes(record: &ExecutionRecord) -> u64 {
    // What the columns, the five indexes and the slack of their pages take in an ordinary row.
    const ROW: usize = 400;
    // The JSON around a line.
    const LINE: usize = 64;
    // What JSON makes of a byte.
    let escaped = |byte: u8| match byte {
        0..=0x1f => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    let text = |text: &str| text.bytes().map(escaped).sum::<usize>();
    let error = record.error.as_ref().map_or(0, |error| error.message.len().min(MESSAGE_BYTES));
    let path = record.http.as_ref().map_or(0, |(_, path)| path.len().min(PATH_BYTES));
    let log: usize = record.log.iter().map(|line| text(&line.message) + LINE).sum();
    (ROW + error + path + log) as u64
}
