//! Lists and counts of events, as the REST API asks for them.

use picloud_host::call::AppId;
use picloud_host::event::{EventKind, EventState, Lane, NewEvent, StoredEvent};

use super::list::{COUNTS, Filter, LaneCount, select};
use crate::store::testing::{TestStore, bury, claim, event, insert};

impl TestStore {
    async fn list(&self, filter: &Filter, after: Option<(u64, i64)>, limit: u32) -> Vec<StoredEvent> {
        self.store.events(self.app, filter, after, limit).await.unwrap().events
    }

    async fn seqs(&self, filter: &Filter) -> Vec<i64> {
        self.list(filter, None, 99).await.iter().map(|stored| stored.seq).collect()
    }

    /// The same list, a page of two after the other.
    async fn seqs_in_pages(&self, filter: &Filter) -> Vec<i64> {
        let (mut seqs, mut after) = (Vec::new(), None);
        loop {
            let page = self.list(filter, after, 2).await;
            let Some(last) = page.last() else { return seqs };
            after = Some((last.event.due_ms, last.seq));
            seqs.extend(page.iter().map(|stored| stored.seq));
        }
    }
}

/// Three events that wait (1, 3, 5), two that run (2, 4), three that are dead (6, 7, 8, of which 8 died first).
async fn eight_events() -> (TestStore, Vec<NewEvent>) {
    let test = TestStore::new().await;
    let events: Vec<NewEvent> = [30, 5, 10, 5, 20, 1, 1, 1]
        .into_iter()
        .zip(["queue/a", "queue/a", "queue/b", "script/s", "queue/a", "queue/b", "script/s", "script/s"])
        .map(|(due_ms, lane)| NewEvent { due_ms, ..event(lane) })
        .collect();
    test.apply(events.iter().map(insert).collect()).await;
    test.apply(vec![claim(&events[1]), claim(&events[3]), bury(&events[7])]).await;
    test.clock.advance(1);
    test.apply(vec![bury(&events[5]), bury(&events[6])]).await;
    (test, events)
}

fn of(state: EventState) -> Filter {
    Filter { state: Some(state), ..Filter::default() }
}

#[tokio::test]
async fn each_state_has_its_order_and_pages_go_on_where_they_stopped() {
    let (test, _) = eight_events().await;
    for (filter, expected) in [
        (of(EventState::Waiting), vec![3, 5, 1]),
        (of(EventState::Running), vec![2, 4]),
        (of(EventState::Dead), vec![7, 6, 8]),
        (Filter::default(), vec![8, 7, 6, 5, 4, 3, 2, 1]),
    ] {
        assert_eq!(test.seqs(&filter).await, expected, "{filter:?}");
        assert_eq!(test.seqs_in_pages(&filter).await, expected, "{filter:?}");
    }
    assert_eq!(test.store.events(AppId(2), &Filter::default(), None, 9).await.unwrap().events.len(), 0);
}

#[tokio::test]
async fn every_condition_binds() {
    let (test, mut events) = eight_events().await;
    let mut other = event("queue/a");
    (other.script, other.call.trigger) = ("other".into(), EventKind::Kv);
    test.apply(vec![insert(&other)]).await;
    events.push(other);
    let lane = Lane::Queue("a".into());
    for (filter, expected) in [
        (Filter { script: Some("other".into()), ..Filter::default() }, vec![9]),
        (Filter { script: Some("other".into()), ..of(EventState::Waiting) }, vec![9]),
        (Filter { lane: Some(lane.clone()), ..Filter::default() }, vec![9, 5, 2, 1]),
        (Filter { lane: Some(lane.clone()), ..of(EventState::Waiting) }, vec![9, 5, 1]),
        (Filter { kind: Some(EventKind::Kv), ..Filter::default() }, vec![9]),
        (Filter { kind: Some(EventKind::Kv), ..of(EventState::Dead) }, vec![]),
        (Filter { root: Some(events[4].cause.root), ..Filter::default() }, vec![5]),
    ] {
        assert_eq!(test.seqs(&filter).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn lanes_are_counted() {
    let (test, _) = eight_events().await;
    let count = |lane: &str, waiting, running, dead, next_due_ms| LaneCount {
        lane: Lane::parse(lane).unwrap(),
        waiting,
        running,
        dead,
        next_due_ms,
    };
    let expected = [
        count("queue/a", 2, 1, 0, Some(20)),
        count("queue/b", 1, 0, 1, Some(10)),
        count("script/s", 0, 1, 2, None),
    ];
    assert_eq!(test.store.lanes_of(test.app).await.unwrap(), expected);
    assert_eq!(test.store.lanes_of(AppId(2)).await.unwrap(), []);
}

#[tokio::test]
async fn keys_come_in_the_order_of_storing_and_end_where_they_are_told_to() {
    let (test, events) = eight_events().await;
    let keys = async |filter: &Filter, range, limit| {
        let keys = test.store.event_keys(test.app, filter, range, limit).await.unwrap();
        keys.into_iter().map(|key| (key.seq, key.id, key.lane)).collect::<Vec<_>>()
    };
    let newest = test.store.newest_event().await.unwrap();
    let all = keys(&Filter::default(), (0, newest), 99).await;
    assert_eq!(all.len(), events.len());
    assert!(all.iter().zip(&events).all(|((_, id, lane), event)| (id, lane) == (&event.id, &event.lane)));
    assert!(all.is_sorted());
    assert_eq!(keys(&Filter::default(), (all[1].0, all[4].0), 2).await, all[2..4]);
    let dead = keys(&of(EventState::Dead), (0, newest), 99).await;
    assert_eq!(
        dead.iter().map(|(_, id, _)| *id).collect::<Vec<_>>(),
        [5, 6, 7].map(|at: usize| events[at].id)
    );
}

#[tokio::test]
async fn a_page_of_large_events_ends_early() {
    let test = TestStore::new().await;
    for _ in 0..8 {
        let mut large = event("queue/a");
        large.call.data = format!("\"{}\"", "x".repeat(1 << 20)).into();
        test.apply(vec![insert(&large)]).await;
    }
    let page = test.store.events(test.app, &Filter::default(), None, 100).await.unwrap();
    assert_eq!((page.events.len(), page.more), (4, true));
}

#[tokio::test]
async fn lists_and_counts_are_read_from_indexes() {
    let test = TestStore::new().await;
    let lane = Some(Lane::Queue("a".into()));
    let script = Some("s".to_owned());
    let list = |filter| select(test.app, &filter, Some((1, 1)), 9).sql().as_str().to_owned();
    for (statement, index) in [
        (
            list(Filter { lane: lane.clone(), ..of(EventState::Waiting) }),
            "event_lane (app_id=? AND lane=? AND",
        ),
        (list(Filter { script, ..of(EventState::Waiting) }), "event_script (app_id=? AND script=? AND"),
        (list(of(EventState::Running)), "event_running (app_id=?)"),
        (list(Filter { lane, ..of(EventState::Dead) }), "event_dead (app_id=? AND"),
        (list(Filter::default()), "INTEGER PRIMARY KEY (rowid<?)"),
        (COUNTS.to_owned(), "COVERING INDEX event_lane (app_id=?)"),
        (COUNTS.to_owned(), "COVERING INDEX event_dead (app_id=?)"),
        (COUNTS.to_owned(), "event_running (app_id=?)"),
    ] {
        let plan = test.plan_of(&statement).await;
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {statement} {plan:#?}");
    }
}
