//! Costs and faults of each script version by minute.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use picloud_host::call::{AppId, Fault};
use picloud_host::ports::{ExecutionRecord, StoreError};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::column::{to_i64, to_u64};
use super::database::Database;
use super::error::failed;
use super::histogram::{Distribution, Samples};

/// What one row is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MinuteKey {
    /// The app.
    pub app: AppId,
    /// The script.
    pub script: Arc<str>,
    /// The version's number.
    pub version: u32,
    /// Minutes since the Unix epoch.
    pub minute: u64,
}

impl MinuteKey {
    /// The row that a record counts in.
    #[must_use]
    pub fn of(record: &ExecutionRecord) -> Self {
        Self {
            app: record.script.app_id,
            script: Arc::clone(&record.script.script),
            version: record.script.version,
            minute: record.started_ms / 60_000,
        }
    }
}

/// How many calls failed, by whose fault it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// The script's own errors.
    pub script: u64,
    /// Limits that were reached.
    pub limit: u64,
    /// Ours.
    pub platform: u64,
}

impl Faults {
    fn count(&mut self, fault: Fault) {
        match fault {
            Fault::Script => self.script += 1,
            Fault::Limit => self.limit += 1,
            Fault::Platform => self.platform += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.script += other.script;
        self.limit += other.limit;
        self.platform += other.platform;
    }
}

/// Calls of one minute that are not stored yet.
#[derive(Debug, Clone, Default)]
pub struct MinuteSamples {
    calls: u64,
    faults: Faults,
    fuel: Samples,
    memory_bytes: Samples,
    duration_us: Samples,
}

impl MinuteSamples {
    /// Count a call.
    pub fn record(&mut self, record: &ExecutionRecord) {
        self.calls += 1;
        if let Some(fault) = record.error.as_ref().and_then(|error| error.fault) {
            self.faults.count(fault);
        }
        self.fuel.record(record.cost.fuel);
        self.memory_bytes.record(record.cost.memory_bytes);
        self.duration_us.record(duration_us(record));
    }

    /// Count all calls of `other`, too.
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.faults.add(other.faults);
        self.fuel.merge(&other.fuel);
        self.memory_bytes.merge(&other.memory_bytes);
        self.duration_us.merge(&other.duration_us);
    }

    /// How many calls there are.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }
}

/// Microseconds from accepting a call to its answer: waiting, running and committing.
#[must_use]
pub fn duration_us(record: &ExecutionRecord) -> u64 {
    record.cost.queue_us.saturating_add(record.cost.sandbox_us).saturating_add(record.cost.commit_us)
}

/// Calls, faults and costs over some time.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// How many calls there were.
    pub calls: u64,
    /// How many of them failed.
    pub faults: Faults,
    /// Fuel of a call.
    pub fuel: Distribution,
    /// The most memory of a call, in bytes.
    pub memory_bytes: Distribution,
    /// Microseconds from accepting a call to its answer.
    pub duration_us: Distribution,
}

impl Usage {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.faults.add(other.faults);
        self.fuel.add(&other.fuel);
        self.memory_bytes.add(&other.memory_bytes);
        self.duration_us.add(&other.duration_us);
    }

    fn add_samples(&mut self, samples: &MinuteSamples) {
        self.calls += samples.calls;
        self.faults.add(samples.faults);
        self.fuel.add_samples(&samples.fuel);
        self.memory_bytes.add_samples(&samples.memory_bytes);
        self.duration_us.add_samples(&samples.duration_us);
    }

    fn decode(row: &SqliteRow) -> sqlx::Result<Self> {
        let number = |column: &str| row.try_get::<i64, _>(column).map(to_u64);
        let distribution = |blob: &str, sum: &str, max: &str| -> sqlx::Result<Distribution> {
            Ok(Distribution::decode(row.try_get(blob)?, number(sum)?, number(max)?))
        };
        Ok(Self {
            calls: number("calls")?,
            faults: Faults {
                script: number("fault_script")?,
                limit: number("fault_limit")?,
                platform: number("fault_platform")?,
            },
            fuel: distribution("fuel", "fuel_sum", "fuel_max")?,
            memory_bytes: distribution("memory_bytes", "memory_sum", "memory_max")?,
            duration_us: distribution("duration_us", "duration_sum", "duration_max")?,
        })
    }
}

/// Add calls to the row of their minute. True when the row is new.
///
/// # Errors
///
/// Storage failed.
pub async fn merge(
    connection: &mut SqliteConnection,
    key: &MinuteKey,
    samples: &MinuteSamples,
) -> sqlx::Result<bool> {
    let stored = sqlx::query(
        "select * from execution_minute where app_id = $1 and script = $2 and minute = $3 and version = $4",
    )
    .bind(key.app.0)
    .bind(&*key.script)
    .bind(to_i64(key.minute))
    .bind(i64::from(key.version))
    .fetch_optional(&mut *connection)
    .await?;
    let mut usage = stored.as_ref().map(Usage::decode).transpose()?.unwrap_or_default();
    usage.add_samples(samples);
    sqlx::query(
        "insert into execution_minute
             (app_id, script, version, minute, calls, fault_script, fault_limit, fault_platform, fuel, fuel_sum,
              fuel_max, memory_bytes, memory_sum, memory_max, duration_us, duration_sum, duration_max)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         on conflict (app_id, script, minute, version) do update set
             calls = excluded.calls, fault_script = excluded.fault_script, fault_limit = excluded.fault_limit,
             fault_platform = excluded.fault_platform, fuel = excluded.fuel, fuel_sum = excluded.fuel_sum,
             fuel_max = excluded.fuel_max, memory_bytes = excluded.memory_bytes,
             memory_sum = excluded.memory_sum, memory_max = excluded.memory_max,
             duration_us = excluded.duration_us, duration_sum = excluded.duration_sum,
             duration_max = excluded.duration_max",
    )
    .bind(key.app.0)
    .bind(&*key.script)
    .bind(i64::from(key.version))
    .bind(to_i64(key.minute))
    .bind(to_i64(usage.calls))
    .bind(to_i64(usage.faults.script))
    .bind(to_i64(usage.faults.limit))
    .bind(to_i64(usage.faults.platform))
    .bind(usage.fuel.encode())
    .bind(to_i64(usage.fuel.sum()))
    .bind(to_i64(usage.fuel.max()))
    .bind(usage.memory_bytes.encode())
    .bind(to_i64(usage.memory_bytes.sum()))
    .bind(to_i64(usage.memory_bytes.max()))
    .bind(usage.duration_us.encode())
    .bind(to_i64(usage.duration_us.sum()))
    .bind(to_i64(usage.duration_us.max()))
    .execute(connection)
    .await?;
    Ok(stored.is_none())
}

