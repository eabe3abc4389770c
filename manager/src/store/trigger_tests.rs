//! Triggers in the store, and what the data plane learns of them.

use picloud_host::call::AppId;
use picloud_host::event::{EventKind, EventOp, NewEvent, TriggerId};
use picloud_host::limits::Limits;
use picloud_host::quota::Quotas;
use serde_json::json;

use crate::store::script::Put;
use crate::store::testing::{TestStore, bury, claim, event, insert, name};
use crate::store::trigger::config::KeyChange;
use crate::store::trigger::{MAX_TRIGGERS, NewTrigger, STATEMENTS, Trigger, TriggerConfig};
use crate::store::{ChangeError, Precondition, Tag, Tags};

impl TestStore {
    async fn put_trigger(&self, trigger: &str, new: &NewTrigger) -> (Put, Trigger) {
        self.put_trigger_if(trigger, new, &Precondition::default()).await.unwrap()
    }

    async fn put_trigger_if(
        &self,
        trigger: &str,
        new: &NewTrigger,
        if_: &Precondition,
    ) -> Result<(Put, Trigger), ChangeError> {
        self.store.put_trigger(self.app, &name(trigger), new, if_).await
    }

    async fn trigger(&self, trigger: &str) -> Option<Trigger> {
        self.store.trigger(self.app, &name(trigger)).await.unwrap()
    }

    /// Let somebody spoil a row by hand.
    async fn set_config(&self, trigger: &str, config: &str) {
        sqlx::query("update event_trigger set config = $2 where name = $1")
            .bind(trigger.to_owned())
            .bind(config.to_owned())
            .execute(&self.database.write)
            .await
            .unwrap();
    }
}

fn new(config: serde_json::Value) -> NewTrigger {
    NewTrigger::new(name("s"), serde_json::from_value(config).unwrap())
}

fn topic(topic: &str) -> NewTrigger {
    new(json!({"kind": "topic", "topic": topic}))
}

fn schedule(next_ms: u64) -> NewTrigger {
    NewTrigger { next_ms: Some(next_ms), ..new(json!({"kind": "schedule", "cron": "* * * * *"})) }
}

fn if_match(tag: String) -> Precondition {
    let tags = Tags::List(vec![Tag { weak: false, value: tag }]);
    Precondition { if_match: Some(tags), ..Default::default() }
}

#[tokio::test]
async fn a_trigger_is_created_replaced_and_left_alone() {
    let test = TestStore::new().await;
    let (put, first) = test.put_trigger("t", &topic("a")).await;
    assert_eq!((put, first.version, first.enabled, first.attempts), (Put::Created, 1, true, 5));
    assert_eq!((&*first.app, first.app_id, &*first.name, &*first.script), ("default", test.app, "t", "s"));
    test.clock.advance(5);
    assert_eq!(test.put_trigger("t", &topic("a")).await, (Put::Unchanged, first.clone()));
    let changes = [
        topic("b"),
        NewTrigger { script: name("other"), ..topic("b") },
        NewTrigger { enabled: false, ..topic("b") },
        NewTrigger { attempts: 6, ..topic("b") },
    ];
    for (version, change) in (2..).zip(changes) {
        let (put, changed) = test.put_trigger("t", &change).await;
        assert_eq!((put, changed.version, changed.id), (Put::Replaced, version, first.id));
        assert_eq!((changed.created_ms, changed.updated_ms), (first.created_ms, first.created_ms + 5));
        assert_eq!((&changed.config, changed.enabled), (&change.config, change.enabled));
        assert_eq!(test.trigger("t").await, Some(changed));
    }
    let test = test.reopen().await;
    assert_eq!(test.trigger("t").await.unwrap().attempts, 6);
    assert_eq!(test.trigger("u").await, None);
}

#[tokio::test]
async fn preconditions_guard_every_change_of_a_trigger() {
    let test = TestStore::new().await;
    let create_only = Precondition { if_none_match: Some(Tags::Any), ..Default::default() };
    let refused = |result| matches!(result, Err(ChangeError::Precondition));
    assert!(refused(test.put_trigger_if("t", &topic("a"), &if_match("1-1".into())).await));
    let (_, first) = test.put_trigger_if("t", &topic("a"), &create_only).await.unwrap();
    assert!(refused(test.put_trigger_if("t", &topic("b"), &create_only).await));
    let (_, second) = test.put_trigger_if("t", &topic("b"), &if_match(first.tag())).await.unwrap();
    assert!(refused(test.put_trigger_if("t", &topic("c"), &if_match(first.tag())).await));

    let delete = async |if_: Precondition| test.store.delete_trigger(test.app, &name("t"), &if_).await;
    assert!(matches!(delete(if_match(first.tag())).await, Err(ChangeError::Precondition)));
    delete(if_match(second.tag())).await.unwrap();
    assert!(matches!(delete(Precondition::default()).await, Err(ChangeError::NoTrigger)));
    // A new one of the same name is another one.
    let (put, again) = test.put_trigger("t", &topic("a")).await;
    assert_eq!((put, again.version), (Put::Created, 1));
    assert_ne!((again.tag(), again.id), (first.tag(), first.id));
}

