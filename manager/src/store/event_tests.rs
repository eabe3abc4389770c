//! What commits do to events in SQLite, and how they are read back.

use std::time::Instant;

use picloud_host::call::AppId;
use picloud_host::event::{Cause, EventFailure, EventKind, EventOp, EventState, Lane, NewEvent, TriggerId};
use picloud_host::kv_conformance::Dice;
use picloud_host::ports::Events as _;
use picloud_host::sequencer::{Group, KvBackend as _, SequencerOptions};
use uuid::Uuid;

use crate::store::testing::{TestStore, bury, claim, event, insert};
use crate::store::{event as store_event, kv};

fn keyed(lane: &str, key: &str) -> NewEvent {
    NewEvent { dedupe_key: Some(key.into()), ..event(lane) }
}

fn retry(event: &NewEvent, failure: Option<EventFailure>) -> EventOp {
    EventOp::Retry { id: event.id, lane: event.lane.clone(), due_ms: 70, attempt: 2, failure }
}

fn replay(event: &NewEvent) -> EventOp {
    EventOp::Replay { id: event.id, lane: event.lane.clone(), due_ms: 80 }
}

fn failure() -> EventFailure {
    EventFailure { code: "fuel-exhausted".into(), message: "é".into(), execution: Some(Uuid::now_v7()) }
}

impl TestStore {
    async fn state(&self, event: &NewEvent) -> Option<(EventState, u64, u32)> {
        let stored = self.table().event(event.app, event.id).await.unwrap();
        stored.map(|stored| (stored.state, stored.event.due_ms, stored.attempt))
    }

    /// Everything that is stored, in order.
    async fn dump(&self) -> Vec<String> {
        let all = self.store.events(self.app, &Default::default(), None, 10_000).await.unwrap().events;
        let text = |stored: &_| format!("{stored:?}");
        all.iter().rev().map(text).collect()
    }
}

#[tokio::test]
async fn an_event_comes_back_as_it_was_stored() {
    let test = TestStore::new().await;
    let plain = event("script/s");
    let mut full = keyed("queue/q", "k");
    full.trigger = Some(TriggerId(7));
    full.call.subject = Some("\0 é".into());
    full.call.data = r#"{"a": 1.50}"#.into();
    full.call.trigger = EventKind::Webhook;
    full.cause = Cause { root: Uuid::now_v7(), parent: Some(Uuid::now_v7()), depth: 3 };
    test.apply(vec![insert(&full), insert(&plain)]).await;
    for (event, seq) in [(&full, 1), (&plain, 2)] {
        let stored = test.table().event(test.app, event.id).await.unwrap().unwrap();
        assert_eq!(stored.event, *event);
        assert_eq!((stored.seq, stored.attempt, stored.state), (seq, 0, EventState::Waiting));
        assert_eq!(stored.failure, None);
    }
    assert!(test.table().event(AppId(2), full.id).await.unwrap().is_none(), "it is another app's");
}

#[tokio::test]
async fn an_event_goes_through_its_states() {
    let test = TestStore::new().await;
    let event = event("queue/q");
    test.apply(vec![insert(&event)]).await;
    assert_eq!(test.state(&event).await, Some((EventState::Waiting, 10, 0)));
    test.apply(vec![claim(&event)]).await;
    assert_eq!(test.state(&event).await, Some((EventState::Running, 99, 1)));
    let why = failure();
    test.apply(vec![retry(&event, Some(why.clone()))]).await;
    assert_eq!(test.state(&event).await, Some((EventState::Waiting, 70, 2)));
    test.apply(vec![retry(&event, None)]).await;
    let stored = test.table().event(test.app, event.id).await.unwrap().unwrap();
    assert_eq!(stored.failure, Some(why), "without a reason the last one stays");
    test.clock.advance(3);
    test.apply(vec![bury(&event)]).await;
    assert_eq!(test.state(&event).await, Some((EventState::Dead, 1_700_000_000_003, 2)));
    let stored = test.table().event(test.app, event.id).await.unwrap().unwrap();
    assert_eq!(stored.failure.unwrap().execution, None, "that of another attempt is not told");
    test.apply(vec![replay(&event)]).await;
    assert_eq!(test.state(&event).await, Some((EventState::Waiting, 80, 0)));
    let stored = test.table().event(test.app, event.id).await.unwrap().unwrap();
    assert_eq!(stored.failure, None);
    test.apply(vec![EventOp::Complete { id: event.id }]).await;
    assert_eq!(test.state(&event).await, None);
    test.apply(vec![insert(&event), EventOp::Remove { id: event.id }]).await;
    assert_eq!(test.state(&event).await, None);
}

