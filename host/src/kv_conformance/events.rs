//! Events: claims, what may be done to an event, and the events of changes.

use std::pin::pin;
use std::sync::Arc;

use uuid::Uuid;

use super::{APP, Faulty, is_store_error, json, poll_once, start};
use crate::active::{Active, ActiveSet};
use crate::call::EventCall;
use crate::dispatcher::Lanes;
use crate::event::StoredEvent;
use crate::event::{Cause, EventFailure, EventKind, EventOp, EventState, Lane, NewEvent, TriggerId};
use crate::ports::{CommitError, Events, Kv, Snapshot, Transaction};
use crate::sequencer::{KvBackend, Sequencer, SequencerOptions};
use crate::trigger::{AppTriggers, KvChanges, KvTrigger, Target};

fn lane() -> Lane {
    Lane::Queue("jobs".into())
}

pub(super) fn event(data: &str) -> NewEvent {
    NewEvent {
        id: Uuid::now_v7(),
        app: APP,
        trigger: None,
        script: "work".into(),
        lane: lane(),
        call: EventCall {
            id: "1".to_owned(),
            source: "/test".to_owned(),
            kind: "test".to_owned(),
            subject: None,
            time_ms: 1,
            data: data.into(),
            trigger: EventKind::Queue,
        },
        due_ms: 1,
        max_attempts: 5,
        dedupe_key: None,
        cause: Cause::outside(),
    }
}

async fn commit<K: Kv>(kv: &K, snapshot: Snapshot, ops: Vec<EventOp>) -> Result<u64, CommitError> {
    let mut transaction = Transaction::new(APP, snapshot, Cause::outside());
    transaction.events = ops;
    kv.commit(transaction).await
}

async fn insert<K: Kv>(kv: &K, event: NewEvent) -> Uuid {
    let id = event.id;
    commit(kv, kv.begin(), vec![EventOp::Insert(Box::new(event))]).await.unwrap();
    id
}

pub(super) fn claim(id: Uuid, attempt: u32) -> EventOp {
    EventOp::Claim { id, attempt, lease_ms: 1000 }
}

fn retry(id: Uuid) -> EventOp {
    EventOp::Retry { id, lane: lane(), due_ms: 7, attempt: 1, failure: None }
}

pub(super) fn bury(id: Uuid) -> EventOp {
    let failure = EventFailure { code: "script-threw".to_owned(), message: "no".to_owned(), execution: None };
    EventOp::Bury { id, failure }
}

async fn stored<E: Events>(events: &E, id: Uuid) -> Option<StoredEvent> {
    events.event(APP, id).await.unwrap()
}

fn is_conflict(result: &Result<u64, CommitError>) -> bool {
    matches!(result, Err(CommitError::Conflict))
}

fn is_gone(result: &Result<u64, CommitError>) -> bool {
    matches!(result, Err(CommitError::EventGone))
}

pub async fn an_event_is_claimed_once<B: KvBackend>(backend: B) {
    let kv = start(backend);
    let (one, other) = (insert(&*kv, event("1")).await, insert(&*kv, event("2")).await);
    let snapshot = kv.begin();
    commit(&*kv, snapshot, vec![claim(one, 1)]).await.unwrap();
    // All or nothing: the other one is not claimed along with one that is taken.
    assert!(is_conflict(&commit(&*kv, snapshot, vec![claim(other, 1), claim(one, 1)]).await));
    let states = [stored(&*kv, one).await, stored(&*kv, other).await].map(|event| event.unwrap().state);
    assert_eq!(states, [EventState::Running, EventState::Waiting]);
    commit(&*kv, snapshot, vec![claim(other, 1)]).await.unwrap();
    assert!(kv.waiting(APP, &lane(), 10).await.unwrap().is_empty());
}

pub async fn only_a_claim_can_be_ended<B: KvBackend>(backend: B) {
    let kv = start(backend);
    for end in [|id| EventOp::Complete { id }, retry, bury] {
        let id = insert(&*kv, event("1")).await;
        assert!(is_gone(&commit(&*kv, kv.begin(), vec![end(id)]).await), "it is not claimed");
        commit(&*kv, kv.begin(), vec![claim(id, 1)]).await.unwrap();
        // However old the snapshot is: the claim is what counts. And what is written goes with it.
        let mut transaction = Transaction::new(APP, Snapshot(0), Cause::outside());
        transaction.events = vec![end(id)];
        transaction.writes = vec![("done".into(), Some(json("1")))];
        kv.commit(transaction.clone()).await.unwrap();
        assert!(is_gone(&kv.commit(transaction).await), "it has ended");
    }
    let left = kv.waiting(APP, &lane(), 10).await.unwrap();
    assert_eq!((left.len(), left[0].attempt, left[0].event.due_ms), (1, 1, 7), "the one that is tried again");
}

