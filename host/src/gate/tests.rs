//! The order of calls, their quotas, and that no place is ever lost.

use std::pin::Pin;
use std::sync::atomic::AtomicU32;

use super::*;
use crate::kv_conformance::{Dice, poll_once};

const A: AppId = AppId(1);
const B: AppId = AppId(2);
const NONE: Quotas = Quotas {
    concurrent_calls: None,
    calls_per_second: None,
    fuel_per_second: None,
    kv_bytes: None,
    versions: None,
    queued_events: None,
};

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Admission<'a>, Refused>> + 'a>>;

fn gate(concurrent: usize, waiting: usize, patience_ms: u64) -> Gate {
    Gate::new(GateConfig { concurrent, waiting, patience: Duration::from_millis(patience_ms) })
}

/// A call that has come and was asked once.
async fn come<'a>(gate: &'a Gate, app: AppId, quotas: &'a Quotas) -> Waiting<'a> {
    let mut waiting: Waiting<'a> = Box::pin(gate.admit(app, quotas));
    assert!(poll_once(&mut waiting).await.is_pending(), "it has to wait");
    waiting
}

async fn is_in<'a>(waiting: &mut Waiting<'a>) -> Option<Admission<'a>> {
    match poll_once(waiting).await {
        std::task::Poll::Ready(admission) => Some(admission.unwrap()),
        std::task::Poll::Pending => None,
    }
}

fn quota(refused: Result<Admission<'_>, Refused>) -> (CallQuota, u64) {
    match refused {
        Err(Refused::Quota(exceeded)) => (exceeded.quota, exceeded.retry_after_secs),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_full_gate_refuses_at_once_when_nobody_may_wait() {
    let gate = gate(1, 0, 10_000);
    let first = gate.admit(A, &NONE).await.unwrap();
    let refused = gate.admit(A, &NONE).await.unwrap_err();
    assert_eq!(refused, Refused::Overloaded(Overloaded { retry_after_secs: 1 }));
    drop(first);
    assert!(gate.admit(A, &NONE).await.is_ok());
}

#[tokio::test]
async fn waiting_ends_with_patience_and_is_no_longer_counted() {
    let gate = gate(1, 1, 20);
    let _first = gate.admit(A, &NONE).await.unwrap();
    assert!(gate.admit(A, &NONE).await.is_err());
    assert_eq!((gate.waiting(), gate.refused()), (0, 1));
}

#[tokio::test]
async fn a_place_that_is_given_back_goes_to_who_waits() {
    let gate = gate(1, 1, 10_000);
    let first = gate.admit(A, &NONE).await.unwrap();
    let (second, ()) = tokio::join!(gate.admit(A, &NONE), async {
        tokio::task::yield_now().await;
        assert_eq!(gate.waiting(), 1);
        drop(first);
    });
    assert!(second.is_ok());
}

#[tokio::test]
async fn a_call_waits_behind_no_thousand_calls_of_another_app() {
    let gate = gate(2, 2000, 10_000);
    let (first, second) = (gate.admit(A, &NONE).await.unwrap(), gate.admit(A, &NONE).await.unwrap());
    let mut of_a = Vec::new();
    for _ in 0..1000 {
        of_a.push(come(&gate, A, &NONE).await);
    }
    let mut of_b = [come(&gate, B, &NONE).await, come(&gate, B, &NONE).await];
    drop(first);
    let in_b = is_in(&mut of_b[0]).await.expect("the first free place is the other app's");
    drop(second);
    assert!(is_in(&mut of_b[1]).await.is_none(), "the next is not, since it has one now");
    assert!(is_in(&mut of_a[0]).await.is_some());
    drop(in_b);
}

#[tokio::test]
async fn apps_that_wait_have_as_many_places_each() {
    let gate = gate(4, 100, 10_000);
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(gate.admit(A, &NONE).await.unwrap());
    }
    let mut waiting = Vec::new();
    for app in [A, A, A, A, B, B, B, B] {
        waiting.push((app, come(&gate, app, &NONE).await));
    }
    running.clear();
    let mut of = [0, 0];
    for (app, waiting) in &mut waiting {
        if let Some(admission) = is_in(waiting).await {
            of[usize::from(*app == B)] += 1;
            running.push(admission);
        }
    }
    assert_eq!(of, [2, 2]);
}

#[tokio::test]
async fn the_app_of_which_most_wait_gives_way_when_there_is_no_room() {
    let gate = gate(1, 3, 10_000);
    let first = gate.admit(A, &NONE).await.unwrap();
    let mut of_a = Vec::new();
    for _ in 0..3 {
        of_a.push(come(&gate, A, &NONE).await);
    }
    assert!(
        matches!(gate.admit(A, &NONE).await, Err(Refused::Overloaded(_))),
        "it is its own app that fills it"
    );
    let mut of_b = come(&gate, B, &NONE).await;
    assert_eq!(gate.waiting(), 3);
    let newest = of_a.pop().unwrap().await;
    assert!(matches!(newest, Err(Refused::Overloaded(_))), "the newest of the app that fills it");
    assert!(poll_once(&mut of_a[1]).await.is_pending() && poll_once(&mut of_b).await.is_pending());
    assert_eq!(gate.refused(), 2);
    drop(first);
    assert!(is_in(&mut of_a[0]).await.is_some(), "of two without a call the one that has waited for longer");
}

#[tokio::test]
async fn calls_that_nobody_waits_for_let_others_go_first() {
    let gate = gate(1, 2, 10_000);
    let order = std::sync::Mutex::new(Vec::new());
    let first = gate.admit(A, &NONE).await.unwrap();
    let run = async |name, admission: Admission<'_>| {
        order.lock().unwrap().push(name);
        tokio::task::yield_now().await;
        drop(admission);
    };
    tokio::join!(
        async { run("behind", gate.admit_behind(A, &NONE).await).await },
        async { run("a", gate.admit(A, &NONE).await.unwrap()).await },
        async { run("b", gate.admit(B, &NONE).await.unwrap()).await },
        async {
            tokio::task::yield_now().await;
            drop(first);
        }
    );
    let order = order.into_inner().unwrap();
    assert_eq!((order.len(), order[2]), (3, "behind"));
}

