//! The scripts that are measured, how they are called, and what they must answer.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::time::sleep;

use crate::client::{Answer, Client};

/// One script with its call.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
    pub(crate) request: Request,
    answer: Right,
}

/// How a script is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request {
    Get,
    PostJson(&'static str),
}

/// The right answer.
#[derive(Debug)]
enum Right {
    Text(&'static str),
    /// JSON with the same value.
    Json(&'static str),
    /// `{"hits": n}`, one more each time.
    Counter,
}

/// Every case, in the order of the report.
pub(crate) const ALL: &[Case] = &[
    Case {
        name: "hello",
        source: include_str!("../../../bench/scripts/hello.rhai"),
        request: Request::Get,
        answer: Right::Text("Hello, world!"),
    },
    Case {
        name: "order",
        source: include_str!("../../../bench/scripts/order.rhai"),
        request: Request::PostJson(include_str!("../../../bench/scripts/order.json")),
        answer: Right::Json(
            r#"{"id":"2024-000117","lines":20,"pieces":117,"subtotal":72617,"discount":10892,"total":61725}"#,
        ),
    },
    Case {
        name: "fib",
        source: include_str!("../../../bench/scripts/fib.rhai"),
        request: Request::Get,
        answer: Right::Json("6765"),
    },
    Case {
        name: "counter",
        source: include_str!("../../../bench/scripts/counter.rhai"),
        request: Request::Get,
        answer: Right::Counter,
    },
];

impl Case {
    /// Call the script and check what it answers; gives back the fuel, where the server counts it.
    pub(crate) async fn check(&self, client: &Client) -> anyhow::Result<Option<u64>> {
        let answer = client.call(self.name, self.request).await?;
        match self.answer {
            Right::Text(text) => ensure!(answer.text == text, "{} answered {:?}", self.name, answer.text),
            Right::Json(text) => {
                let expected: Value = serde_json::from_str(text)?;
                let found: Value = serde_json::from_str(&answer.text).with_context(|| answer.text.clone())?;
                ensure!(found == expected, "{} answered {found}, not {expected}", self.name);
            }
            Right::Counter => {
                let (before, after) = (hits(&answer)?, hits(&client.call(self.name, self.request).await?)?);
                ensure!(after == before + 1, "{} went from {before} to {after}", self.name);
            }
        }
        Ok(answer.fuel)
    }

    /// Increment the counter by a call and give back its value; none for cases that count nothing.
    ///
    /// Right after a load run the server may still be busy with what the load generator has left behind, and refuse.
    pub(crate) async fn count(&self, client: &Client) -> anyhow::Result<Option<u64>> {
        if !matches!(self.answer, Right::Counter) {
            return Ok(None);
        }
        for _ in 0..20 {
            if let Ok(answer) = client.call(self.name, self.request).await {
                return Ok(Some(hits(&answer)?));
            }
            sleep(Duration::from_millis(100)).await;
        }
        bail!("{} does not answer any more", self.name)
    }
}

fn hits(answer: &Answer) -> anyhow::Result<u64> {
    let value: Value = serde_json::from_str(&answer.text).with_context(|| answer.text.clone())?;
    value["hits"].as_u64().with_context(|| format!("no number in {value}"))
}

/// Every increment that was answered must be there, and no more than those plus the ones that were under way when the
/// load generator stopped listening.
pub(crate) fn verify_count(before: u64, after: u64, answered: u64, connections: u64) -> anyhow::Result<()> {
    // The call that read `after` counted as well.
    let counted = after.saturating_sub(before + 1);
    ensure!(
        (answered..=answered + connections).contains(&counted),
        "{answered} increments were answered, but the counter grew by {counted}"
    );
    Ok(())
}
