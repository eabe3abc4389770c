//! The page `/metrics`: calls, costs, how busy the data plane is, what telemetry could not keep, and the process, in the
//! OpenMetrics text format.

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Error;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use picloud_host::problem::{Code, Problem};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::api::finish;
use crate::telemetry::{APPS, AppTotals, Counters, Steps, Telemetry, Totals};
use process::Process;

/// How busy the data plane is. The host counts it and knows nothing of this page, so whoever puts a server together says
/// where the numbers come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Calls under way now.
    pub calls_running: u64,
    /// Calls that wait for a sandbox now.
    pub calls_waiting: u64,
    /// Calls that were turned away for want of room, since the start of the process.
    pub calls_refused: u64,
    /// Calls that were turned away because of an app's quota, since the start of the process. The first 50 apps are told
    /// apart.
    pub over_quota: Vec<OverQuota>,
    /// Bytes that the images in memory take now.
    pub image_cache_bytes: u64,
    /// Images in memory now, those being built included.
    pub image_cache_images: u64,
    /// Images that were built since the start of the process.
    pub image_builds: u64,
    /// Whether the MQTT broker is there; none when the server has none.
    pub mqtt_connected: Option<bool>,
}

/// Calls that a quota of an app did not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverQuota {
    /// The app's name.
    pub app: Arc<str>,
    /// The quota's name.
    pub quota: &'static str,
    /// How many.
    pub count: u64,
}

/// Reads the numbers of the data plane. Called for each scrape, so it must not wait.
pub type ReadGauges = Arc<dyn Fn() -> Gauges + Send + Sync>;

/// The route `/metrics`. To be merged with what else the server answers.
pub fn router(telemetry: Arc<Telemetry>, gauges: ReadGauges) -> Router {
    Router::new()
        .route("/metrics", get(async move || page(&telemetry, gauges())))
        .method_not_allowed_fallback(finish::method_not_allowed)
        .layer(axum::middleware::from_fn(finish::finish))
}

/// The answer to a scrape.
fn page(telemetry: &Telemetry, gauges: Gauges) -> Result<Response, Problem> {
    const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut body = String::new();
    let mut registry = Registry::default();
    // Numbers are gathered where calls are recorded, under one lock, and only written down here.
    registry.register_collector(Box::new(Numbers {
        totals: telemetry.totals(),
        counters: telemetry.counters(),
        gauges,
        process: Process::read(),
    }));
    text::encode(&mut body, &registry).map_err(|error| {
        tracing::error!(%error, "metrics cannot be encoded");
        Problem::new(Code::Internal)
    })?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response())
}

/// Everything on the page, at one moment.
#[derive(Debug)]
struct Numbers {
    totals: Totals,
    counters: Counters,
    gauges: Gauges,
    process: Process,
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.encode_calls(&mut encoder)?;
        self.encode_gauges(&mut encoder)?;
        self.encode_telemetry(&mut encoder)?;
        self.process.encode(&mut encoder)
    }
}

impl Numbers {
    fn encode_calls(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Calls, by whose fault they failed; `script` is `other` for scripts over the first 200";
        let mut calls = encoder.encode_descriptor("picloud_calls", help, None, MetricType::Counter)?;
        for script in self.totals.scripts() {
            for (trigger, fault, count) in &script.calls {
                let fault = fault.map_or("none", |fault| fault.as_str());
                let (app, name) = (Arc::clone(&script.app), Arc::clone(&script.script));
                let labels = [("app", &*app), ("script", &*name), ("trigger", *trigger), ("fault", fault)];
                count_one(&mut calls.encode_family(&labels)?, *count)?;
            }
        }

        let help = "Time from accepting a call to its answer";
        let seconds = Some(&Unit::Seconds);
        let mut durations =
            encoder.encode_descriptor("picloud_call_duration", help, seconds, MetricType::Histogram)?;
        for AppTotals { app, duration_us, .. } in self.totals.apps() {
            encode_steps(&mut durations.encode_family(&[("app", &**app)])?, duration_us, 1e-6)?;
        }

        let mut fuel =
            encoder.encode_descriptor("picloud_call_fuel", "Fuel of a call", None, MetricType::Histogram)?;
        for AppTotals { app, fuel: steps, .. } in self.totals.apps() {
            encode_steps(&mut fuel.encode_family(&[("app", &**app)])?, steps, 1.0)?;
        }
        Ok(())
    }

