//! One app that does all it can, and another that wants no more than its own.

use std::time::{Duration, Instant};

use picloud_host::quota::Quotas;
use picloud_tests::TestApp;
use tokio_util::sync::CancellationToken;

use super::{add_app, with};

/// How many calls the quiet app makes, one after the other.
const CALLS: usize = 150;

/// What the machine that runs this does beside may take so much: other tests are under way.
const NOISE: Duration = Duration::from_millis(40);

const WORK: &str = "fn handle(req) { let n = 0; while n < 300 { n += 1; } n }";

/// The duration that only one of a hundred calls of `other` exceeds.
async fn p99(app: &TestApp) -> Duration {
    let mut took = Vec::new();
    for _ in 0..CALLS {
        let begun = Instant::now();
        let reply = app.get("/other/work").await;
        took.push(begun.elapsed());
        assert_eq!(reply.status, 200, "{reply}");
        // The same quotas hold for this one, which stays well below them.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took.sort_unstable();
    took[CALLS * 99 / 100]
}

/// The p99 of the quiet app alone and beside so many callers of the other, and how often these were answered and refused.
async fn beside(app: &TestApp, callers: usize, source: &str) -> (Duration, Duration, usize, usize) {
    app.deploy("work", source.to_owned()).await;
    add_app(app, "other", "work", WORK).await;
    p99(app).await;
    let alone = p99(app).await;
    let stop = CancellationToken::new();
    let flood = async {
        let calls = (0..callers).map(|_| async {
            let (mut answered, mut refused) = (0, 0);
            while !stop.is_cancelled() {
                match app.get("/default/work").await.status {
                    200 => answered += 1,
                    429 | 503 => refused += 1,
                    other => panic!("{other}"),
                }
                // As fast as a caller may who heeds nothing, but not only to burn the processor that both share.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (answered, refused)
        });
        let counts = futures_util::future::join_all(calls).await;
        counts.into_iter().fold((0, 0), |sum: (usize, usize), (a, r)| (sum.0 + a, sum.1 + r))
    };
    let measured = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let busy = p99(app).await;
        stop.cancel();
        busy
    };
    let ((answered, refused), busy) = tokio::join!(flood, measured);
    (alone, busy, answered, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_at_its_limit_does_not_slow_another_down() {
    let quotas = Quotas { concurrent_calls: Some(2), calls_per_second: Some(300), ..Quotas::default() };
    let app = with(quotas).start().await;
    let (alone, busy, answered, refused) = beside(&app, 16, WORK).await;
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused: it was not at its limit");
    assert!(busy <= alone * 3 / 2 + NOISE, "p99 {alone:?} alone, {busy:?} beside it");
}

/// What docs/PERFORMANCE.md prints: `cargo test --release -p picloud-tests --test it fairness -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn p99_beside_an_app_at_its_limit() {
    let quotas = Quotas { concurrent_calls: Some(2), calls_per_second: Some(300), ..Quotas::default() };
    for callers in [4, 16, 64] {
        let app = with(quotas).start().await;
        let (alone, busy, answered, refused) = beside(&app, callers, WORK).await;
        println!(
            "{callers} callers: p99 {alone:?} alone, {busy:?} beside {answered} answered and {refused} refused"
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
    let (alone, busy, answered, _) = beside(&app, 60, slow).await;
    assert!(answered > 60, "{answered}");
    // The next place is free when one of those two calls has ended.
    assert!(
        busy <= alone * 3 / 2 + Duration::from_millis(20) + 2 * NOISE,
        "p99 {alone:?} alone, {busy:?} beside it"
    );
}
