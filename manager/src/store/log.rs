//! Log lines across executions, in the order in which the executions ended.

use futures_util::TryStreamExt as _;
use picloud_host::call::{AppId, LogLevel, LogLine, Position};
use picloud_host::ports::StoreError;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use uuid::Uuid;

use super::column::{to_i64, to_u64, to_uuid};
use super::database::Database;
use super::error::failed;
use super::execution::decode_log;
use super::execution::write::level_number;

/// A line that a script logged, or the failure of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The execution that it belongs to.
    pub execution_id: Uuid,
    /// The script's name at the time.
    pub script: String,
    /// The version's number.
    pub version: u32,
    /// The line itself.
    pub line: LogLine,
    /// Set when the line is the failure of the call: the code of the error.
    pub code: Option<String>,
    /// Where in the source, for a failure.
    pub position: Option<Position>,
}

/// A place among all lines of the database: after the lines of all records up to `seq`, and `lines` of the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Number of the record.
    pub seq: u64,
    /// Lines of the next record that come before this place.
    pub lines: u32,
}

/// Which lines to give.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The script's name.
    pub script: Option<String>,
    /// This level or a higher one.
    pub level: LogLevel,
}

/// The last lines before now, at most `limit`, by time, and the place after them.
///
/// # Errors
///
/// Storage failed.
pub async fn last(
    database: &Database,
    app: AppId,
    filter: &Filter,
    limit: usize,
) -> Result<(Vec<Line>, Mark), StoreError> {
    let end = Mark { seq: newest(database).await?, lines: 0 };
    let mut query = select(app, filter);
    query.push(" and seq <= ").push_bind(to_i64(end.seq));
    query.push(" order by seq desc");
    let mut rows = query.build().fetch(&database.read);
    let mut lines = Vec::new();
    while lines.len() < limit
        && let Some(row) = rows.try_next().await.map_err(failed)?
    {
        let mut of_record = lines_of(&row).map_err(failed)?;
        of_record.retain(|line| line.line.level >= filter.level);
        lines.extend(of_record.into_iter().rev());
    }
    lines.truncate(limit);
    lines.reverse();
    lines.sort_by_key(|line| line.line.at_ms);
    Ok((lines, end))
}

/// Lines after a place, at most `limit`, by time, and the place after them.
///
/// # Errors
///
/// Storage failed.
pub async fn after(
    database: &Database,
    app: AppId,
    filter: &Filter,
    mark: Mark,
    limit: usize,
) -> Result<(Vec<Line>, Mark), StoreError> {
    // Read before the records: what is there now will be seen below.
    let end = newest(database).await?;
    let mut query = select(app, filter);
    query.push(" and seq > ").push_bind(to_i64(mark.seq));
    query.push(" order by seq");
    let mut rows = query.build().fetch(&database.read);
    let mut lines = Vec::new();
    let mut next = mark;
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let seq = to_u64(row.try_get("seq").map_err(failed)?);
        // Lines already given belong to the record right after the mark, if it is still there.
        let given = if seq == mark.seq + 1 { mark.lines } else { 0 };
        for (number, line) in (1..).zip(lines_of(&row).map_err(failed)?) {
            if number <= given || line.line.level < filter.level {
                continue;
            }
            if lines.len() == limit {
                lines.sort_by_key(|line: &Line| line.line.at_ms);
                return Ok((lines, next));
            }
            lines.push(line);
            next = Mark { seq: seq - 1, lines: number };
        }
        next = Mark { seq, lines: 0 };
    }
    // Everything up to `end` has been looked at, also the records of others.
    if next.seq < end {
        next = Mark { seq: end, lines: 0 };
    }
    lines.sort_by_key(|line| line.line.at_ms);
    Ok((lines, next))
}

/// The number of the newest record, 0 when there is none.
async fn newest(database: &Database) -> Result<u64, StoreError> {
    let newest = sqlx::query_scalar::<_, Option<i64>>("select max(seq) from execution");
    Ok(newest.fetch_one(&database.read).await.map_err(failed)?.map_or(0, to_u64))
}

fn select(app: AppId, filter: &Filter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(
        "select seq, id, script, version, started_ms, fault, code, message, error_line, error_column, queue_us,
                sandbox_us, log
         from execution where app_id = ",
    );
    query.push_bind(app.0);
    query.push(" and log_level >= ").push_bind(level_number(filter.level));
    if let Some(script) = &filter.script {
        // Written so that the index on scripts does not offer itself: it would have to be sorted.
        query.push(" and script || '' = ").push_bind(script.clone());
    }
    query
}

/// All lines of a record, the failure at the end.
fn lines_of(row: &SqliteRow) -> sqlx::Result<Vec<Line>> {
    let execution_id = to_uuid(row.try_get("id")?)?;
    let script: String = row.try_get("script")?;
    let version: u32 = row.try_get("version")?;
    let line =
        |line, code, position| Line { execution_id, script: script.clone(), version, line, code, position };
    let mut lines: Vec<Line> =
        decode_log(row.try_get("log")?)?.into_iter().map(|logged| line(logged, None, None)).collect();
    if row.try_get::<Option<&str>, _>("fault")?.is_some() {
        let place = |column: &str| row.try_get::<Option<u32>, _>(column);
        let number = |column: &str| row.try_get::<i64, _>(column).map(to_u64);
        let ended = number("started_ms")? + (number("queue_us")? + number("sandbox_us")?) / 1000;
        let failure = LogLine {
            // Never before the script's own last words: two clocks may differ by a little.
            at_ms: lines.last().map_or(ended, |last| last.line.at_ms.max(ended)),
            level: LogLevel::Error,
            message: row.try_get::<Option<String>, _>("message")?.unwrap_or_default(),
        };
        let position =
            place("error_line")?.zip(place("error_column")?).map(|(line, column)| Position { line, column });
        lines.push(line(failure, row.try_get("code")?, position));
    }
    Ok(lines)
}