    fn encode_gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Gauges { calls_running, calls_waiting, calls_refused, .. } = self.gauges;
        gauge(encoder, "picloud_calls_running", "Calls under way", None, calls_running)?;
        gauge(encoder, "picloud_calls_waiting", "Calls that wait for a sandbox", None, calls_waiting)?;
        let help = "Calls that were turned away for want of room";
        counter(encoder, "picloud_calls_refused", help, calls_refused)?;

        let help =
            "Calls that a quota of their app did not allow; `app` is `other` for apps over the first 50";
        let mut over =
            encoder.encode_descriptor("picloud_calls_over_quota", help, None, MetricType::Counter)?;
        for ((app, quota), count) in by_app(&self.gauges.over_quota) {
            count_one(&mut over.encode_family(&[("app", app), ("quota", quota)])?, count)?;
        }

        let Gauges { image_cache_bytes, image_cache_images, image_builds, .. } = self.gauges;
        let help = "Memory that images of scripts take";
        gauge(encoder, "picloud_image_cache", help, Some(&Unit::Bytes), image_cache_bytes)?;
        let help = "Images of scripts in memory";
        gauge(encoder, "picloud_image_cache_images", help, None, image_cache_images)?;
        counter(encoder, "picloud_image_builds", "Images of scripts that were built", image_builds)?;
        match self.gauges.mqtt_connected {
            None => Ok(()),
            Some(connected) => {
                let help = "Whether the MQTT broker is there";
                gauge(encoder, "picloud_mqtt_connected", help, None, u64::from(connected))
            }
        }
    }

    fn encode_telemetry(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let counters = &self.counters;
        counter(encoder, "picloud_executions_kept", "Executions whose record was written", counters.kept)?;
        let help = "Executions without a record, by reason";
        let mut lost =
            encoder.encode_descriptor("picloud_executions_not_kept", help, None, MetricType::Counter)?;
        let reasons =
            [("rate", counters.over_rate), ("buffer", counters.over_capacity), ("storage", counters.storage)];
        for (reason, count) in reasons {
            count_one(&mut lost.encode_family(&[("reason", reason)])?, count)?;
        }
        let help = "Executions that are missing in the metrics by minute";
        counter(encoder, "picloud_executions_uncounted", help, counters.uncounted)?;
        let help = "Executions whose record waits to be written";
        gauge(encoder, "picloud_executions_waiting", help, None, counters.waiting)
    }
}

/// The counts of each app and quota, those of the apps over the bound together.
fn by_app(over_quota: &[OverQuota]) -> BTreeMap<(&str, &'static str), u64> {
    let (mut apps, mut counts) = (BTreeSet::new(), BTreeMap::new());
    for OverQuota { app, quota, count } in over_quota {
        let known = apps.len() < APPS || apps.contains(&**app);
        let app = if known { &**app } else { "other" };
        apps.insert(app);
        *counts.entry((app, *quota)).or_default() += count;
    }
    counts
}

fn encode_steps<const N: usize>(
    encoder: &mut MetricEncoder<'_>,
    steps: &Steps<N>,
    scale: f64,
) -> Result<(), Error> {
    let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| scaled(bound, scale));
    let buckets: Vec<(f64, u64)> = steps.iter().map(|(upper, count)| (bound(upper), count)).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(scaled(steps.sum(), scale), count, &buckets, None)
}

/// By division, since 50 * 1e-6 is not 0.00005.
#[allow(clippy::cast_precision_loss, reason = "the format knows only floating-point numbers here")]
fn scaled(value: u64, scale: f64) -> f64 {
    value as f64 / (1.0 / scale).round()
}

