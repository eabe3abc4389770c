//! What calls cost, over REST: those of a script by minute, by version and in total, those of an app by script.

use axum::Json;
use jiff::Timestamp;
use picloud_host::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::Reader;
use crate::api::path::{AppPath, ScriptPath};
use crate::api::query::{Query, invalid, time};
use crate::api::timestamp::timestamp;
use crate::store::histogram::Distribution;
use crate::store::minute::{self, Usage};
use crate::telemetry::Pending;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_script_metrics)).routes(routes!(get_app_metrics))
}

/// What calls of a script cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScriptMetrics {
    app: String,
    script: String,
    /// The first minute.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// The end of the last minute.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// How many minutes each of `minutes` stands for.
    step_minutes: u64,
    total: Metrics,
    /// The newest 64 versions that were called.
    versions: Vec<VersionMetrics>,
    /// In order of time; those without calls are left out.
    minutes: Vec<MinuteMetrics>,
}

/// The calls of one version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionMetrics {
    version: u32,
    #[serde(flatten)]
    metrics: Metrics,
}

/// The calls of some minutes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MinuteMetrics {
    /// When they began.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[serde(flatten)]
    metrics: Metrics,
}

/// How many calls there were, how many failed, and what they cost. Every call is counted, also those without a record.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Metrics {
    calls: u64,
    faults: FaultCounts,
    /// Fuel of a call.
    fuel: Costs,
    /// The most memory of a call, in bytes.
    memory_bytes: Costs,
    /// Microseconds from accepting a call to its answer.
    duration_us: Costs,
}

/// How many calls failed, by whose fault it was.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FaultCounts {
    script: u64,
    limit: u64,
    platform: u64,
}

/// A cost over many calls. Percentiles are right to one in a hundred, the maximum and the mean are exact.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Costs {
    p50: u64,
    p95: u64,
    p99: u64,
    max: u64,
    /// Rounded down.
    mean: u64,
}

impl Metrics {
    fn of(usage: &Usage) -> Self {
        let costs = |distribution: &Distribution| {
            let summary = distribution.summary();
            let mean = summary.sum.checked_div(usage.calls).unwrap_or(0);
            Costs { p50: summary.p50, p95: summary.p95, p99: summary.p99, max: summary.max, mean }
        };
        let minute::Faults { script, limit, platform } = usage.faults;
        Self {
            calls: usage.calls,
            faults: FaultCounts { script, limit, platform },
            fuel: costs(&usage.fuel),
            memory_bytes: costs(&usage.memory_bytes),
            duration_us: costs(&usage.duration_us),
        }
    }
}

/// Which time to look at.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricsParameters {
    /// The beginning (RFC 3339), rounded down to a minute; an hour before `to` when it is not given.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// The end (RFC 3339), rounded up to a minute; now when it is not given.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// How many minutes to put together, 1 to 1440; 1 when it is not given. There may be 1500 steps, over 31 days.
    #[param(minimum = 1, maximum = 1440)]
    step_minutes: Option<u64>,
}

impl MetricsParameters {
    const MOST_STEPS: u64 = 1500;
    const MOST_MINUTES: u64 = 31 * 24 * 60;

    /// The minutes and the step, at this time in milliseconds since the Unix epoch.
    fn range(&self, now_ms: u64) -> Result<(std::ops::Range<u64>, u64), Problem> {
        let wrong = |detail: &str| Err(invalid(detail));
        let read = |name, text: &Option<String>| text.as_deref().map(|text| time(name, text)).transpose();
        let to = read("to", &self.to)?.unwrap_or(now_ms.saturating_add(1)).div_ceil(60_000);
        let from = read("from", &self.from)?.map_or(to.saturating_sub(60), |from| from / 60_000);
        let step = self.step_minutes.unwrap_or(1);
        if !(1..=1440).contains(&step) {
            return wrong("step_minutes must be 1 to 1440");
        }
        if from >= to {
            return wrong("from must be before to");
        }
        if to - from > Self::MOST_MINUTES {
            return wrong("from and to must not be more than 31 days apart");
        }
        // Steps are aligned to the epoch: the first and the last one may reach over the ends.
        if to.div_ceil(step) - from / step > Self::MOST_STEPS {
            return wrong("that is more than 1500 steps: choose a larger step_minutes or less time");
        }
        Ok((from..to, step))
    }
}

