//! `picloud metrics`: what the calls of a script cost, by version.

use serde_json::Value;

use super::{moment, number};
use crate::args::MetricsArgs;
use crate::client::Api;
use crate::client::api::query;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::table::Table;
use crate::output::text::{bytes, clean, milliseconds, thousands};
use crate::output::time::{local, rfc3339};

/// Show the metrics of a script.
///
/// # Errors
///
/// The time is none, there is no such script, or the server cannot be reached.
pub async fn run(args: &MetricsArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let from = moment("--since", Some(&args.since))?.map(rfc3339);
    let path = api.path(["scripts", &args.name, "metrics"]);
    // Steps of a day: there may be so many of them in the longest time, and only the sums are shown.
    let step = if terminal.json_wanted() { None } else { Some("1440".to_owned()) };
    let metrics = api.get(format!("{path}{}", query(&[("from", from), ("step_minutes", step)]))).await?;
    if terminal.json_wanted() {
        return terminal.json(&metrics);
    }
    let mut table = Table::new(&[
        "VERSION",
        ">CALLS",
        ">FAULTS",
        ">FUEL P50",
        ">P95",
        ">MAX",
        ">MEMORY",
        ">TIME P50",
        ">P95",
        ">P99",
    ]);
    for version in metrics["versions"].as_array().into_iter().flatten() {
        table.row(row(number(version, "version").to_string(), version));
    }
    table.row(row("all".to_owned(), &metrics["total"]));
    terminal.line(&table.render(terminal.out_paint()))?;
    terminal.note(&format!("{} since {}", clean(&args.name), local(&metrics["from"])));
    Ok(())
}

fn row(name: String, metrics: &Value) -> Vec<String> {
    let cost = |what: &str, which: &str| number(&metrics[what], which);
    let faults = metrics["faults"].as_object().into_iter().flatten();
    vec![
        name,
        thousands(number(metrics, "calls")),
        thousands(faults.filter_map(|(_, count)| count.as_u64()).sum()),
        thousands(cost("fuel", "p50")),
        thousands(cost("fuel", "p95")),
        thousands(cost("fuel", "max")),
        bytes(cost("memory_bytes", "max")),
        milliseconds(cost("duration_us", "p50")),
        milliseconds(cost("duration_us", "p95")),
        milliseconds(cost("duration_us", "p99")),
    ]
}
