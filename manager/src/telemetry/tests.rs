//! Telemetry from the call to the file and back, and the records that other tests use.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use picloud_host::call::{AppId, Cost, Fault, LogLevel, LogLine, Position, ScriptRef, SourceHash, VersionId};
use picloud_host::ports::{RecordedError, SystemClock};
use picloud_host::problem::Code;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::store::execution::{self, Filter, Order, Page};
use crate::store::minute;

/// The app of all records.
pub(crate) const APP: AppId = AppId(7);

/// A record of a call that went well.
pub(crate) fn succeeded() -> ExecutionRecord {
    named("default", "hello")
}

/// A successful call of this script.
pub(crate) fn named(app: &str, script: &str) -> ExecutionRecord {
    let execution_id = Uuid::now_v7();
    ExecutionRecord {
        execution_id,
        root_execution_id: execution_id,
        parent_execution_id: None,
        trigger_depth: 0,
        script: Arc::new(ScriptRef {
            app_id: APP,
            app: app.into(),
            script: script.into(),
            version_id: VersionId(3),
            version: 1,
            source_hash: SourceHash([0; 32]),
        }),
        trigger: "http",
        started_ms: SystemClock.now_ms(),
        status: 200,
        error: None,
        cost: Cost {
            fuel: 12_345,
            memory_bytes: 1 << 20,
            queue_us: 10,
            sandbox_us: 200,
            commit_us: 30,
            reruns: 0,
        },
        http: Some(("GET".to_owned(), "/default/hello".to_owned())),
        request_id: Some("request".to_owned()),
        log: Vec::new(),
        log_dropped: 0,
    }
}

/// A record of a call whose script failed.
pub(crate) fn failed() -> ExecutionRecord {
    let mut record = succeeded();
    record.status = 500;
    record.error = Some(RecordedError {
        fault: Some(Fault::Script),
        code: Code::ScriptError,
        message: "Variable not found: x".to_owned(),
        position: Some(Position { line: 3, column: 9 }),
    });
    record
}

/// A successful call that logged these lines, at the given milliseconds after its start.
pub(crate) fn logged(lines: &[(u64, LogLevel, &str)]) -> ExecutionRecord {
    let mut record = succeeded();
    record.log = lines
        .iter()
        .map(|(at, level, message)| LogLine {
            at_ms: record.started_ms + at,
            level: *level,
            message: (*message).to_owned(),
        })
        .collect();
    record
}

/// Telemetry in a temporary folder.
pub(crate) struct Fixture {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) task: JoinHandle<()>,
    pub(crate) stop: CancellationToken,
    pub(crate) closing: CancellationToken,
    folder: TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::at(TempDir::new().unwrap(), settings).await
    }

    async fn at(folder: TempDir, settings: Settings) -> Self {
        let (stop, closing) = (CancellationToken::new(), CancellationToken::new());
        let (path, clock) = (folder.path().join("telemetry.db"), Arc::new(SystemClock));
        let (telemetry, task) = Telemetry::start(&path, settings, clock, stop.clone(), closing.clone()).await;
        Self { telemetry, task, stop, closing, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("telemetry.db")
    }

    async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.task.await.unwrap();
        self.telemetry.close().await;
        self.folder
    }

    async fn newest(&self, limit: u32) -> Vec<execution::Execution> {
        self.telemetry.flush(Pending::Records).await;
        let page = Page { after: None, limit, order: Order::Descending };
        execution::list(self.telemetry.database().unwrap(), APP, &Filter::default(), page).await.unwrap()
    }

    async fn calls(&self) -> minute::Usage {
        self.telemetry.flush(Pending::All).await;
        let database = self.telemetry.database().unwrap();
        minute::usage(database, APP, "hello", 0..u64::MAX, 1, Clone::clone).await.unwrap().total
    }
}

#[tokio::test]
async fn a_record_is_readable_at_once_and_whole() {
    let fixture = Fixture::new().await;
    let mut record = failed();
    record.log = logged(&[(1, LogLevel::Info, "line \"1\"\0"), (2, LogLevel::Warn, "ü")]).log;
    record.log_dropped = 4;
    fixture.telemetry.record(record.clone());
    fixture.telemetry.flush(Pending::Records).await;

    let database = fixture.telemetry.database().unwrap();
    let (found, log) = execution::get(database, APP, record.execution_id).await.unwrap().unwrap();
    assert_eq!(log, record.log);
    assert_eq!(found.cost, record.cost);
    assert_eq!((found.status, found.log_dropped, found.version), (500, 4, 1));
    assert_eq!((found.fault.as_deref(), found.code.as_deref()), (Some("script"), Some("script-error")));
    assert_eq!(found.position, Some(Position { line: 3, column: 9 }));
    assert_eq!(execution::get(database, AppId(8), record.execution_id).await.unwrap(), None, "another app");
}

#[tokio::test]
async fn nothing_is_asked_of_the_reader_to_see_records_soon() {
    let fixture = Fixture::new().await;
    let mut written = fixture.telemetry.written();
    fixture.telemetry.record(succeeded());
    tokio::time::timeout(Duration::from_secs(5), written.changed()).await.unwrap().unwrap();
    assert_eq!(fixture.telemetry.counters().kept, 1);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!written.has_changed().unwrap(), "nothing new, nothing written");
}