/// Get what the calls of a script cost.
///
/// By minute, by version and in total. Every call is counted, also those without a record.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/scripts/{name}/metrics", tag = "scripts", security(("token" = ["app:{app}:read"])),
    params(ScriptPath, MetricsParameters),
    responses(
        (status = 200, description = "The metrics.", body = ScriptMetrics),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`, `script-not-found`"),
    ),
)]
async fn get_script_metrics(
    _: Reader,
    state: State,
    path: ScriptPath,
    Query(parameters): Query<MetricsParameters>,
) -> Result<Json<ScriptMetrics>, Problem> {
    let (minutes, step_minutes) = parameters.range(state.clock.now_ms())?;
    let app_id = state.app_id(&path.app).await?;
    state.telemetry.flush(Pending::All).await;
    let (database, script) = (state.telemetry.database()?, path.name.as_str());
    let usage = minute::usage(database, app_id, script, minutes.clone(), step_minutes, Metrics::of).await?;
    // A script that has been deleted is still in the metrics of its time.
    if usage.total.calls == 0 && state.store.script(app_id, &path.name).await?.is_none() {
        return Err(Problem::new(Code::ScriptNotFound));
    }
    let at = |minute: u64| timestamp(minute.saturating_mul(60_000));
    let version = |(version, metrics)| VersionMetrics { version, metrics };
    let minute = |(minute, metrics)| MinuteMetrics { at: at(minute), metrics };
    Ok(Json(ScriptMetrics {
        app: path.app.to_string(),
        script: path.name.to_string(),
        from: at(minutes.start),
        to: at(minutes.end),
        step_minutes,
        total: usage.total,
        versions: usage.versions.into_iter().map(version).collect(),
        minutes: usage.steps.into_iter().map(minute).collect(),
    }))
}

/// What calls of an app's scripts cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppMetrics {
    app: String,
    /// The first minute.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// The end of the last minute.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// Of all scripts, also of those that are not among `items`.
    total: TotalMetrics,
    /// How many scripts were called.
    scripts: u64,
    /// The scripts that were called, deleted ones, too: those that took the most fuel first.
    items: Vec<OneScriptMetrics>,
}

/// The calls of one script of an app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneScriptMetrics {
    script: String,
    #[serde(flatten)]
    metrics: TotalMetrics,
}

/// What calls cost, and all of their fuel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TotalMetrics {
    /// Fuel of all calls together.
    fuel_total: u64,
    #[serde(flatten)]
    metrics: Metrics,
}

impl TotalMetrics {
    fn of(usage: &Usage) -> Self {
        Self { fuel_total: usage.fuel.sum(), metrics: Metrics::of(usage) }
    }
}

/// Which time to look at, and at how many scripts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AppMetricsParameters {
    /// The beginning (RFC 3339), rounded down to a minute; an hour before `to` when it is not given.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// The end (RFC 3339), rounded up to a minute; now when it is not given. 31 days after `from` at most.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// The most scripts to list, 1 to 1000; 100 when it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

impl AppMetricsParameters {
    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(100);
        if (1..=1000).contains(&limit) { Ok(limit) } else { Err(invalid("limit must be 1 to 1000")) }
    }

    /// The minutes, at this time in milliseconds since the Unix epoch.
    fn range(self, now_ms: u64) -> Result<std::ops::Range<u64>, Problem> {
        let whole = MetricsParameters { from: self.from, to: self.to, step_minutes: Some(1440) };
        Ok(whole.range(now_ms)?.0)
    }
}

/// Get what the calls of each script of an app cost.
///
/// Those that took the most fuel come first. Every call is counted, also those without a record.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/metrics", tag = "apps", security(("token" = ["app:{app}:read"])),
    params(AppPath, AppMetricsParameters),
    responses(
        (status = 200, description = "The metrics.", body = AppMetrics),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn get_app_metrics(
    _: Reader,
    state: State,
    path: AppPath,
    Query(parameters): Query<AppMetricsParameters>,
) -> Result<Json<AppMetrics>, Problem> {
    let limit = parameters.limit()?;
    let minutes = parameters.range(state.clock.now_ms())?;
    let app_id = state.app_id(&path.app).await?;
    state.telemetry.flush(Pending::All).await;
    let database = state.telemetry.database()?;
    let usage = minute::usage_of_app(database, app_id, minutes.clone(), TotalMetrics::of).await?;
    let at = |minute: u64| timestamp(minute.saturating_mul(60_000));
    let scripts = usage.scripts.len() as u64;
    let mut items: Vec<_> =
        usage.scripts.into_iter().map(|(script, metrics)| OneScriptMetrics { script, metrics }).collect();
    // Scripts with as much fuel stay in the order of their names.
    items.sort_by_key(|item| std::cmp::Reverse(item.metrics.fuel_total));
    items.truncate(limit);
    Ok(Json(AppMetrics {
        app: path.app.to_string(),
        from: at(minutes.start),
        to: at(minutes.end),
        total: usage.total,
        scripts,
        items,
    }))
}