/// The newest versions that metrics tell apart; older ones count in the total only.
pub const VERSIONS: usize = 64;

/// Usage of a script over a range of minutes.
#[derive(Debug)]
pub struct ScriptUsage<S> {
    /// All of it.
    pub total: S,
    /// By version, the [`VERSIONS`] newest ones.
    pub versions: Vec<(u32, S)>,
    /// By the first minute of each step, in order; steps without calls are left out.
    pub steps: Vec<(u64, S)>,
}

/// The usage of a script in `minutes`, in steps of `step` minutes (at least 1, aligned to the epoch). `summarise` is
/// applied as soon as a step is complete, because a whole [`Usage`] takes tens of kilobytes.
///
/// # Errors
///
/// Storage failed.
pub async fn usage<S>(
    database: &Database,
    app: AppId,
    script: &str,
    minutes: Range<u64>,
    step: u64,
    summarise: impl Fn(&Usage) -> S,
) -> Result<ScriptUsage<S>, StoreError> {
    let mut rows = sqlx::query(
        "select * from execution_minute
         where app_id = $1 and script = $2 and minute >= $3 and minute < $4
         order by minute, version",
    )
    .bind(app.0)
    .bind(script)
    .bind(to_i64(minutes.start))
    .bind(to_i64(minutes.end))
    .fetch(&database.read);

    let mut total = Usage::default();
    let mut versions = BTreeMap::<u32, Usage>::new();
    let mut steps = Vec::new();
    let mut current: Option<(u64, Usage)> = None;
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let usage = Usage::decode(&row).map_err(failed)?;
        let minute = to_u64(row.try_get("minute").map_err(failed)?);
        let version = row.try_get("version").map_err(failed)?;

        total.add(&usage);
        versions.entry(version).or_default().add(&usage);
        if versions.len() > VERSIONS {
            versions.pop_first();
        }
        let start = minute - minute % step.max(1);
        match &mut current {
            Some((at, sum)) if *at == start => sum.add(&usage),
            _ => {
                let complete = current.replace((start, usage));
                steps.extend(complete.map(|(at, sum)| (at, summarise(&sum))));
            }
        }
    }
    steps.extend(current.map(|(at, sum)| (at, summarise(&sum))));
    let versions = versions.iter().map(|(version, usage)| (*version, summarise(usage))).collect();
    Ok(ScriptUsage { total: summarise(&total), versions, steps })
}

/// Usage of the scripts of an app over a range of minutes.
#[derive(Debug)]
pub struct AppUsage<S> {
    /// All of it.
    pub total: S,
    /// By script, in the order of their names; those without calls are left out.
    pub scripts: Vec<(String, S)>,
}

/// The usage of an app in `minutes`, by script. `summarise` is applied to one script at a time.
///
/// # Errors
///
/// Storage failed.
pub async fn usage_of_app<S>(
    database: &Database,
    app: AppId,
    minutes: Range<u64>,
    summarise: impl Fn(&Usage) -> S,
) -> Result<AppUsage<S>, StoreError> {
    let mut total = Usage::default();
    let mut scripts = Vec::new();
    let mut last = String::new();
    // From script to script, then the minutes of each: the index leads to both, however long the minutes are kept.
    while let Some(script) = next_script(database, app, &last).await? {
        let usage = usage_in(database, app, &script, &minutes).await?;
        if usage.calls > 0 {
            total.add(&usage);
            scripts.push((script.clone(), summarise(&usage)));
        }
        last = script;
    }
    Ok(AppUsage { total: summarise(&total), scripts })
}

/// The first script after a name that has been called; every name comes after the empty one.
async fn next_script(database: &Database, app: AppId, last: &str) -> Result<Option<String>, StoreError> {
    sqlx::query_scalar("select min(script) from execution_minute where app_id = $1 and script > $2")
        .bind(app.0)
        .bind(last)
        .fetch_one(&database.read)
        .await
        .map_err(failed)
}

/// The usage of a script in `minutes`, all versions together.
async fn usage_in(
    database: &Database,
    app: AppId,
    script: &str,
    minutes: &Range<u64>,
) -> Result<Usage, StoreError> {
    let mut rows = sqlx::query(
        "select * from execution_minute where app_id = $1 and script = $2 and minute >= $3 and minute < $4",
    )
    .bind(app.0)
    .bind(script)
    .bind(to_i64(minutes.start))
    .bind(to_i64(minutes.end))
    .fetch(&database.read);
    let mut usage = Usage::default();
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        usage.add(&Usage::decode(&row).map_err(failed)?);
    }
    Ok(usage)
}
