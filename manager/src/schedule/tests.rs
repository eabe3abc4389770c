//! Schedules over a real database: across restarts, failures, and clocks that are set.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use picloud_host::event::{Cause, EventFailure, EventOp, Lane, StoredEvent};
use picloud_host::kv_conformance::{Faulty, SetClock};
use picloud_host::ports::{Clock as _, Kv as _, Transaction};
use picloud_host::sequencer::{KvBackend as _, Sequencer, SequencerOptions};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{RunNowError, Scheduler};
use crate::store::Precondition;
use crate::store::kv::KvTable;
use crate::store::testing::{TestStore, name};
use crate::store::trigger::{NewTrigger, Trigger};

/// 2026-01-01T00:00:00Z, in milliseconds since the Unix epoch.
const START: u64 = 1_767_225_600_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// A server with nothing but schedules, all for the script `s`.
struct Server {
    test: TestStore,
    backend: Arc<Faulty<KvTable>>,
    kv: Arc<Sequencer<Arc<Faulty<KvTable>>>>,
    clock: Arc<SetClock>,
    scheduler: Arc<Scheduler>,
}

impl Server {
    async fn new() -> Self {
        Self::start(TestStore::new().await, START).await
    }

    async fn start(test: TestStore, now_ms: u64) -> Self {
        let clock = Arc::new(SetClock::default());
        clock.set(now_ms);
        let newest = test.table().newest().await.unwrap();
        let backend = Faulty::over(test.table());
        let options = SequencerOptions { clock: clock.clone(), ..SequencerOptions::default() };
        let kv = Arc::new(Sequencer::start(backend.clone(), newest, options));
        let scheduler = Arc::new(Scheduler::new(test.store.clone(), kv.clone(), clock.clone()));
        Self { test, backend, kv, clock, scheduler }
    }

    /// Another process on the same file, at another time.
    async fn restart(self, now_ms: u64) -> Self {
        self.kv.close().await;
        Self::start(self.test.reopen().await, now_ms).await
    }

    /// Store a schedule as the API does it. What is said in `config` adds to every hour on the hour.
    async fn put(&self, schedule: &str, config: Value) -> Trigger {
        let mut all = json!({"kind": "schedule", "cron": "@hourly"});
        all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let mut new = NewTrigger::new(name("s"), serde_json::from_value(all).unwrap());
        new.next_ms = Scheduler::next_of(&new.config, self.now_ms()).unwrap();
        self.put_as(schedule, &new).await
    }

    async fn put_as(&self, schedule: &str, new: &NewTrigger) -> Trigger {
        let (name, always) = (name(schedule), Precondition::default());
        self.test.store.put_trigger(self.test.app, &name, new, &always).await.unwrap().1
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Look at the schedules at a time.
    async fn look_at(&self, now_ms: u64) -> Option<u64> {
        self.clock.set(now_ms);
        self.scheduler.look().await.unwrap()
    }

    /// The events that wait.
    async fn waiting(&self) -> Vec<StoredEvent> {
        let lane = Lane::Script("s".into());
        self.backend.inner.events().waiting(self.test.app, &lane, 1000).await.unwrap()
    }

    /// The times of the events that wait, in minutes from the start; then they are gone.
    async fn take(&self) -> Vec<u64> {
        let waiting = self.waiting().await;
        self.commit(waiting.iter().map(|stored| EventOp::Remove { id: stored.event.id }).collect()).await;
        let mut times: Vec<u64> =
            waiting.iter().map(|stored| (stored.event.call.time_ms - START) / MINUTE).collect();
        times.sort_unstable();
        times
    }

    async fn commit(&self, events: Vec<EventOp>) {
        let transaction = Transaction::new(self.test.app, self.kv.begin(), Cause::outside());
        self.kv.commit(Transaction { events, ..transaction }).await.unwrap();
    }

    /// When a schedule is due next, in minutes from the start.
    async fn next(&self, schedule: &str) -> Option<u64> {
        let found = self.test.store.trigger(self.test.app, &name(schedule)).await.unwrap().unwrap();
        found.next_ms.map(|at| (at - START) / MINUTE)
    }

    /// Wait until so many events wait.
    async fn until_waiting(&self, count: usize) {
        let enough = async {
            while self.waiting().await.len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), enough).await.unwrap();
    }
}

