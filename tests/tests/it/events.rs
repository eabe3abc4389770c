//! Events: calls without a caller, through the real sandbox.

use picloud_host::call::{EventCall, HttpCall, Outcome, Payload};
use picloud_host::event::EventKind;
use picloud_host::limits::Limits;
use picloud_host::problem::Code;
use picloud_tests::BareExecutor;

fn event() -> Payload {
    Payload::Event(EventCall {
        id: "e-1".to_owned(),
        source: "/default/kv".to_owned(),
        kind: "picloud.kv.set".to_owned(),
        subject: Some("orders/7".to_owned()),
        time_ms: 1_790_000_000_000,
        data: r#"{"after":{"total":12},"before":null}"#.into(),
        trigger: EventKind::Event,
    })
}

async fn read(executor: &BareExecutor, source: &str) -> String {
    let outcome = executor.call_source(source, 0, Payload::Http(HttpCall::default())).await;
    String::from_utf8(outcome.result.unwrap().body.to_vec()).unwrap()
}

fn code(outcome: Outcome) -> Code {
    outcome.result.unwrap_err().code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_sees_the_event_and_its_effects_are_kept() {
    let executor = BareExecutor::start().await;
    let source = r#"
        fn on_event(event) {
            log::info("got " + event.type);
            kv::set("seen", [event.id, event.source, event.type, event.subject, event.time, event.data.after.total, ctx.trigger_depth]);
            "nobody looks at this"
        }"#;
    let outcome = executor.call_source(source, 3, event()).await;
    let answer = outcome.result.unwrap();
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(outcome.log[0].message, "got picloud.kv.set");
    assert!(outcome.cost.fuel > 0);
    assert_eq!(
        read(&executor, "kv::get(\"seen\")").await,
        r#"["e-1","/default/kv","picloud.kv.set","orders/7",1790000000000,12,3]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_without_functions_has_the_event_in_scope() {
    let executor = BareExecutor::start().await;
    executor.call_source("kv::set(\"subject\", event.subject)", 0, event()).await.result.unwrap();
    assert_eq!(read(&executor, "kv::get(\"subject\")").await, "orders/7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fails_has_no_effect() {
    let executor = BareExecutor::start().await;
    let outcome =
        executor.call_source("fn on_event(event) { kv::set(\"half\", 1); throw \"no\"; }", 0, event()).await;
    assert_eq!(code(outcome), Code::ScriptThrew);
    assert_eq!(read(&executor, "kv::exists(\"half\")").await, "false");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_handles_no_events_says_so() {
    let executor = BareExecutor::start().await;
    let outcome = executor.call_source("fn handle(req) { 1 }", 0, event()).await;
    assert_eq!(code(outcome), Code::HandlerMissing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_events_ends() {
    let executor = BareExecutor::start().await;
    let most = u32::try_from(Limits::default().trigger_depth).unwrap();
    let source = "fn on_event(event) { kv::set(\"depth\", ctx.trigger_depth) }";
    assert!(executor.call_source(source, most, event()).await.result.is_ok());
    assert_eq!(code(executor.call_source(source, most + 1, event()).await), Code::DepthExceeded);
    assert_eq!(read(&executor, "kv::get(\"depth\")").await, most.to_string());
}
