//! Many handlers at the same time end as if they had run one after the other.

use picloud_tests::TestApp;
use serde_json::json;

use super::{trigger, values, wait_for};

const ACCOUNTS: i64 = 6;
const TRANSFERS: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_read_and_write_the_same_keys_keep_the_sum() {
    let app = TestApp::start().await;
    app.deploy("open", format!("for n in 0..{ACCOUNTS} {{ kv::set(`account/${{n}}`, 100); }}")).await;
    app.deploy(
        "transfer",
        format!(
            "fn on_event(event) {{
                let from = event.data % {ACCOUNTS};
                let to = (event.data * 7 + 1) % {ACCOUNTS};
                let amount = event.data % 13;
                let has = kv::get(`account/${{from}}`);
                if from != to && has >= amount {{
                    kv::set(`account/${{from}}`, has - amount);
                    kv::set(`account/${{to}}`, kv::get(`account/${{to}}`) + amount);
                }}
                // Also a list, so that ranges take part.
                let sum = 0;
                for entry in kv::list(\"account/\", 100).entries {{ sum += entry.value; }}
                kv::set(`sum/${{event.data}}`, sum);
            }}"
        ),
    )
    .await;
    // Conflicts are no failures of the jobs: they are tried until they get through.
    let queue =
        json!({"kind": "queue", "script": "transfer", "concurrency": 8, "attempts": 100, "backoff_ms": 5});
    trigger(&app, "transfers", queue).await;
    app.deploy(
        "submit",
        "for n in 0..100 { triggers::enqueue(\"transfers\", parse_int(req.query.from) + n); }",
    )
    .await;
    app.get("/default/open").await;
    for from in (0..TRANSFERS).step_by(100) {
        assert_eq!(app.get(&format!("/default/submit?from={from}")).await.status, 204);
    }
    let sums = wait_for(&app, "sum/", TRANSFERS).await;
    assert!(sums.iter().all(|sum| *sum == json!(ACCOUNTS * 100)), "{sums:?}");
    let balances = values(&app, "account/").await;
    assert_eq!(balances.iter().map(|balance| balance.as_i64().unwrap()).sum::<i64>(), ACCOUNTS * 100);
    assert!(balances.iter().all(|balance| balance.as_i64().unwrap() >= 0));
}