#[tokio::test]
async fn a_time_becomes_one_event() {
    let server = Server::new().await;
    let schedule = server.put("report", json!({"data": {"to": "me"}})).await;
    assert_eq!(server.look_at(START + HOUR - 1).await, Some(START + HOUR));
    assert_eq!(server.waiting().await.len(), 0);
    assert_eq!(server.look_at(START + HOUR + 5).await, Some(START + 2 * HOUR));
    let [stored] = &server.waiting().await[..] else { panic!("not one event") };
    let (event, call) = (&stored.event, &stored.event.call);
    assert_eq!(call.id, event.id.to_string());
    assert_eq!((event.trigger, event.due_ms), (Some(schedule.id), START + HOUR));
    assert_eq!((event.max_attempts, event.cause.depth, event.cause.parent), (5, 0, None));
    assert_eq!((call.source.as_str(), call.kind.as_str()), ("/default/schedules/report", "picloud.schedule"));
    assert_eq!((call.subject.as_deref(), call.time_ms), (Some("report"), START + HOUR));
    let data: Value = serde_json::from_str(&call.data).unwrap();
    assert_eq!(data, json!({"scheduled_at": "2026-01-01T01:00:00.000Z", "data": {"to": "me"}}));
    assert_eq!(server.look_at(START + HOUR + 5).await, Some(START + 2 * HOUR));
    assert_eq!(server.take().await, [60]);
}

#[tokio::test]
async fn what_was_due_while_no_server_ran_is_made_up_for_once() {
    for (missed, expected) in [("skip", vec![]), ("one", vec![240]), ("all", vec![60, 120, 180, 240])] {
        let server = Server::new().await;
        server.put("t", json!({"missed": missed})).await;
        server.look_at(START + 30 * MINUTE).await;
        let server = server.restart(START + 4 * HOUR + 30 * MINUTE).await;
        assert_eq!(server.look_at(server.now_ms()).await, Some(START + 5 * HOUR));
        let server = server.restart(START + 4 * HOUR + 31 * MINUTE).await;
        server.look_at(server.now_ms()).await;
        assert_eq!(server.take().await, expected, "{missed}");
        let server = server.restart(START + 5 * HOUR).await;
        server.look_at(server.now_ms()).await;
        assert_eq!(server.take().await, [300], "{missed}: this one is in time");
    }
}

#[tokio::test]
async fn each_event_of_many_is_the_root_of_its_own_chain() {
    let server = Server::new().await;
    server.put("t", json!({"missed": "all"})).await;
    server.look_at(START + 3 * HOUR).await;
    let waiting = server.waiting().await;
    let roots: HashSet<Uuid> = waiting.iter().map(|stored| stored.event.cause.root).collect();
    assert_eq!(roots.len(), 3);
}

#[tokio::test]
async fn a_write_that_fails_loses_nothing_and_doubles_nothing() {
    let server = Server::new().await;
    server.put("t", json!({})).await;
    server.backend.fail(true);
    server.clock.set(START + HOUR);
    for _ in 0..3 {
        assert!(server.scheduler.look().await.is_err());
        assert_eq!((server.waiting().await.len(), server.next("t").await), (0, Some(60)));
    }
    let server = server.restart(START + HOUR + 1).await;
    server.look_at(server.now_ms()).await;
    assert_eq!((server.take().await, server.next("t").await), (vec![60], Some(120)));
}