#[tokio::test]
async fn who_let_others_go_first_for_long_enough_gets_in() {
    let gate = gate(1, 1, 20);
    let first = gate.admit(A, &NONE).await.unwrap();
    let mut behind = Box::pin(gate.admit_behind(A, &NONE));
    assert!(poll_once(&mut behind).await.is_pending());
    tokio::time::sleep(Duration::from_millis(60)).await;
    let other = come(&gate, A, &NONE).await;
    drop(first);
    let second = behind.await;
    assert_eq!((gate.running(), gate.waiting()), (1, 1), "the other one came later than its time was up");
    drop(second);
    drop(other);
    // Half of the places, but one at least.
    let one = gate.admit_behind(A, &NONE).await;
    let two = tokio::time::timeout(Duration::from_millis(30), gate.admit_behind(B, &NONE)).await;
    assert!(two.is_err());
    drop(one);
    assert_eq!(gate.running(), 0);
}

#[tokio::test]
async fn places_behind_are_shared_between_apps_too() {
    let gate = gate(4, 10, 10_000);
    let (one, two) = (gate.admit_behind(A, &NONE).await, gate.admit_behind(A, &NONE).await);
    let mut third = Box::pin(gate.admit_behind(A, &NONE));
    assert!(poll_once(&mut third).await.is_pending(), "two of four");
    let mut other = Box::pin(gate.admit_behind(B, &NONE));
    assert!(poll_once(&mut other).await.is_pending());
    drop(one);
    assert!(poll_once(&mut third).await.is_pending(), "the other app has none");
    assert!(poll_once(&mut other).await.is_ready());
    drop(two);
}

