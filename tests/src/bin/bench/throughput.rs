//! Throughput and latency in pairs: baseline, PiCloud, baseline, PiCloud, so that whatever slows the machine down for a
//! while slows both.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::args::Args;
use crate::cases::{self, Case};
use crate::client::Client;
use crate::wrk::{self, Run};

/// Connections that each case is measured with.
const CONNECTIONS: [u64; 3] = [1, 16, 64];
/// How long each server gets to warm up before a case.
const WARM_UP: Duration = Duration::from_millis(300);
/// Pause after a load run, so that calls which the load generator has abandoned do not slow the other server down.
const SETTLE: Duration = Duration::from_millis(100);

/// One script with one number of connections.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) connections: u64,
    pub(crate) baseline: Side,
    pub(crate) picloud: Side,
    /// Throughput of PiCloud as a share of the baseline's: the median over the pairs.
    pub(crate) ratio: f64,
    /// Of one call, where PiCloud said.
    pub(crate) fuel: Option<u64>,
}

/// Medians over the runs of one server.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) throughput: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Answers with an error status, all runs together.
    pub(crate) refused: u64,
}

/// Measure every case.
pub(crate) async fn measure(
    args: &Args,
    baseline: &str,
    picloud: &str,
    work: &Path,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in cases::ALL {
        let (native, cloud) = (Client::new(baseline.to_owned()), Client::new(picloud.to_owned()));
        case.check(&native).await?;
        let fuel = case.check(&cloud).await?;
        for client in [&native, &cloud] {
            warm_up(case, client).await?;
        }
        for connections in CONNECTIONS {
            eprintln!("{}, {connections} connections", case.name);
            let mut pairs = Vec::new();
            for _ in 0..args.size.pairs {
                let first = load(args, case, baseline, &native, connections, work).await?;
                pairs.push((first, load(args, case, picloud, &cloud, connections, work).await?));
            }
            rows.push(Row {
                name: case.name,
                connections,
                baseline: Side::of(pairs.iter().map(|pair| pair.0)),
                picloud: Side::of(pairs.iter().map(|pair| pair.1)),
                ratio: median(pairs.iter().map(|(first, second)| second.throughput / first.throughput)),
                fuel,
            });
        }
    }
    Ok(rows)
}

async fn warm_up(case: &Case, client: &Client) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP {
        client.call(case.name, case.request).await?;
    }
    Ok(())
}

async fn load(
    args: &Args,
    case: &Case,
    url: &str,
    client: &Client,
    connections: u64,
    work: &Path,
) -> anyhow::Result<Run> {
    let before = case.count(client).await?;
    let run =
        wrk::run(&format!("{url}/default/{}", case.name), case.request, connections, args.size.seconds, work)
            .await?;
    sleep(SETTLE).await;
    if let (Some(before), Some(after)) = (before, case.count(client).await?) {
        cases::verify_count(before, after, run.answered, connections)?;
    }
    Ok(run)
}

impl Side {
    fn of(runs: impl Iterator<Item = Run> + Clone) -> Self {
        Self {
            throughput: median(runs.clone().map(|run| run.throughput)),
            p50_us: median(runs.clone().map(|run| run.p50_us)),
            p99_us: median(runs.clone().map(|run| run.p99_us)),
            refused: runs.map(|run| run.refused).sum(),
        }
    }
}

/// The middle value, or the mean of the two in the middle; 0 of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_follow_an_outlier() {
        assert!((median([3.0, 1.0, 900.0].into_iter()) - 3.0).abs() < 1e-9);
        assert!((median([1.0, 2.0].into_iter()) - 1.5).abs() < 1e-9);
        assert!(median(std::iter::empty()).abs() < 1e-9);
    }
}