#[tokio::test]
async fn a_clock_that_is_set_neither_doubles_nor_loses() {
    let server = Server::new().await;
    server.put("t", json!({"missed": "all"})).await;
    server.look_at(START + HOUR).await;
    assert_eq!(server.look_at(START).await, Some(START + 2 * HOUR), "what has been stays so");
    server.look_at(START + HOUR).await;
    assert_eq!(server.take().await, [60]);
    server.look_at(START + 48 * HOUR).await;
    server.look_at(START + 48 * HOUR).await;
    assert_eq!(server.take().await, (2..=48).map(|hour| hour * 60).collect::<Vec<_>>());
    server.look_at(START + HOUR).await;
    server.look_at(START + 49 * HOUR).await;
    assert_eq!(server.take().await, [49 * 60]);
}

#[tokio::test]
async fn of_more_than_can_be_made_up_for_the_newest_are() {
    let server = Server::new().await;
    server.put("t", json!({"cron": "* * * * *", "missed": "all"})).await;
    server.look_at(START + 1000 * MINUTE).await;
    assert_eq!(server.take().await, (901..=1000).collect::<Vec<_>>());
    assert_eq!(server.next("t").await, Some(1001));
}

#[tokio::test]
async fn while_its_event_waits_or_runs_a_schedule_skips_or_queues() {
    for (overlap, expected) in [("skip", vec![60]), ("queue", vec![60, 120])] {
        let server = Server::new().await;
        server.put("t", json!({"overlap": overlap})).await;
        server.look_at(START + HOUR).await;
        server.look_at(START + 2 * HOUR).await;
        assert_eq!((server.take().await, server.next("t").await), (expected, Some(180)), "{overlap}");
    }
    let server = Server::new().await;
    server.put("t", json!({"overlap": "skip"})).await;
    server.put("other", json!({"overlap": "skip", "cron": "30 * * * *"})).await;
    server.look_at(START + HOUR).await;
    let waiting = server.waiting().await;
    let ours = waiting.iter().find(|stored| stored.event.call.subject.as_deref() == Some("t")).unwrap();
    let id = ours.event.id;
    server.commit(vec![EventOp::Claim { id, attempt: 1, lease_ms: u64::MAX / 2 }]).await;
    server.take().await;
    server.look_at(START + 2 * HOUR).await;
    assert_eq!(server.take().await, [90], "it runs; the other one has its own");
    let failure = EventFailure { code: "script-error".into(), message: "no".into(), execution: None };
    server.commit(vec![EventOp::Bury { id, failure }]).await;
    server.look_at(START + 3 * HOUR).await;
    assert_eq!(server.take().await, [150, 180], "one that is dead runs no more");
}

#[tokio::test]
async fn jitter_puts_off_each_event() {
    let server = Server::new().await;
    server.put("t", json!({"missed": "all", "jitter_ms": 5000})).await;
    server.look_at(START + 60 * HOUR).await;
    let late: Vec<u64> =
        server.waiting().await.iter().map(|stored| stored.event.due_ms - stored.event.call.time_ms).collect();
    assert_eq!(late.len(), 60);
    assert!(late.iter().all(|late| *late <= 5000));
    assert!(late.iter().any(|at| *at != late[0]));
}

#[tokio::test]
async fn a_schedule_that_is_changed_at_the_last_moment_keeps_its_new_time() {
    let server = Server::new().await;
    server.put("t", json!({})).await;
    server.clock.set(START + HOUR);
    let read = server.test.store.due_schedules(server.now_ms(), 9).await.unwrap();
    server.put("t", json!({"cron": "45 * * * *"})).await;
    server.scheduler.advance(&read[0], server.now_ms()).await.unwrap();
    assert_eq!((server.take().await, server.next("t").await), (vec![60], Some(105)));
    server.look_at(START + 2 * HOUR).await;
    assert_eq!((server.take().await, server.next("t").await), (vec![105], Some(165)));
}