fn count_one(encoder: &mut MetricEncoder<'_>, count: u64) -> Result<(), Error> {
    encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> Result<(), Error> {
    count_one(&mut encoder.encode_descriptor(name, help, None, MetricType::Counter)?, count)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> Result<(), Error> {
    encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, StatusCode};
    use picloud_host::ports::ExecutionLog as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::telemetry::tests::{Fixture, failed, named, succeeded};

    const GAUGES: Gauges = Gauges {
        calls_running: 1,
        calls_waiting: 2,
        calls_refused: 3,
        over_quota: Vec::new(),
        image_cache_bytes: 4,
        image_cache_images: 5,
        image_builds: 6,
        mqtt_connected: Some(true),
    };

    async fn send(fixture: &Fixture, method: &str) -> Response {
        let request = Request::builder().method(method).uri("/metrics").body(Body::empty()).unwrap();
        let router = router(Arc::clone(&fixture.telemetry), Arc::new(|| GAUGES));
        router.oneshot(request).await.unwrap()
    }

    async fn text(response: Response) -> String {
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[track_caller]
    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn calls_and_costs_are_on_the_page() {
        let fixture = Fixture::new().await;
        let mut slow = succeeded();
        slow.cost.sandbox_us = 20_000_000;
        [succeeded(), failed(), slow].into_iter().for_each(|record| fixture.telemetry.record(record));
        let text = text(send(&fixture, "GET").await).await;
        let lines = [
            r#"picloud_calls_total{app="default",script="hello",trigger="http",fault="none"} 2"#,
            r#"picloud_calls_total{app="default",script="hello",trigger="http",fault="script"} 1"#,
            r#"picloud_call_duration_seconds_bucket{le="0.00005",app="default"} 0"#,
            r#"picloud_call_duration_seconds_bucket{le="0.00025",app="default"} 2"#,
            r#"picloud_call_duration_seconds_bucket{le="10.0",app="default"} 2"#,
            r#"picloud_call_duration_seconds_bucket{le="+Inf",app="default"} 3"#,
            r#"picloud_call_duration_seconds_count{app="default"} 3"#,
            r#"picloud_executions_not_kept_total{reason="rate"} 0"#,
        ];
        assert_lines(&text, &lines);
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn overload_is_on_the_page() {
        let fixture = Fixture::new().await;
        let lines = [
            "# TYPE picloud_calls_running gauge",
            "picloud_calls_running 1",
            "picloud_calls_waiting 2",
            "# TYPE picloud_calls_refused counter",
            "picloud_calls_refused_total 3",
            "# UNIT picloud_image_cache_bytes bytes",
            "picloud_image_cache_bytes 4",
            "picloud_image_cache_images 5",
            "picloud_image_builds_total 6",
        ];
        assert_lines(&text(send(&fixture, "GET").await).await, &lines);
    }

    #[tokio::test]
    async fn calls_over_a_quota_are_on_the_page_and_few_apps_are_told_apart() {
        let fixture = Fixture::new().await;
        let quota = "fuel_per_second";
        let of = |number: usize| OverQuota { app: format!("app-{number}").into(), quota, count: 2 };
        let gauges = Gauges { over_quota: (0..APPS + 3).map(of).collect(), ..GAUGES };
        let page = page(&fixture.telemetry, gauges).map_err(|_| "no page").unwrap();
        let text = text(page).await;
        let lines = [
            r#"picloud_calls_over_quota_total{app="app-0",quota="fuel_per_second"} 2"#,
            r#"picloud_calls_over_quota_total{app="other",quota="fuel_per_second"} 6"#,
        ];
        assert_lines(&text, &lines);
        assert!(!text.contains("app-50"), "{text}");
    }

    #[tokio::test]
    async fn other_methods_are_problems_with_the_ones_there_are() {
        let fixture = Fixture::new().await;
        assert_eq!(send(&fixture, "HEAD").await.status(), StatusCode::OK);
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let response = send(&fixture, method).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
            assert_eq!(response.headers()[header::ALLOW], "GET,HEAD", "{method}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{method}");
            let problem: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!(
                (&problem["code"], &problem["instance"]),
                (&"method-not-allowed".into(), &"/metrics".into())
            );
        }
    }

    #[tokio::test]
    async fn a_thousand_scripts_make_a_bounded_page() {
        let fixture = Fixture::new().await;
        for number in 0..1000 {
            fixture.telemetry.record(named("default", &format!("script-{number}")));
        }
        let text = text(send(&fixture, "GET").await).await;
        assert_eq!(text.lines().filter(|line| line.starts_with("picloud_calls_total{")).count(), 201);
        assert!(text.contains(r#"{app="default",script="other",trigger="http",fault="none"} 800"#), "{text}");
    }
}