#[tokio::test]
async fn what_is_not_there_is_not_changed() {
    let test = TestStore::new().await;
    let (there, gone) = (event("queue/q"), event("queue/q"));
    test.apply(vec![insert(&there)]).await;
    let before = test.dump().await;
    let ends = [EventOp::Complete { id: gone.id }, EventOp::Remove { id: gone.id }];
    test.apply(
        [claim(&gone), retry(&gone, None), bury(&gone), replay(&gone)].into_iter().chain(ends).collect(),
    )
    .await;
    test.apply(vec![EventOp::Advance { trigger: TriggerId(9), from_ms: 0, next_ms: Some(1) }]).await;
    assert_eq!(test.dump().await, before);
}

#[tokio::test]
async fn while_an_event_with_the_key_waits_or_runs_another_is_not_stored() {
    let test = TestStore::new().await;
    let [first, second, third, elsewhere] =
        ["queue/q", "queue/q", "queue/q", "queue/other"].map(|lane| keyed(lane, "k"));
    test.apply(vec![insert(&first), insert(&second), insert(&elsewhere)]).await;
    assert_eq!(test.state(&second).await, None);
    assert!(test.state(&elsewhere).await.is_some());
    test.apply(vec![claim(&first)]).await;
    test.apply(vec![insert(&second)]).await;
    assert_eq!(test.state(&second).await, None);
    // In one group, the event that comes before the end of the first one is too early, the one after it is not.
    test.apply(vec![insert(&second), EventOp::Complete { id: first.id }, insert(&third)]).await;
    assert_eq!(test.state(&second).await, None);
    assert!(test.state(&third).await.is_some());
    test.apply(vec![bury(&third), insert(&second)]).await;
    assert!(test.state(&second).await.is_some(), "a dead one does not hinder");
}

#[tokio::test]
async fn a_replayed_event_gives_up_a_key_that_another_has() {
    let test = TestStore::new().await;
    let (old, new) = (keyed("queue/q", "k"), keyed("queue/q", "k"));
    let key = async |event: &NewEvent| {
        test.table().event(test.app, event.id).await.unwrap().unwrap().event.dedupe_key
    };
    test.apply(vec![insert(&old), bury(&old), replay(&old)]).await;
    assert_eq!(key(&old).await.as_deref(), Some("k"));
    test.apply(vec![bury(&old), insert(&new), replay(&old)]).await;
    assert_eq!(key(&old).await, None);
    assert_eq!(key(&new).await.as_deref(), Some("k"));
    assert_eq!(test.state(&old).await, Some((EventState::Waiting, 80, 0)));
}

#[tokio::test]
async fn a_group_does_what_its_operations_do_one_by_one() {
    let (together, apart) = (TestStore::new().await, TestStore::new().await);
    let mut dice = Dice(7);
    let mut events: Vec<NewEvent> = Vec::new();
    for _ in 0..20 {
        let mut ops = Vec::new();
        for _ in 0..dice.roll(300) {
            if events.is_empty() || dice.roll(3) == 0 {
                let lane = dice.pick(&["queue/a", "queue/b", "script/s"]);
                let mut event = event(lane);
                event.dedupe_key = (dice.roll(2) == 0).then(|| dice.roll(9).to_string().into());
                events.push(event.clone());
                ops.push(insert(&event));
                continue;
            }
            // The new ones are the ones to which something happens.
            let from = events.len().saturating_sub(40);
            let event = dice.pick(&events[from..]).clone();
            ops.push(match dice.roll(8) {
                0 | 1 => claim(&event),
                2 | 3 => EventOp::Complete { id: event.id },
                4 => EventOp::Remove { id: event.id },
                5 => retry(&event, (dice.roll(2) == 0).then(failure)),
                6 => bury(&event),
                _ => replay(&event),
            });
        }
        together.apply(ops.clone()).await;
        for op in ops {
            apart.apply(vec![op]).await;
        }
    }
    let (together, apart) = (together.dump().await, apart.dump().await);
    assert!(together.len() > 100, "{}", together.len());
    assert_eq!(together, apart);
}

#[tokio::test]
async fn a_group_that_is_refused_leaves_no_events() {
    let test = TestStore::new().await;
    let (good, bad) = (event("queue/q"), NewEvent { app: AppId(99), ..event("queue/q") });
    let group = Group { events: vec![insert(&good), insert(&bad)], ..Group::default() };
    assert!(test.table().apply(&group).await.is_err());
    assert_eq!(test.state(&good).await, None);
}

