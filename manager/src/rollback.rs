//! Automatic rollback: ends canaries that do worse than the active version.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use picloud_host::ports::{ExecutionLog, ExecutionRecord};

use crate::canary::{Regression, Watched};
use crate::publish::Publisher;
use crate::store::audit::NewEntry;
use crate::store::canary::{Canary, Ending};
use crate::store::{ChangeError, Store};

/// Hands records on, counts them, and goes back where a canary does worse.
pub struct Rollback {
    /// Publishes that one has ended, and knows which run.
    pub publisher: Publisher,
    /// Where they are stored.
    pub store: Store,
    /// What else becomes of records.
    pub next: Arc<dyn ExecutionLog>,
}

impl ExecutionLog for Rollback {
    /// Must be called in a Tokio runtime.
    fn record(&self, record: ExecutionRecord) {
        let found = self.publisher.canaries().count(&record);
        self.next.record(record);
        if let Some((watched, regression)) = found {
            let (publisher, store) = (self.publisher.clone(), self.store.clone());
            tokio::spawn(async move { go_back(&publisher, store, &watched, regression).await });
        }
    }
}

/// End a canary that does worse. If that fails the next call that shows it tries again.
async fn go_back(publisher: &Publisher, store: Store, watched: &Watched, regression: Regression) {
    let Canary { id, app, script, version, .. } = watched.canary.clone();
    let result = watched.comparison().result(Some(regression)).to_json();
    let (ended, written) = (Arc::new(AtomicBool::new(false)), store.clone());
    let change = {
        let ended = ended.clone();
        async move {
            written.end_canary(id, Ending::RolledBack, Some(&result)).await?;
            ended.store(true, Ordering::Relaxed);
            Ok(())
        }
    };
    let changed = publisher.change(change).await;
    // Publishing may have failed, and is tried again by itself: it has ended all the same.
    if ended.load(Ordering::Relaxed) {
        let reason = regression.as_str();
        tracing::warn!(%app, %script, version, reason, "a canary did worse than the active version and has ended");
        note(&store, &app, &script).await;
    } else if !matches!(changed, Err(ChangeError::NoCanary)) {
        // Nobody else was faster.
        watched.goes_on();
    }
}

/// Write into the audit log what nobody has asked for.
async fn note(store: &Store, app: &str, script: &str) {
    let entry = NewEntry {
        kind: "server".to_owned(),
        method: "DELETE".to_owned(),
        path: format!("/api/v1/apps/{app}/scripts/{script}/canary"),
        app: Some(app.to_owned()),
        ..NewEntry::default()
    };
    // The store logs why it fails.
    if let Ok(seq) = store.audit(&entry).await {
        let _ = store.audit_ended(seq, 204, None).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use picloud_host::active::Active;
    use picloud_host::call::VersionId;
    use picloud_host::limits::Limits;
    use picloud_host::quota::Quotas;

    use super::*;
    use crate::canary::{CanaryResult, Counted};
    use crate::store::Precondition;
    use crate::store::canary::Rules;
    use crate::store::script::Upload;
    use crate::store::testing::{TestStore, name, upload};
    use crate::telemetry::tests::succeeded;

    struct Nothing;

    impl ExecutionLog for Nothing {
        fn record(&self, _: ExecutionRecord) {}
    }

    const RULES: Rules = Rules::DEFAULT;

    /// A script whose second version is a canary of the first, and what counts its calls.
    async fn fixture(rules: &Rules) -> (TestStore, Rollback, Canary) {
        let test = TestStore::new().await;
        let none = Precondition::default();
        test.store.put_script(test.app, &name("a"), &upload("1"), &none).await.unwrap();
        let second = Upload { activate: false, ..upload("2") };
        let second = test.store.add_version(test.app, &name("a"), &second, &none).await.unwrap().1.id;
        let (_, canary) = test.store.put_canary(second, rules).await.unwrap();
        let active = Arc::new(Active::default());
        let publisher = Publisher::new(test.store.clone(), active, Limits::default(), Quotas::default());
        publisher.publish().await.unwrap();
        let log = Rollback { publisher, store: test.store.clone(), next: Arc::new(Nothing) };
        (test, log, canary)
    }

    fn call(log: &Rollback, version: i64, status: u16, fuel: u64) {
        let mut record = ExecutionRecord { status, ..succeeded() };
        Arc::make_mut(&mut record.script).version_id = VersionId(version);
        record.cost.fuel = fuel;
        log.record(record);
    }

    async fn ended(test: &TestStore) -> (String, CanaryResult) {
        let both = async {
            loop {
                let canary = test.store.canary(test.app, &name("a")).await.unwrap().unwrap();
                if let (Some(outcome), Some(result)) = (canary.outcome, canary.result) {
                    return (outcome, serde_json::from_str(&result).unwrap());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("the canary ends")
    }

    #[tokio::test]
    async fn a_canary_that_fails_is_ended_and_that_is_written_down() {
        let (test, log, canary) = fixture(&RULES).await;
        for _ in 0..200 {
            call(&log, canary.active_version_id, 200, 1000);
        }
        for _ in 0..19 {
            call(&log, canary.version_id, 500, 1000);
        }
        assert!(test.store.canary(test.app, &name("a")).await.unwrap().unwrap().ended_ms.is_none());
        call(&log, canary.version_id, 500, 1000);
        let (outcome, result) = ended(&test).await;
        let counted = |calls, failed, typical_fuel| Counted { calls, failed, typical_fuel };
        assert_eq!(outcome, "rolled-back");
        assert_eq!(result.reason.as_deref(), Some("faults"));
        assert_eq!((result.active, result.canary), (counted(200, 0, Some(1000)), counted(20, 20, None)));
        let filter = crate::store::audit::Filter::default();
        let audit = async {
            loop {
                let entries = test.store.audit_log(&filter, None, 10).await.unwrap();
                if let Some(entry) = entries.first().filter(|entry| entry.status == Some(204)) {
                    return entry.request.clone();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let entry = tokio::time::timeout(Duration::from_secs(20), audit).await.expect("it is written down");
        assert_eq!((&*entry.kind, &*entry.path), ("server", "/api/v1/apps/default/scripts/a/canary"));
        assert_eq!(log.publisher.canaries().counted(&canary), None);
    }

    #[tokio::test]
    async fn what_was_counted_survives_other_rules_and_is_kept_at_the_end() {
        let (test, log, canary) = fixture(&Rules { max_fuel_percent: None, ..RULES }).await;
        for _ in 0..40 {
            call(&log, canary.active_version_id, 200, 1000);
            call(&log, canary.version_id, 200, 2000);
        }
        // More fuel was allowed until now.
        test.store.put_canary(canary.version_id, &RULES).await.unwrap();
        log.publisher.publish().await.unwrap();
        assert_eq!(log.publisher.canaries().counted(&canary).unwrap().canary.calls, 40);
        call(&log, canary.version_id, 200, 2000);
        let (outcome, result) = ended(&test).await;
        assert_eq!((&*outcome, result.reason.as_deref()), ("rolled-back", Some("fuel")));

        let (test, log, canary) = fixture(&RULES).await;
        call(&log, canary.version_id, 200, 2000);
        let version = VersionId(canary.version_id);
        test.store.activate(version, &Precondition::default()).await.unwrap();
        log.publisher.publish().await.unwrap();
        let (outcome, result) = ended(&test).await;
        assert_eq!((&*outcome, result.reason, result.canary.calls), ("promoted", None, 1));
    }
}
