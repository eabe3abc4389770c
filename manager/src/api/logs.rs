//! Log lines over REST, across the executions of an app, and following them.

use std::time::Duration;

use axum::Json;
use jiff::Timestamp;
use picloud_host::call::LogLevel;
use picloud_host::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::api::State;
use crate::api::auth::Reader;
use crate::api::executions::Place;
use crate::api::path::AppPath;
use crate::api::query::{Query, among, invalid, limit, script};
use crate::api::timestamp::timestamp;
use crate::store::log::{self, Filter, Mark};
use crate::telemetry::Pending;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_log_lines))
}

/// A line that a script logged, or the failure of a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppLogLine {
    execution_id: Uuid,
    script: String,
    /// The number of the script's version, from 1.
    version: u32,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `debug`, `info`, `warn` or `error`.
    #[schema(value_type = String)]
    level: LogLevel,
    message: String,
    /// The code of the error when this line is the failure of the call; null for what the script logged.
    code: Option<String>,
    /// Where in the script's source the call failed.
    position: Option<Place>,
}

impl From<log::Line> for AppLogLine {
    fn from(found: log::Line) -> Self {
        Self {
            execution_id: found.execution_id,
            script: found.script,
            version: found.version,
            at: timestamp(found.line.at_ms),
            level: found.line.level,
            message: found.line.message,
            code: found.code,
            position: found.position.map(Place::from),
        }
    }
}

/// Some log lines, by time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogPage {
    items: Vec<AppLogLine>,
    /// Give it as `after` to read on, now or later.
    next_after: String,
}

/// Which log lines to read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogParameters {
    /// Only those of this script.
    script: Option<String>,
    /// Only those of this level or a higher one: `debug` (the default), `info`, `warn`, `error`.
    level: Option<String>,
    /// `next_after` of the page before: what came since. Without it the newest lines.
    after: Option<String>,
    /// How many at most: 1 to 1000, 100 when it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// With `after`: how many milliseconds to wait for a line when there is none yet, up to 30000.
    #[param(maximum = 30000)]
    wait_ms: Option<u64>,
}

const WAIT_MS: u64 = 30_000;

fn level(text: &str) -> Result<LogLevel, Problem> {
    let levels = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
    among("level", text, &levels.map(|level| (level.as_str(), level)))
}

/// Read a mark as [`write_mark`] wrote it.
fn mark(text: &str) -> Result<Mark, Problem> {
    let read = |text: &str| {
        let (seq, lines) = text.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(seq) && digits(lines)).then_some(())?;
        // Numbers of records are never negative in the database.
        let seq = seq.parse::<i64>().ok()?;
        Some(Mark { seq: seq.try_into().ok()?, lines: lines.parse().ok()? })
    };
    let wrong = || invalid("after is not one that a page of the log has returned");
    read(text).ok_or_else(wrong)
}

fn write_mark(mark: Mark) -> String {
    format!("{}-{}", mark.seq, mark.lines)
}

/// Read or follow the log of an app.
///
/// What scripts logged, and the failures of calls, by time. An execution's lines appear when it has ended. Reading on
/// with `after` misses no line and repeats none.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/logs", tag = "executions", security(("token" = ["app:{app}:read"])), params(AppPath, LogParameters),
    responses(
        (status = 200, description = "Some lines.", body = LogPage),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_log_lines(
    _: Reader,
    state: State,
    path: AppPath,
    Query(parameters): Query<LogParameters>,
) -> Result<Json<LogPage>, Problem> {
    let limit = limit(parameters.limit, 100, 1000)? as usize;
    let wait = parameters.wait_ms.unwrap_or(0);
    if wait > WAIT_MS {
        return Err(invalid(format!("wait_ms is {wait}, but must be at most {WAIT_MS}")));
    }
    let level = level(parameters.level.as_deref().unwrap_or("debug"))?;
    let filter = Filter { script: parameters.script.as_deref().map(script).transpose()?, level };
    let after = parameters.after.as_deref().map(mark).transpose()?;
    let app_id = state.app_id(&path.app).await?;

    let telemetry = &state.telemetry;
    telemetry.flush(Pending::Records).await;
    let database = telemetry.database()?;
    let Some(mut after) = after else {
        let found = log::last(database, app_id, &filter, limit).await?;
        return Ok(page(found));
    };
    let mut written = telemetry.written();
    let until = tokio::time::Instant::now() + Duration::from_millis(wait);
    loop {
        // Whatever is written from here on wakes us up below.
        written.mark_unchanged();
        let found = log::after(database, app_id, &filter, after, limit).await?;
        if !found.0.is_empty() {
            return Ok(page(found));
        }
        after = found.1;
        tokio::select! {
            Ok(()) = written.changed() => {}
            () = tokio::time::sleep_until(until) => return Ok(page(found)),
            () = telemetry.stopping() => return Ok(page(found)),
        }
    }
}

fn page((lines, next): (Vec<log::Line>, Mark)) -> Json<LogPage> {
    let items = lines.into_iter().map(AppLogLine::from).collect();
    Json(LogPage { items, next_after: write_mark(next) })
}