#[tokio::test]
async fn an_app_has_no_more_calls_at_once_than_its_quota() {
    let (gate, quotas) = (gate(4, 10, 10_000), Quotas { concurrent_calls: Some(2), ..NONE });
    let first = gate.admit(A, &quotas).await.unwrap();
    let _second = gate.admit(A, &quotas).await.unwrap();
    assert_eq!(quota(gate.admit(A, &quotas).await), (CallQuota::Concurrent, 1));
    assert!(gate.admit(B, &quotas).await.is_ok(), "that is nothing to another app");
    let mut behind = Box::pin(gate.admit_behind(A, &quotas));
    assert!(poll_once(&mut behind).await.is_pending(), "it waits, and is not refused");
    drop(first);
    assert!(poll_once(&mut behind).await.is_ready());
    assert_eq!((gate.refused(), gate.over_quota()), (0, vec![(A, CallQuota::Concurrent, 1)]));
}

#[tokio::test]
async fn calls_that_wait_count_as_calls_at_once() {
    let (gate, quotas) = (gate(1, 10, 10_000), Quotas { concurrent_calls: Some(2), ..NONE });
    let _first = gate.admit(B, &NONE).await.unwrap();
    let _waiting = [come(&gate, A, &quotas).await, come(&gate, A, &quotas).await];
    assert_eq!(quota(gate.admit(A, &quotas).await).0, CallQuota::Concurrent);
}

/// So many calls of an app have taken so long each.
fn have_taken(gate: &Gate, app: AppId, calls: usize, held: Duration) {
    for _ in 0..calls {
        gate.in_line(|line| {
            line.enter(app, &NONE, Instant::now());
            line.leave(Place { app, behind: false }, 0, held, Instant::now());
        });
    }
}

#[tokio::test]
async fn retry_after_of_calls_at_once_is_how_long_those_of_the_app_take() {
    let (gate, quotas) = (gate(4, 0, 0), Quotas { concurrent_calls: Some(2), ..NONE });
    have_taken(&gate, A, 200, Duration::from_secs(30));
    have_taken(&gate, B, 200, Duration::from_millis(1));
    let _calls = [gate.admit(A, &quotas).await.unwrap(), gate.admit(A, &quotas).await.unwrap()];
    let (_, retry_after_secs) = quota(gate.admit(A, &quotas).await);
    assert!((29..=30).contains(&retry_after_secs), "{retry_after_secs}");
}