pub async fn a_removed_event_is_not_claimed<B: KvBackend>(backend: B) {
    let kv = start(backend);
    let id = insert(&*kv, event("1")).await;
    let looked = kv.begin();
    commit(&*kv, kv.begin(), vec![EventOp::Remove { id }]).await.unwrap();
    assert!(is_conflict(&commit(&*kv, looked, vec![claim(id, 1)]).await));
    assert!(stored(&*kv, id).await.is_none());
}

pub async fn a_claimed_event_is_not_removed<B: KvBackend>(backend: B) {
    let kv = start(backend);
    let id = insert(&*kv, event("1")).await;
    let looked = kv.begin();
    commit(&*kv, kv.begin(), vec![claim(id, 1)]).await.unwrap();
    assert!(is_conflict(&commit(&*kv, looked, vec![EventOp::Remove { id }]).await));
    commit(&*kv, kv.begin(), vec![EventOp::Complete { id }]).await.unwrap();
    // Also when it has ended meanwhile.
    assert!(is_conflict(&commit(&*kv, looked, vec![EventOp::Remove { id }]).await));
}

pub async fn what_is_not_durable_yet_counts<B: KvBackend>(backend: B) {
    let faulty = Faulty::over(backend);
    let kv = start(Arc::clone(&faulty));
    let (removed, claimed) = (insert(&*kv, event("1")).await, insert(&*kv, event("2")).await);
    commit(&*kv, kv.begin(), vec![claim(claimed, 1)]).await.unwrap();

    let writing = faulty.gate.lock().await;
    let mut remove = pin!(commit(&*kv, kv.begin(), vec![EventOp::Remove { id: removed }]));
    let mut again = pin!(commit(&*kv, kv.begin(), vec![retry(claimed)]));
    assert!(poll_once(&mut remove).await.is_pending() && poll_once(&mut again).await.is_pending());
    // The disk still shows the one as waiting. Whoever looks there must not get it.
    let looked = kv.begin_stored();
    assert_eq!(kv.waiting(APP, &lane(), 10).await.unwrap().len(), 1);
    assert!(is_conflict(&commit(&*kv, looked, vec![claim(removed, 1)]).await));
    // And nobody takes an event whose claim is about to end, whatever was seen of it.
    assert!(is_conflict(&commit(&*kv, kv.begin(), vec![claim(claimed, 2)]).await));
    drop(writing);
    remove.await.unwrap();
    again.await.unwrap();
    commit(&*kv, kv.begin_stored(), vec![claim(claimed, 2)]).await.unwrap();
    commit(&*kv, kv.begin(), vec![EventOp::Complete { id: claimed }]).await.unwrap();
}

pub async fn a_failed_group_gives_claims_back<B: KvBackend>(backend: B) {
    let faulty = Faulty::over(backend);
    let kv = start(Arc::clone(&faulty));
    let id = insert(&*kv, event("1")).await;
    faulty.fail(true);
    assert!(is_store_error(&commit(&*kv, kv.begin(), vec![claim(id, 1)]).await));
    faulty.fail(false);
    assert!(is_gone(&commit(&*kv, kv.begin(), vec![EventOp::Complete { id }]).await), "it was never claimed");
    commit(&*kv, kv.begin(), vec![claim(id, 1)]).await.unwrap();
    faulty.fail(true);
    assert!(is_store_error(&commit(&*kv, kv.begin(), vec![EventOp::Complete { id }]).await));
    faulty.fail(false);
    assert_eq!(stored(&*kv, id).await.unwrap().state, EventState::Running);
    commit(&*kv, kv.begin(), vec![retry(id)]).await.unwrap();
    assert_eq!(stored(&*kv, id).await.unwrap().state, EventState::Waiting);
}

