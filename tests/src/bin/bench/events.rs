//! A full queue: how fast it fills and drains, and what memory that takes.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::args::Args;
use crate::cases::Request;
use crate::client::Client;
use crate::process::Picloud;

/// Events that one call makes: as many as it may.
const AT_ONCE: usize = 100;

/// How many of the queue's events run at the same time.
const CONCURRENCY: usize = 16;

/// Draining is given up after this long.
const LIMIT: Duration = Duration::from_secs(180);

/// Makes as many events as one call may.
const FILL: &str = "fn handle(req) { for n in 0..100 { triggers::enqueue(\"bench-drain\", n); } \"ok\" }\n";

/// Each event counts, one of a hundred counters, so that handlers write and seldom get into each other's way.
const DRAIN: &str = "fn on_event(event) { kv::incr(`drained/${event.data}`) }\n";

/// What was measured. Memory in bytes; none where the process was not ours to look at.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) events: usize,
    /// From the first event that was stored to the last one that was done.
    pub(crate) took: Duration,
    /// How many waited when all were stored.
    pub(crate) waited: u64,
    pub(crate) peak_memory: Option<u64>,
}

/// Measure on a server that has just started.
pub(crate) async fn measure(args: &Args, picloud: Picloud) -> anyhow::Result<(Picloud, Drain)> {
    let (picloud, _) = picloud.restart("/default/hello").await?;
    let client = picloud.client();
    client.deploy("bench-fill", FILL).await?;
    client.deploy("bench-drain", DRAIN).await?;
    let queue =
        json!({"kind": "queue", "script": "bench-drain", "concurrency": CONCURRENCY, "attempts": 100});
    client.put_json("/api/v1/apps/default/triggers/bench-drain", &queue).await?;

    eprintln!("{} events", args.size.events);
    let before = drained(&client).await?;
    let begun = Instant::now();
    for _ in 0..args.size.events / AT_ONCE {
        client.call("bench-fill", Request::Get).await?;
    }
    let waited = left(&client).await?;
    while left(&client).await? > 0 {
        ensure!(begun.elapsed() < LIMIT, "the queue does not drain");
        sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    let count = drained(&client).await? - before;
    ensure!(count == args.size.events as u64, "{} events had {count} effects", args.size.events);
    let peak_memory = picloud.memory("VmHWM")?;
    Ok((picloud, Drain { events: args.size.events, took, waited, peak_memory }))
}

/// How many events wait or run. None may have died.
async fn left(client: &Client) -> anyhow::Result<u64> {
    let queues = client.get_json("/api/v1/apps/default/queues").await?;
    let lanes = queues["items"].as_array().cloned().unwrap_or_default();
    let sum = |name: &str| lanes.iter().filter_map(|lane| lane[name].as_u64()).sum::<u64>();
    ensure!(sum("dead") == 0, "events have died: {queues}");
    Ok(sum("waiting") + sum("running"))
}

/// How many effects there are.
async fn drained(client: &Client) -> anyhow::Result<u64> {
    let page: Value = client.get_json("/api/v1/apps/default/kv?limit=1000&prefix=drained/").await?;
    let counters = page["items"].as_array().cloned().unwrap_or_default();
    Ok(counters.iter().filter_map(|counter| counter["value"].as_u64()).sum())
}