#[tokio::test]
async fn rates_are_held_and_told() {
    let quotas = Quotas { calls_per_second: Some(1), fuel_per_second: Some(1000), ..NONE };
    let gate = gate(4, 10, 10_000);
    let mut admission = gate.admit(A, &quotas).await.unwrap();
    assert_eq!(quota(gate.admit(A, &quotas).await), (CallQuota::Calls, 1));
    admission.charge(10_000 + 40_000);
    drop(admission);
    let (which, secs) = quota(gate.admit(A, &quotas).await);
    assert_eq!(which, CallQuota::Fuel);
    assert!((40..=41).contains(&secs), "{secs}");
    assert!(gate.ready(A, &quotas).1 > Duration::from_secs(39));
    assert!(gate.admit(B, &quotas).await.is_ok());
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_waits_until_the_rate_allows_it() {
    let (gate, quotas) = (gate(4, 10, 10_000), Quotas { calls_per_second: Some(20), ..NONE });
    let started = Instant::now();
    for _ in 0..24 {
        drop(gate.admit_behind(A, &quotas).await);
    }
    assert!(started.elapsed() >= Duration::from_millis(195), "{:?}", started.elapsed());
}

#[tokio::test]
async fn slow_calls_make_retry_after_longer() {
    let gate = gate(1, 0, 0);
    have_taken(&gate, A, 200, Duration::from_secs(30));
    let _first = gate.admit(A, &NONE).await.unwrap();
    let Err(Refused::Overloaded(overloaded)) = gate.admit(A, &NONE).await else { panic!("it is full") };
    assert!((29..=30).contains(&overloaded.retry_after_secs), "{overloaded:?}");
}

/// Calls come, wait, go away at any moment and end, in thousands of orders: nobody waits while a place is free, and at the
/// end nothing is left.
#[tokio::test]
async fn no_place_is_lost_whatever_the_order() {
    for seed in 1..=300 {
        let mut dice = Dice(seed * 0x9E37_79B9);
        let gate = gate(1 + dice.roll(3) as usize, dice.roll(6) as usize, 1_000_000);
        let limited = Quotas { concurrent_calls: Some(2), ..NONE };
        let (mut waiting, mut running): (Vec<Waiting<'_>>, Vec<Admission<'_>>) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            let app = AppId(1 + dice.roll(3) as i64);
            let quotas = if app == B { &limited } else { &NONE };
            match dice.roll(6) {
                0 | 1 => waiting.push(Box::pin(gate.admit(app, quotas))),
                2 => waiting.push(Box::pin(behind(&gate, app, quotas))),
                3 if !waiting.is_empty() => {
                    drop(waiting.swap_remove(dice.roll(waiting.len() as u64) as usize))
                }
                4 if !running.is_empty() => {
                    drop(running.swap_remove(dice.roll(running.len() as u64) as usize))
                }
                _ => {}
            }
            // Some are not asked for a while: whatever they were told meanwhile is theirs.
            if dice.roll(3) > 0 {
                ask(&mut waiting, &mut running).await;
            }
            assert!(gate.running() <= gate.config.concurrent);
            assert!(gate.waiting() <= gate.config.waiting);
            assert!(gate.waiting() == 0 || gate.running() == gate.config.concurrent, "seed {seed}");
        }
        while !(waiting.is_empty() && running.is_empty()) {
            running.clear();
            ask(&mut waiting, &mut running).await;
        }
        assert_eq!((gate.running(), gate.waiting()), (0, 0), "seed {seed}");
        let line = gate.line();
        assert!(line.is_idle(), "seed {seed}: {line:?}");
    }
}

async fn behind<'a>(gate: &'a Gate, app: AppId, quotas: &Quotas) -> Result<Admission<'a>, Refused> {
    Ok(gate.admit_behind(app, quotas).await)
}

async fn ask<'a>(waiting: &mut Vec<Waiting<'a>>, running: &mut Vec<Admission<'a>>) {
    // Without it Tokio would say at some time that this task has done enough, and everything waits.
    tokio::task::yield_now().await;
    for mut call in std::mem::take(waiting) {
        match poll_once(&mut call).await {
            std::task::Poll::Ready(Ok(admission)) => running.push(admission),
            std::task::Poll::Ready(Err(_)) => {}
            std::task::Poll::Pending => waiting.push(call),
        }
    }
}

struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn one_of(running: &'a AtomicU32) -> Self {
        assert!(running.fetch_add(1, Ordering::SeqCst) < 3, "more run than may");
        Self(running)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_share_the_places_and_leave_none_behind() {
    let gate = std::sync::Arc::new(gate(3, 10_000, 1_000_000));
    let running = std::sync::Arc::new(AtomicU32::new(0));
    let calls = (0..2000_i64).map(|n| {
        let (gate, running) = (gate.clone(), running.clone());
        tokio::spawn(async move {
            let call = async {
                let admission = match n % 3 {
                    0 => gate.admit_behind(AppId(n % 5), &NONE).await,
                    _ => gate.admit(AppId(n % 5), &NONE).await.unwrap(),
                };
                let counted = Counted::one_of(&running);
                tokio::task::yield_now().await;
                drop((counted, admission));
            };
            // Some leave before their turn.
            tokio::select! {
                biased;
                () = call => {}
                () = tokio::time::sleep(Duration::from_micros(n.unsigned_abs() % 700)), if n % 4 == 0 && n % 3 != 0 => {}
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!((gate.running(), gate.waiting()), (0, 0));
}