pub async fn an_event_is_told_when_it_is_durable<B: KvBackend>(backend: B) {
    let lanes = Arc::new(Lanes::default());
    let options = SequencerOptions { lanes: Arc::clone(&lanes), ..SequencerOptions::default() };
    let faulty = Faulty::over(backend);
    let kv = Sequencer::start(Arc::clone(&faulty), 0, options);
    faulty.fail(true);
    let lost = commit(&kv, kv.begin(), vec![EventOp::Insert(Box::new(event("1")))]).await;
    assert!(is_store_error(&lost));
    assert!(lanes.take().is_empty(), "what is lost is not told");
    faulty.fail(false);
    insert(&kv, event("2")).await;
    insert(&kv, NewEvent { due_ms: 0, ..event("3") }).await;
    let told = lanes.take();
    assert_eq!((told.len(), &told[0].lane, told[0].due_ms), (1, &lane(), 0));
    assert_eq!(kv.lanes().await.unwrap(), told);
}

pub async fn a_dedupe_key_is_taken_until_its_event_is_done<B: KvBackend>(backend: B) {
    let kv = start(backend);
    let keyed = |data| NewEvent { dedupe_key: Some("k".into()), ..event(data) };
    let first = insert(&*kv, keyed("1")).await;
    let second = insert(&*kv, keyed("2")).await;
    assert!(stored(&*kv, second).await.is_none());
    insert(&*kv, NewEvent { lane: Lane::Queue("other".into()), ..keyed("3") }).await;
    commit(&*kv, kv.begin(), vec![claim(first, 1)]).await.unwrap();
    let third = insert(&*kv, keyed("4")).await;
    assert!(stored(&*kv, third).await.is_none(), "one that runs has it still");
    let next = keyed("5");
    let ops = vec![EventOp::Complete { id: first }, EventOp::Insert(Box::new(next.clone()))];
    commit(&*kv, kv.begin(), ops).await.unwrap();
    assert!(stored(&*kv, next.id).await.is_some(), "the end of the one gives it to the next");
    commit(&*kv, kv.begin(), vec![claim(next.id, 1)]).await.unwrap();
    commit(&*kv, kv.begin(), vec![bury(next.id)]).await.unwrap();
    let last = insert(&*kv, keyed("6")).await;
    assert!(stored(&*kv, last).await.is_some(), "a dead one does not need it");
}

pub async fn changes_of_keys_make_events_in_the_same_commit<B: KvBackend>(backend: B) {
    let active = Arc::new(Active::default());
    let target = Target { id: TriggerId(1), app: "app".into(), script: "work".into(), attempts: 5 };
    let on = KvChanges { set: true, delete: true, expire: true };
    let triggers =
        AppTriggers { kv: vec![KvTrigger { target, prefix: "w/".into(), on }], ..AppTriggers::default() };
    active.publish(ActiveSet { triggers: [(APP, triggers)].into(), ..ActiveSet::default() });
    let options = SequencerOptions { active, ..SequencerOptions::default() };
    let faulty = Faulty::over(backend);
    let kv = Arc::new(Sequencer::start(Arc::clone(&faulty), 0, options));
    let lane = Lane::Script("work".into());

    faulty.fail(true);
    let mut lost = Transaction::new(APP, kv.begin(), Cause::outside());
    lost.writes = vec![("w/a".into(), Some(json("0")))];
    assert!(is_store_error(&kv.commit(lost.clone()).await));
    faulty.fail(false);
    assert!(kv.waiting(APP, &lane, 10).await.unwrap().is_empty());

    // Blind writes at the same time: each must have found what exactly one other has left.
    let writes = (1..=30).map(|n| {
        let (kv, mut write) = (Arc::clone(&kv), lost.clone());
        write.writes = vec![("other".into(), Some(json("1"))), ("w/a".into(), Some(json(&n.to_string())))];
        tokio::spawn(async move { kv.commit(write).await.unwrap() })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    let told = kv.waiting(APP, &lane, 100).await.unwrap();
    let member = |event: &StoredEvent, name: &str| {
        serde_json::from_str::<serde_json::Value>(&event.event.call.data).unwrap()[name].to_string()
    };
    let mut before: Vec<String> = told.iter().map(|event| member(event, "before")).collect();
    let mut after: Vec<String> = told.iter().map(|event| member(event, "after")).collect();
    let last = super::text(&*kv, "w/a").await.unwrap();
    assert_eq!(told.len(), 30);
    before.retain(|value| value != "null");
    after.retain(|value| *value != last);
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after);
}
