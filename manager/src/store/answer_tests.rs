//! Answers in the table: how they come, are found, count and go.

use picloud_host::answer::{AnswerOp, Idempotency, KeptTotals, NewAnswer, Progress};
use picloud_host::call::{Answer, EventCall};
use picloud_host::event::{EventKind, EventOp, NewEvent};
use picloud_host::ports::{Answers as _, Events as _};
use picloud_host::sequencer::{Group, KvBackend as _};
use uuid::Uuid;

use super::answer::STATEMENTS;
use super::testing::{TestStore, bury, claim, event, insert};

impl TestStore {
    async fn apply_answers(&self, events: Vec<EventOp>, answers: Vec<AnswerOp>) {
        self.table().apply(&Group { events, answers, ..Group::default() }).await.unwrap();
    }

    async fn progress(&self, id: Uuid) -> Option<Progress> {
        self.store.call(self.app, id).await.unwrap().map(|call| call.progress)
    }

    fn keep(&self, id: Uuid, after_ms: u64) -> AnswerOp {
        let headers = [(http::header::LOCATION, http::HeaderValue::from_static("/x"))].into_iter().collect();
        let answer = Box::new(Answer { status: 303, headers, body: vec![0, 255].into() });
        AnswerOp::Keep { id, answer, expires_ms: 1_700_000_000_000 + after_ms, frees_key: false }
    }
}

fn expect(id: Uuid, key: Option<&str>) -> AnswerOp {
    let idempotency = key.map(|key| Idempotency { key: key.into(), fingerprint: [7; 32], salt: [8; 16] });
    let app = event("script/s").app;
    let (script, accepted_ms) = ("s".into(), 1_700_000_000_000);
    AnswerOp::Expect(Box::new(NewAnswer {
        id,
        app,
        script,
        accepted_ms,
        access: Some([9; 32]),
        idempotency,
        request_bytes: 10,
    }))
}

fn request() -> NewEvent {
    let event = event("script/s");
    NewEvent { call: EventCall { trigger: EventKind::Http, ..event.call.clone() }, ..event }
}

#[tokio::test]
async fn a_call_goes_through_its_states_and_its_answer_stays_for_its_time() {
    let test = TestStore::new().await;
    let event = request();
    let id = event.id;
    assert_eq!(test.progress(id).await, None);
    test.apply_answers(vec![insert(&event)], vec![expect(id, None)]).await;
    assert_eq!(test.progress(id).await, Some(Progress::Queued(0)));
    assert_eq!(test.store.answer(test.app, id).await.unwrap(), None);
    let totals = |calls, bytes| KeptTotals { calls, bytes };
    assert_eq!(test.store.totals(test.app, u64::MAX).await.unwrap(), totals(1, 4096 + 10));
    test.apply(vec![claim(&event)]).await;
    assert_eq!(test.progress(id).await, Some(Progress::Running(1)));
    test.apply_answers(vec![EventOp::Complete { id }], vec![test.keep(id, 50)]).await;
    let expires_ms = 1_700_000_000_050;
    assert_eq!(test.progress(id).await, Some(Progress::Done { status: 303, expires_ms }));
    let answer = test.store.answer(test.app, id).await.unwrap().unwrap();
    assert_eq!((answer.status, &*answer.body), (303, &[0, 255][..]));
    assert_eq!(answer.headers["location"], "/x");
    let call = test.store.call(test.app, id).await.unwrap().unwrap();
    assert_eq!((&*call.script, call.access), ("s", Some([9; 32])));
    assert_eq!(test.store.totals(test.app, u64::MAX).await.unwrap(), totals(0, 4096 + 8 + 2 + 2));
    let other = picloud_host::call::AppId(test.app.0 + 1);
    assert_eq!(test.store.call(other, id).await.unwrap(), None, "it is not another app's");
    test.clock.advance(50);
    assert_eq!(test.progress(id).await, None);
    assert_eq!(test.store.answer(test.app, id).await.unwrap(), None);
}

#[tokio::test]
async fn a_request_whose_event_was_taken_back_is_cancelled_and_goes_after_a_day() {
    let test = TestStore::new().await;
    let event = request();
    test.apply_answers(vec![insert(&event)], vec![expect(event.id, None)]).await;
    test.apply(vec![EventOp::Remove { id: event.id }]).await;
    assert_eq!(test.progress(event.id).await, Some(Progress::Cancelled));
    let waits = request();
    test.apply_answers(vec![insert(&waits)], vec![expect(waits.id, None)]).await;
    test.clock.advance(24 * 60 * 60 * 1000);
    test.apply_answers(vec![], vec![expect(Uuid::now_v7(), None)]).await;
    assert_eq!(test.progress(event.id).await, None);
    assert_eq!(test.progress(waits.id).await, Some(Progress::Queued(0)), "however long it waits");
}