#[tokio::test]
async fn what_was_running_when_the_process_ended_waits_again() {
    let test = TestStore::new().await;
    let [running, waiting, dead] = ["queue/q", "queue/q", "script/s"].map(event);
    test.apply([&running, &waiting, &dead].map(insert).into()).await;
    test.apply(vec![claim(&running), bury(&dead)]).await;
    let test = test.reopen().await;
    let options = SequencerOptions { clock: test.clock.clone(), ..SequencerOptions::default() };
    let kv = kv::open(test.database.clone(), options).await.unwrap();
    assert_eq!(test.state(&running).await, Some((EventState::Waiting, 1_700_000_000_000, 1)));
    assert_eq!(test.state(&waiting).await, Some((EventState::Waiting, 10, 0)));
    assert!(matches!(test.state(&dead).await, Some((EventState::Dead, _, _))));
    let lanes: Vec<_> = kv.lanes().await.unwrap().into_iter().map(|lane| (lane.lane, lane.due_ms)).collect();
    assert_eq!(lanes, [(Lane::Queue("q".into()), 10)]);
}

#[tokio::test]
async fn events_wait_in_the_order_in_which_they_are_due() {
    let test = TestStore::new().await;
    let table = test.table();
    let (queue, script) = (Lane::Queue("q".into()), Lane::Script("s".into()));
    let events: Vec<NewEvent> = [(30, &queue), (20, &queue), (25, &script), (20, &queue), (10, &script)]
        .map(|(due_ms, lane)| NewEvent { due_ms, ..event(&lane.to_text()) })
        .into();
    let running = event("queue/q");
    test.apply(events.iter().chain([&running]).map(insert).collect()).await;
    test.apply(vec![claim(&running)]).await;
    let lanes: Vec<_> =
        table.lanes().await.unwrap().into_iter().map(|lane| (lane.lane, lane.due_ms)).collect();
    assert_eq!(lanes, [(queue.clone(), 20), (script.clone(), 10)]);
    let seqs = |stored: Vec<picloud_host::event::StoredEvent>| {
        stored.into_iter().map(|stored| stored.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(table.waiting(test.app, &queue, 9).await.unwrap()), [2, 4, 1]);
    assert_eq!(seqs(table.waiting(test.app, &queue, 2).await.unwrap()), [2, 4]);
    assert_eq!(seqs(table.waiting(AppId(2), &queue, 9).await.unwrap()), [0; 0]);
    assert_eq!(seqs(table.waiting_for(test.app, "s", 4).await.unwrap()), [5, 2, 4, 3]);
    assert_eq!(seqs(table.waiting_for(test.app, "other", 4).await.unwrap()), [0; 0]);
}

#[tokio::test]
async fn a_damaged_event_does_not_take_the_others_along() {
    let test = TestStore::new().await;
    let [bad, good, lost] = ["queue/q", "queue/q", "queue/lost"].map(event);
    test.apply([&bad, &good, &lost].map(insert).into()).await;
    sqlx::query("update event set kind = 'unheard' where seq = 1")
        .execute(&test.database.write)
        .await
        .unwrap();
    sqlx::query("update event set lane = 'lost' where seq = 3").execute(&test.database.write).await.unwrap();
    let queue = Lane::Queue("q".into());
    let waiting = test.table().waiting(test.app, &queue, 9).await.unwrap();
    assert_eq!(waiting.iter().map(|stored| stored.event.id).collect::<Vec<_>>(), [good.id]);
    assert_eq!(test.table().lanes().await.unwrap().len(), 1);
    assert!(test.table().event(test.app, bad.id).await.is_err());
}

#[tokio::test]
async fn every_event_is_found_by_an_index() {
    let test = TestStore::new().await;
    for (statement, index) in store_event::statements() {
        let plan = test.plan_of(statement).await;
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
        let slow =
            |step: &String| step.contains("TEMP B-TREE") || step == "SCAN event" || step == "SCAN other";
        assert!(!plan.iter().any(slow), "{plan:#?}");
    }
}

/// How fast it is: `cargo test --release -p picloud-manager -- --ignored --nocapture events_a_second`.
#[tokio::test]
#[ignore = "a measurement"]
async fn events_a_second() {
    const GROUPS: usize = 200;
    for size in [1, 4, 64, 256] {
        let test = TestStore::new().await;
        let mut events: Vec<NewEvent> = (0..size).map(|_| event("queue/q")).collect();
        test.apply(events.iter().map(insert).collect()).await;
        let begin = Instant::now();
        for _ in 0..GROUPS {
            test.apply(events.iter().map(claim).collect()).await;
            // Each event is done and makes another one.
            let next: Vec<NewEvent> = (0..size).map(|_| event("queue/q")).collect();
            let ends = events.iter().map(|event| EventOp::Complete { id: event.id });
            test.apply(ends.zip(next.iter().map(insert)).flat_map(<[EventOp; 2]>::from).collect()).await;
            events = next;
        }
        let rate = (GROUPS * size) as f64 / begin.elapsed().as_secs_f64();
        println!("{size:3} events in a group: {rate:6.0} claimed, ended and made a second");
    }
}