#[tokio::test]
async fn numbers_by_minute_are_exact_though_records_overflow() {
    let capacity = Capacity { records: 1000, bytes: 1 << 20, records_per_second: 100 };
    let fixture = Fixture::with(Settings { capacity, ..Settings::default() }).await;
    let calls = 40_000;
    let hammer = |make: fn() -> ExecutionRecord| {
        let telemetry = Arc::clone(&fixture.telemetry);
        tokio::task::spawn_blocking(move || (0..calls).for_each(|_| telemetry.record(make())))
    };
    let (one, two) = tokio::join!(hammer(succeeded), hammer(failed));
    one.and(two).unwrap();

    let usage = fixture.calls().await;
    assert_eq!((usage.calls, usage.faults.script), (2 * calls, calls));
    assert_eq!(usage.fuel.summary().sum, 2 * calls * 12_345);
    assert_eq!(usage.duration_us.summary().p99, 240);

    let counters = fixture.telemetry.counters();
    assert_eq!(counters.kept + counters.over_rate + counters.over_capacity, 2 * calls);
    assert!(counters.kept >= 100 && counters.over_rate > calls, "{counters:?}");
    let kept_failures = fixture.newest(200).await.iter().filter(|found| found.fault.is_some()).count();
    assert!(kept_failures >= 25, "{kept_failures}");
}

#[tokio::test]
async fn stopping_writes_what_is_left_and_a_restart_goes_on() {
    let fixture = Fixture::new().await;
    fixture.telemetry.record(succeeded());
    let telemetry = Arc::clone(&fixture.telemetry);
    let folder = fixture.stop().await;
    telemetry.record(succeeded());
    assert_eq!((telemetry.counters().kept, telemetry.counters().storage), (1, 1));
    telemetry.flush(Pending::All).await;

    let fixture = Fixture::at(folder, Settings::default()).await;
    assert_eq!(fixture.newest(10).await.len(), 1);
    fixture.telemetry.record(failed());
    assert_eq!(fixture.newest(10).await.len(), 2);
    let usage = fixture.calls().await;
    assert_eq!((usage.calls, usage.faults.script), (2, 1), "merged into the same minute");
}

#[tokio::test]
async fn the_file_stays_within_its_size_and_keeps_the_newest() {
    const BOUND: u64 = 2 << 20;
    let capacity = Capacity { records: 20_000, bytes: 32 << 20, records_per_second: 1_000_000 };
    let mut settings = Settings { capacity, ..Settings::default() };
    settings.bounds.file_bytes = BOUND;
    let fixture = Fixture::with(settings).await;
    for round in 0..20 {
        for number in 0..1000 {
            let mut record =
                if number % 10 == 0 { logged(&[(0, LogLevel::Info, &"x".repeat(2000))]) } else { failed() };
            record.request_id = Some(format!("{round}-{number}"));
            fixture.telemetry.record(record);
        }
        fixture.telemetry.flush(Pending::All).await;
    }
    assert_eq!(fixture.telemetry.counters().kept, 20_000);
    assert_eq!(fixture.newest(1).await[0].request_id.as_deref(), Some("19-999"));
    assert_eq!(fixture.calls().await.calls, 20_000, "the minutes outlive the records");
    let file = fixture.file();
    let folder = fixture.stop().await;
    let length = || std::fs::metadata(&file).unwrap().len();
    assert!(length() <= BOUND, "{} bytes", length());

    // A smaller bound shrinks the file with the next record.
    settings.bounds.file_bytes = BOUND / 2;
    let fixture = Fixture::at(folder, settings).await;
    fixture.telemetry.record(succeeded());
    assert_eq!(fixture.newest(200).await.len(), 200);
    let _folder = fixture.stop().await;
    assert!(length() <= BOUND / 2, "{} bytes", length());
}

#[tokio::test]
async fn old_records_go_when_new_ones_come() {
    let fixture = Fixture::new().await;
    let mut old = succeeded();
    old.started_ms -= 8 * DAY_MS;
    let mut ancient = succeeded();
    ancient.started_ms -= 31 * DAY_MS;
    [old, ancient].into_iter().for_each(|record| fixture.telemetry.record(record));
    assert_eq!(fixture.newest(10).await.len(), 2);
    assert_eq!(fixture.calls().await.calls, 1, "a minute has 30 days, a record 7");
    fixture.telemetry.record(succeeded());
    assert_eq!(fixture.newest(10).await.len(), 1);
    assert_eq!(fixture.calls().await.calls, 2);
}

#[tokio::test]
async fn a_record_that_would_drive_out_all_others_is_not_kept() {
    let mut settings = Settings::default();
    settings.bounds.file_bytes = 1 << 20;
    let fixture = Fixture::with(settings).await;
    fixture.telemetry.record(succeeded());
    // Each of these bytes becomes six in JSON.
    fixture.telemetry.record(logged(&[(0, LogLevel::Info, &"\u{1}".repeat(100_000))]));
    fixture.telemetry.record(succeeded());
    assert_eq!(fixture.newest(10).await.len(), 2);
    assert_eq!(fixture.telemetry.counters().over_capacity, 1);
    assert_eq!(fixture.calls().await.calls, 3);
}

#[tokio::test]
async fn failing_storage_is_counted_and_loses_no_numbers() {
    let fixture = Fixture::new().await;
    fixture.telemetry.database().unwrap().write.close().await;
    (0..3).for_each(|_| fixture.telemetry.record(succeeded()));
    fixture.telemetry.flush(Pending::All).await;
    fixture.telemetry.record(failed());
    fixture.telemetry.flush(Pending::All).await;
    let counters = fixture.telemetry.counters();
    assert_eq!((counters.kept, counters.storage, counters.waiting), (0, 4, 0));
    let waiting: u64 = fixture.telemetry.lock().rollups.iter().map(|(_, samples)| samples.calls()).sum();
    assert_eq!((waiting, counters.uncounted), (4, 0), "they wait for better times");
}