#[tokio::test]
async fn an_app_has_only_so_many_triggers() {
    let test = TestStore::new().await;
    for n in 0..MAX_TRIGGERS {
        test.put_trigger(&format!("t{n}"), &topic("a")).await;
    }
    let one_more = test.put_trigger_if("more", &topic("a"), &Precondition::default()).await;
    assert!(matches!(one_more, Err(ChangeError::TooManyTriggers)));
    assert_eq!(test.put_trigger("t0", &topic("b")).await.0, Put::Replaced);
    test.store.delete_trigger(test.app, &name("t1"), &Precondition::default()).await.unwrap();
    assert_eq!(test.put_trigger("more", &topic("a")).await.0, Put::Created);
    let nowhere = test.store.put_trigger(AppId(99), &name("t"), &topic("a"), &Precondition::default()).await;
    assert!(matches!(nowhere, Err(ChangeError::NoApp)));
}

#[tokio::test]
async fn lists_of_triggers_go_on_where_they_stopped() {
    let test = TestStore::new().await;
    for trigger in ["b", "d", "a", "c"] {
        test.put_trigger(trigger, &topic("a")).await;
    }
    let list = async |after: Option<&str>| {
        let triggers = test.store.triggers(test.app, after.map(name).as_ref(), 2).await.unwrap();
        triggers.into_iter().map(|trigger| trigger.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(None).await, "a b");
    assert_eq!(list(Some("b")).await, "c d");
    assert_eq!(list(Some("d")).await, "");
}

#[tokio::test]
async fn schedules_are_due_in_their_order() {
    let test = TestStore::new().await;
    let (_, late) = test.put_trigger("late", &schedule(30)).await;
    let (_, early) = test.put_trigger("early", &schedule(20)).await;
    test.put_trigger("off", &NewTrigger { enabled: false, ..schedule(10) }).await;
    test.put_trigger("never", &NewTrigger { next_ms: None, ..schedule(0) }).await;
    let (_, no_schedule) = test.put_trigger("topic", &NewTrigger { next_ms: Some(5), ..topic("a") }).await;
    assert_eq!(no_schedule.next_ms, None);
    let due = async |now_ms, limit| {
        let due = test.store.due_schedules(now_ms, limit).await.unwrap();
        due.into_iter().map(|trigger| trigger.name).collect::<Vec<_>>()
    };
    assert_eq!(test.store.next_schedule().await.unwrap(), Some(20));
    assert_eq!(due(19, 9).await, [""; 0]);
    assert_eq!(due(20, 9).await, ["early"]);
    assert_eq!(due(99, 9).await, ["early", "late"]);
    assert_eq!(due(99, 1).await, ["early"]);
    let advance = |trigger, from_ms, next_ms| vec![EventOp::Advance { trigger, from_ms, next_ms }];
    test.apply(advance(early.id, 20, Some(60))).await;
    assert_eq!(due(99, 9).await, ["late", "early"]);
    let advanced = test.trigger("early").await.unwrap();
    assert_eq!((advanced.next_ms, advanced.tag()), (Some(60), early.tag()), "to have run is no change");
    // What is stored as it is does not start anew.
    assert_eq!(test.put_trigger("early", &schedule(1)).await, (Put::Unchanged, advanced));
    test.apply(advance(late.id, 31, Some(40))).await;
    assert_eq!(test.trigger("late").await.unwrap(), late, "it was not due at that time");
    test.apply(advance(late.id, 30, None)).await;
    assert_eq!(
        (test.store.next_schedule().await.unwrap(), due(99, 9).await),
        (Some(60), vec!["early".into()])
    );
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_is_due_no_more() {
    let test = TestStore::new().await;
    test.put_trigger("t", &schedule(20)).await;
    test.set_config("t", r#"{"kind": "tides"}"#).await;
    assert_eq!(test.store.due_schedules(99, 9).await.unwrap(), []);
    assert_eq!(test.store.next_schedule().await.unwrap(), None);
    // It can be put right, and be deleted.
    assert_eq!(test.trigger("t").await, None);
    assert_eq!(test.put_trigger("t", &schedule(30)).await.0, Put::Replaced);
    assert_eq!(test.store.next_schedule().await.unwrap(), Some(30));
}

#[tokio::test]
async fn an_event_of_a_schedule_is_live_until_it_is_done_or_dead() {
    let test = TestStore::new().await;
    let id = TriggerId(7);
    let live = async || test.store.has_live_event(id).await.unwrap();
    let mut tick = NewEvent { trigger: Some(id), ..event("script/s") };
    tick.call.trigger = EventKind::Schedule;
    assert!(!live().await);
    test.apply(vec![insert(&tick)]).await;
    assert!(live().await);
    test.apply(vec![claim(&tick)]).await;
    assert!(live().await);
    test.apply(vec![bury(&tick)]).await;
    assert!(!live().await);
}

#[tokio::test]
async fn the_active_set_has_the_triggers_that_the_data_plane_looks_at() {
    let test = TestStore::new().await;
    let empty = test.store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
    assert!(empty.triggers.is_empty());
    let keys = new(json!({"kind": "kv", "prefix": "a/", "on": ["set", "expire"]}));
    let (_, kv) = test.put_trigger("keys", &NewTrigger { attempts: 9, ..keys }).await;
    test.put_trigger("all", &new(json!({"kind": "kv"}))).await;
    test.put_trigger("topic", &topic("a/+")).await;
    test.put_trigger("off", &NewTrigger { enabled: false, ..topic("b") }).await;
    test.put_trigger("queue", &new(json!({"kind": "queue", "concurrency": 4, "visibility_ms": 50}))).await;
    test.put_trigger("plain", &new(json!({"kind": "queue"}))).await;
    test.put_trigger("clock", &schedule(1)).await;
    test.put_trigger("hook", &new(json!({"kind": "webhook", "scheme": "github", "secret": "hook"}))).await;
    for (bad, config) in [("bad", "{"), ("worse", r#"{"kind": "topic", "topic": "a//b"}"#)] {
        test.put_trigger(bad, &topic("a")).await;
        test.set_config(bad, config).await;
    }
    let set = test.store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
    let triggers = &set.triggers[&test.app];
    let first = &triggers.kv[0];
    assert_eq!((first.target.id, &*first.target.app, &*first.target.script), (kv.id, "default", "s"));
    assert_eq!((&*first.prefix, first.target.attempts), ("a/", 9));
    assert_eq!((first.on.set, first.on.delete, first.on.expire), (true, false, true));
    let second = &triggers.kv[1];
    assert!(second.prefix.is_empty() && second.on.set && second.on.delete && second.on.expire);
    assert_eq!(triggers.topics.iter().map(|topic| topic.filter.as_str()).collect::<Vec<_>>(), ["a/+"]);
    let queue = |name: &str| {
        let queue = &triggers.queues[name];
        (queue.concurrency, queue.visibility_ms, queue.backoff_ms)
    };
    assert_eq!((queue("queue"), queue("plain")), ((4, Some(50), 1000), (1, None, 1000)));
    assert_eq!((triggers.kv.len(), triggers.queues.len(), set.triggers.len()), (2, 2, 1));
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    for config in [
        json!({"kind": "kv", "on": []}),
        json!({"kind": "kv", "prefix": "x".repeat(5000)}),
        json!({"kind": "topic", "topic": "a/#/b"}),
        json!({"kind": "queue", "concurrency": 0}),
        json!({"kind": "queue", "concurrency": 65}),
        json!({"kind": "queue", "visibility_ms": 0}),
        json!({"kind": "queue", "backoff_ms": 86_400_001}),
        json!({"kind": "schedule", "cron": "* * * * *", "jitter_ms": 86_400_001}),
        json!({"kind": "schedule", "cron": "*".repeat(2000)}),
        json!({"kind": "webhook", "scheme": "github", "secret": "x".repeat(2000)}),
        json!({"kind": "webhook", "scheme": "header", "secret": "hook"}),
    ] {
        assert!(new(config.clone()).check().is_err(), "{config}");
    }
    for attempts in [0, 101] {
        assert!(NewTrigger { attempts, ..topic("a") }.check().is_err());
    }
    assert!(topic("a").check().is_ok() && schedule(1).check().is_ok());
}

#[test]
fn configurations_are_stored_in_these_words() {
    let every = [KeyChange::Set, KeyChange::Delete, KeyChange::Expire].into();
    let config = TriggerConfig::Kv { prefix: "a".into(), on: every };
    let text = r#"{"kind":"kv","prefix":"a","on":["set","delete","expire"]}"#;
    assert_eq!(serde_json::to_string(&config).unwrap(), text);
    let schedule = serde_json::to_value(schedule(1).config).unwrap();
    assert_eq!(
        schedule,
        json!({"kind": "schedule", "cron": "* * * * *", "timezone": "UTC", "overlap": "skip", "missed": "one",
               "jitter_ms": 0, "data": null})
    );
}

#[tokio::test]
async fn schedules_are_found_by_an_index() {
    let test = TestStore::new().await;
    for (statement, index) in STATEMENTS {
        let plan = test.plan_of(statement).await;
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
    }
}
