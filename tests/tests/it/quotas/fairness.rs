//! One app that does all it can, and another that wants no more than its own.

use std::thread;
use std::time::Duration;

use picloud_host::quota::Quotas;
use picloud_tests::{TestApp, client};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{add_app, with};

/// What the machine that runs this does beside may take so much: other tests are under way.
const NOISE: Duration = Duration::from_millis(40);

const WORK: &str = "fn handle(req) { let n = 0; while n < 300 { n += 1; } n }";

/// How often the app at its limit may be called in a second.
const LIMIT: u32 = 300;

/// What is done to the server.
#[derive(Clone, Copy)]
struct Load {
    /// How many calls the quiet app makes, one after the other.
    calls: usize,
    /// How many callers the other app has.
    callers: u32,
    /// How long after each answer, or how long after each call if that was before, a caller of the other app comes back.
    every: Duration,
}

/// What came of it.
struct Measured {
    /// The p99 of the quiet app's calls alone.
    alone: Duration,
    /// The same beside the other app's calls.
    busy: Duration,
    /// How many of those were answered.
    answered: usize,
    /// How many were refused.
    refused: usize,
}

/// Clients on a thread of their own: how soon one of them looks at its answer must not depend on the server, nor on the others.
fn on_a_thread<T: Send + 'static>(
    clients: impl AsyncFnOnce(reqwest::Client) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { clients(client().build().unwrap()).await })
    })
}

async fn joined<T: Send + 'static>(thread: thread::JoinHandle<T>) -> T {
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap()
}

/// The duration that only one of a hundred calls of `other` exceeds.
async fn p99(app: &TestApp, calls: usize) -> Duration {
    let url = format!("http://{}/other/work", app.address);
    let quiet = on_a_thread(async move |client| {
        let mut took = Vec::new();
        for _ in 0..calls {
            let begun = Instant::now();
            let reply = client.get(&url).send().await.unwrap();
            took.push(begun.elapsed());
            assert_eq!(reply.status(), 200);
            // The same quotas hold for this one, which stays well below them.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        took.sort_unstable();
        took[calls * 99 / 100]
    });
    joined(quiet).await
}

/// Call the other app until that is to stop: how often that was answered, and refused.
async fn flood(url: String, load: Load, stop: CancellationToken, client: reqwest::Client) -> (usize, usize) {
    let calls = (0..load.callers).map(async |caller| {
        let (mut answered, mut refused) = (0, 0);
        // Not all of them at the same moment.
        let mut turns = interval_at(Instant::now() + load.every * caller / load.callers, load.every);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            turns.tick().await;
            match client.get(&url).send().await.unwrap().status().as_u16() {
                200 => answered += 1,
                429 | 503 => refused += 1,
                other => panic!("{other}"),
            }
        }
        (answered, refused)
    });
    let counts = futures_util::future::join_all(calls).await;
    counts.into_iter().fold((0, 0), |sum, (answered, refused)| (sum.0 + answered, sum.1 + refused))
}

/// How the quiet app does alone, and beside the other one, whose script this is.
async fn beside(app: &TestApp, load: Load, source: &str) -> Measured {
    app.deploy("work", source.to_owned()).await;
    add_app(app, "other", "work", WORK).await;
    p99(app, load.calls).await;
    let alone = p99(app, load.calls).await;
    let (stop, url) = (CancellationToken::new(), format!("http://{}/default/work", app.address));
    let flood = on_a_thread({
        let stop = stop.clone();
        async move |client| flood(url, load, stop, client).await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let busy = p99(app, load.calls).await;
    stop.cancel();
    let (answered, refused) = joined(flood).await;
    Measured { alone, busy, answered, refused }
}

fn at_its_limit() -> Quotas {
    Quotas { concurrent_calls: Some(2), calls_per_second: Some(LIMIT.into()), ..Quotas::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_at_its_limit_does_not_slow_another_down() {
    let app = with(at_its_limit()).start().await;
    let load = Load { calls: 150, callers: 16, every: Duration::from_millis(10) };
    let Measured { alone, busy, answered, refused } = beside(&app, load, WORK).await;
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused: it was not at its limit");
    assert!(busy <= alone * 3 / 2 + NOISE, "p99 {alone:?} alone, {busy:?} beside it");
}

/// What docs/PERFORMANCE.md prints: `cargo test --release -p picloud-tests --test it fairness -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn p99_beside_an_app_at_its_limit() {
    const CALLERS: u32 = 16;
    for times in [1, 3, 10] {
        let app = with(at_its_limit()).start().await;
        let every = Duration::from_secs(1) * CALLERS / (LIMIT * times);
        let load = Load { calls: 1000, callers: CALLERS, every };
        let Measured { alone, busy, answered, refused } = beside(&app, load, WORK).await;
        let ratio = busy.as_secs_f64() / alone.as_secs_f64();
        println!(
            "{times} times its limit: p99 {alone:?} alone, {busy:?} beside it ({ratio:.2}), \
             {answered} answered and {refused} refused"
        );
    }
}

/// Without any quota: calls of the other app wait for places, and this one's does not wait behind all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_does_not_wait_behind_all_calls_of_another_app() {
    let builder = with(Quotas::default()).config(|config| {
        config.max_concurrent_calls = std::num::NonZeroUsize::new(2);
    });
    let app = builder.start().await;
    // Each holds its place for 10 ms: sixty of them, two at a time, take 300 ms.
    let slow = "fn handle(req) { let end = time::now() + 10; while time::now() < end {} 1 }";
    let load = Load { calls: 150, callers: 60, every: Duration::from_millis(5) };
    let Measured { alone, busy, answered, .. } = beside(&app, load, slow).await;
    assert!(answered > 60, "{answered}");
    // The next place is free when one of those two calls has ended.
    assert!(
        busy <= alone * 3 / 2 + Duration::from_millis(20) + 2 * NOISE,
        "p99 {alone:?} alone, {busy:?} beside it"
    );
}
