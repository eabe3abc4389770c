//! Scripts that call scripts on machines that have room for few: nobody waits for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use picloud_host::call::{HttpCall, Outcome, Payload, ScriptRef};
use picloud_host::limits::Limits;
use picloud_host::problem::Code;
use picloud_tests::BareExecutor;

/// Calls itself as often as the number behind `n=` says, and answers how deep that was.
const DEEP: &str = r#"
    fn handle(req) {
        let n = parse_int(req.query.n);
        if n == 0 { return 0; }
        kv::incr(`key/${ctx.execution_id}`);
        scripts::invoke("deep", (), #{ query: `n=${n - 1}` }).json + 1
    }"#;

async fn machine(slots: u32) -> (BareExecutor, Arc<ScriptRef>) {
    let executor = BareExecutor::with_budget(|budget| budget.slots = slots).await;
    let deep = executor.script_named(1, "deep", DEEP);
    executor.publish(std::slice::from_ref(&deep));
    (executor, deep)
}

async fn call(executor: &BareExecutor, script: &Arc<ScriptRef>, depth: u32) -> Outcome {
    let query = Some(format!("n={depth}"));
    let call = HttpCall { method: "GET".into(), path: "/".into(), query, ..HttpCall::default() };
    executor.call(script, Limits::default(), 0, Payload::Http(call)).await
}

fn answer(outcome: &Outcome) -> Result<String, Code> {
    match &outcome.result {
        Ok(answer) => Ok(String::from_utf8(answer.body.to_vec()).unwrap()),
        Err(failure) => Err(failure.code),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_board_has_room_for_one_callee_at_a_time() {
    // One for uploads, one for callees, two for calls.
    let (executor, deep) = machine(4).await;
    for outcome in join_all((0..2).map(|_| call(&executor, &deep, 1))).await {
        assert_eq!(answer(&outcome), Ok("1".to_owned()));
        assert_eq!(outcome.callees.len(), 1);
    }
    let outcome = call(&executor, &deep, 2).await;
    let failure = outcome.result.unwrap_err();
    assert_eq!(failure.code, Code::ScriptError);
    assert!(failure.message.contains("room for a chain of 1 scripts that call one another"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_chains_in_parallel_never_wait_for_each_other_for_ever() {
    // Two for uploads, three for callees, eleven for calls.
    let (executor, deep) = machine(16).await;
    let begun = Instant::now();
    let mut refused = 0;
    for _ in 0..20 {
        let outcomes = join_all((0..11).map(|n| call(&executor, &deep, 1 + n % 3))).await;
        for (n, outcome) in (0..).zip(&outcomes) {
            match answer(outcome) {
                Ok(depth) => assert_eq!(depth, (1 + n % 3).to_string()),
                Err(code) => {
                    assert_eq!(code, Code::Saturated, "{outcome:?}");
                    assert!(outcome.result.as_ref().unwrap_err().message.contains("waits for another"));
                    refused += 1;
                }
            }
        }
        let well = outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
        assert!(well > 0, "nobody got through");
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "somebody waited: {:?}", begun.elapsed());
    assert!(refused < 200, "{refused} of 220 were refused");
    // Nothing is left behind.
    assert_eq!(answer(&call(&executor, &deep, 3).await), Ok("3".to_owned()));
}