#[tokio::test]
async fn an_idempotency_key_finds_its_call_until_it_expires_and_is_free_then() {
    let test = TestStore::new().await;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    test.apply_answers(vec![], vec![expect(first, Some("k")), test.keep(first, 50)]).await;
    let found = async |script: &str, key: &str| {
        test.store.repeated(test.app, script, key).await.unwrap().map(|(call, _)| call.id)
    };
    assert_eq!(found("s", "k").await, Some(first));
    assert_eq!((found("s", "K").await, found("t", "k").await), (None, None));
    let (_, idempotency) = test.store.repeated(test.app, "s", "k").await.unwrap().unwrap();
    assert_eq!((idempotency.fingerprint, idempotency.salt), ([7; 32], [8; 16]));
    test.clock.advance(50);
    assert_eq!(found("s", "k").await, None);
    test.apply_answers(vec![], vec![expect(second, Some("k")), test.keep(second, 99)]).await;
    assert_eq!(found("s", "k").await, Some(second));
}

#[tokio::test]
async fn what_has_expired_goes_when_something_comes_and_at_the_start() {
    let test = TestStore::new().await;
    let count = async |test: &TestStore| {
        let query = sqlx::query_scalar::<_, i64>("select count(*) from answer");
        query.fetch_one(&test.database.read).await.unwrap()
    };
    for _ in 0..20 {
        let id = Uuid::now_v7();
        test.apply_answers(vec![], vec![expect(id, None), test.keep(id, 10)]).await;
    }
    test.clock.advance(10);
    let late = Uuid::now_v7();
    test.apply_answers(vec![], vec![expect(late, None), test.keep(late, 1000)]).await;
    assert_eq!(count(&test).await, 4 + 1);
    let test = test.reopen().await;
    // Its clock stands where the first one began.
    test.clock.advance(10);
    let options =
        picloud_host::sequencer::SequencerOptions { clock: test.clock.clone(), ..Default::default() };
    drop(super::kv::open(test.database.clone(), options).await.unwrap());
    assert_eq!(count(&test).await, 1);
}

#[tokio::test]
async fn what_is_kept_is_known_without_adding_it_up_and_exactly_where_it_matters() {
    let test = TestStore::new().await;
    let added_up = async |test: &TestStore| {
        let query = sqlx::query_scalar::<_, i64>("select coalesce(sum(bytes), 0) from answer");
        u64::try_from(query.fetch_one(&test.database.read).await.unwrap()).unwrap()
    };
    let kept = async |test: &TestStore, room| test.store.totals(test.app, room).await.unwrap().bytes;
    assert_eq!(kept(&test, 0).await, 0);
    for number in 0..40 {
        let id = Uuid::now_v7();
        // A key that is used again takes the place of the one before, and a repeated operation changes nothing.
        let expected = expect(id, Some(&format!("k{}", number % 30)));
        test.apply_answers(vec![], vec![expected.clone(), expected]).await;
        if number % 3 > 0 {
            test.apply_answers(vec![], vec![test.keep(id, number)]).await;
        }
        assert_eq!(kept(&test, u64::MAX).await, added_up(&test).await, "{number}");
    }
    let all = added_up(&test).await;
    test.clock.advance(20);
    let live = kept(&test, 0).await;
    assert!(live < all && live > 0, "{live} of {all}");
    assert_eq!((kept(&test, all).await, kept(&test, all - 1).await), (all, live));
    test.apply_answers(vec![], vec![expect(Uuid::now_v7(), None)]).await;
    assert_eq!(kept(&test, u64::MAX).await, added_up(&test).await);
    let mut connection = test.database.write.acquire().await.unwrap();
    sqlx::query("delete from app").execute(&mut *connection).await.unwrap();
    drop(connection);
    assert_eq!((added_up(&test).await, kept(&test, 0).await), (0, 0));
}

#[tokio::test]
async fn no_statement_goes_through_the_whole_table() {
    let test = TestStore::new().await;
    for (statement, index) in STATEMENTS {
        let plan = test.plan_of(statement).await;
        assert!(plan.iter().any(|step| step.contains(index)), "{statement}\n{plan:#?}");
        assert!(!plan.iter().any(|step| step.starts_with("SCAN answer")), "{statement}\n{plan:#?}");
    }
}

#[tokio::test]
async fn callbacks_that_could_not_be_sent_go_after_a_day() {
    let test = TestStore::new().await;
    let of_kind = |trigger| {
        let event = event("callback/a.org");
        NewEvent { call: EventCall { trigger, ..event.call.clone() }, ..event }
    };
    let (callback, publish) = (of_kind(EventKind::Callback), of_kind(EventKind::Publish));
    for event in [&callback, &publish] {
        test.apply(vec![insert(event)]).await;
        test.apply(vec![claim(event)]).await;
        test.apply(vec![bury(event)]).await;
    }
    let there = async |event: &NewEvent| test.table().event(test.app, event.id).await.unwrap().is_some();
    test.apply_answers(vec![], vec![expect(Uuid::now_v7(), None)]).await;
    assert!(there(&callback).await, "it can be sent again");
    test.clock.advance(25 * 60 * 60 * 1000);
    test.apply_answers(vec![], vec![expect(Uuid::now_v7(), None)]).await;
    assert_eq!((there(&callback).await, there(&publish).await), (false, true));
}