#[tokio::test]
async fn a_schedule_that_is_not_understood_runs_no_more_and_stops_no_other() {
    let server = Server::new().await;
    server.put("good", json!({})).await;
    for (schedule, config) in
        [("cron", json!({"cron": "soon"})), ("zone", json!({"timezone": "Mars/Olympus"}))]
    {
        let mut all = json!({"kind": "schedule", "cron": "@hourly"});
        all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let new = NewTrigger::new(name("s"), serde_json::from_value(all).unwrap());
        server.put_as(schedule, &NewTrigger { next_ms: Some(START + HOUR), ..new }).await;
    }
    assert_eq!(server.look_at(START + HOUR).await, Some(START + 2 * HOUR));
    assert_eq!(server.take().await, [60]);
    assert_eq!((server.next("cron").await, server.next("zone").await), (None, None));
}

#[tokio::test]
async fn many_schedules_at_the_same_time_all_run() {
    let server = Server::new().await;
    for number in 0..150 {
        server.put(&format!("t{number}"), json!({})).await;
    }
    assert_eq!(server.look_at(START + HOUR).await, Some(START + 2 * HOUR));
    assert_eq!(server.take().await, vec![60; 150]);
}

#[tokio::test]
async fn a_schedule_can_be_run_at_once() {
    let server = Server::new().await;
    server.put("t", json!({"data": 5, "jitter_ms": 5000})).await;
    server.clock.set(START + 7 * MINUTE);
    let app = server.test.app;
    server.scheduler.run_now(app, &name("t")).await.unwrap();
    let [stored] = &server.waiting().await[..] else { panic!("not one event") };
    assert_eq!(stored.event.due_ms, START + 7 * MINUTE);
    assert_eq!(&*stored.event.call.data, r#"{"data":5,"scheduled_at":"2026-01-01T00:07:00.000Z"}"#);
    assert_eq!((server.take().await, server.next("t").await), (vec![7], Some(60)));
    let gone = server.scheduler.run_now(app, &name("gone")).await;
    assert!(matches!(gone, Err(RunNowError::NoTrigger)));
    let topic = serde_json::from_value(json!({"kind": "topic", "topic": "a"})).unwrap();
    server.put_as("topic", &NewTrigger::new(name("s"), topic)).await;
    let topic = server.scheduler.run_now(app, &name("topic")).await;
    assert!(matches!(topic, Err(RunNowError::NoSchedule)));
    assert!(server.waiting().await.is_empty());
}

#[tokio::test]
async fn it_wakes_up_for_changes_and_for_the_clock_and_stops() {
    let server = Server::new().await;
    let (scheduler, stop) = (server.scheduler.clone(), CancellationToken::new());
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { scheduler.run(stop).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.put("t", json!({})).await;
    server.scheduler.changed();
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.clock.set(START + HOUR);
    server.until_waiting(1).await;
    // It is asleep again when the storage fails at the next time, and looks again by itself.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(server.take().await, [60]);
    server.backend.fail(true);
    server.clock.set(START + 2 * HOUR);
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.backend.fail(false);
    server.until_waiting(1).await;
    assert_eq!(server.take().await, [120]);
    stop.cancel();
    running.await.unwrap();
}

#[test]
fn what_is_to_come_can_be_told_before_anything_is_stored() {
    let config = |cron: &str| serde_json::from_value(json!({"kind": "schedule", "cron": cron})).unwrap();
    let next: Vec<u64> = (1..=5).map(|hour| START + hour * HOUR).collect();
    assert_eq!(Scheduler::preview(&config("@hourly"), 5, START).unwrap(), next);
    assert_eq!(Scheduler::next_of(&config("@hourly"), START).unwrap(), Some(START + HOUR));
    assert!(Scheduler::next_of(&config("0 0 30 2 *"), START).is_err());
    let topic = serde_json::from_value(json!({"kind": "topic", "topic": "a"})).unwrap();
    assert_eq!(Scheduler::next_of(&topic, START).unwrap(), None);
}
