//! Old files, full files, and files that are none of ours.

use std::path::PathBuf;

use picloud_host::event::EventOp;
use tempfile::TempDir;

use super::*;
use crate::store::testing::{TestStore, event, insert, name, upload};
use crate::store::{Database, Durability, Precondition, Store};

const SILENT: Watch<'static> = &|_, _, _| {};

/// A file with the schema of an older PiCloud.
async fn old(folder: &TempDir, migrator: &Migrator, schema: i64, rows: &str) -> PathBuf {
    let file = folder.path().join("old.db");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true).foreign_keys(true);
    let mut connection = options.connect().await.unwrap();
    migrator.run_to(schema, &mut connection).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    file
}

/// Do what PiCloud never does.
async fn meddle(file: &Path, statement: &'static str) {
    let mut connection = open(file).await.unwrap();
    sqlx::query("pragma foreign_keys = off").execute(&mut connection).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn numbers(file: &Path, query: &'static str) -> Vec<i64> {
    let mut connection = open(file).await.unwrap();
    let numbers = sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    numbers
}

fn rows_of(migrated: &Migrated, table: &str) -> u64 {
    migrated.tables.iter().find(|contents| contents.table == table).unwrap().rows
}

/// Why a file is refused.
async fn refused(file: &Path) -> String {
    let new = file.with_file_name("refused.db");
    let error = migrate(file, &new, SILENT).await.unwrap_err();
    format!("{error:#}")
}

#[tokio::test]
async fn a_file_of_an_old_picloud_gets_the_newest_schema_with_all_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "insert into app (id, name, created_ms) values (1, 'default', 5), (7, 'gone', 5);
                delete from app where id = 7;
                insert into token (name, hash, created_ms) values ('admin', x'0102', 6);
                insert into kv (app_id, key, kind, json, version) values (1, 'ab', 'json', '123', 3);
                update commit_number set value = 3";
    let file = old(&folder, &MIGRATOR, 8, rows).await;
    let new = folder.path().join("new.db");
    let migrated = migrate(&file, &new, SILENT).await.unwrap();
    let newest = MIGRATOR.iter().last().unwrap().version;
    assert_eq!((migrated.kind, migrated.old_schema, migrated.schema), (Kind::Main, 8, newest));
    assert_eq!((rows_of(&migrated, "kv"), rows_of(&migrated, "principal")), (1, 1));
    assert_eq!(numbers(&new, "select kv_bytes from app_usage").await, [5], "triggers count on from there");
    assert_eq!(numbers(&new, "select value from commit_number").await, [3]);
    assert_eq!(numbers(&new, "select seq from sqlite_sequence where name = 'app'").await, [7]);

    let database = Database::open(&new, Durability::Full, &MIGRATOR).await.unwrap();
    let clock = std::sync::Arc::new(picloud_host::ports::SystemClock);
    let store = Store::open(database.clone(), clock).await.unwrap();
    assert!(store.app_id(&name("default")).await.unwrap().is_some());
    database.close().await;
}

#[tokio::test]
async fn telemetry_of_an_old_picloud_is_known_by_its_tables_and_can_shrink_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.db");
    let rows = "insert into execution (id, root_id, trigger_depth, app_id, script, version, trigger_kind, started_ms,
                    status, fuel, memory_bytes, queue_us, sandbox_us, commit_us, reruns, log_dropped)
                values (x'01', x'01', 0, 1, 's', 1, 'http', 5, 200, 9, 9, 9, 9, 9, 0, 0)";
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut connection =
        options.auto_vacuum(sqlx::sqlite::SqliteAutoVacuum::Incremental).connect().await.unwrap();
    TELEMETRY_MIGRATOR.run_to(1, &mut connection).await.unwrap();
    sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let new = folder.path().join("new.db");
    let migrated = migrate(&file, &new, SILENT).await.unwrap();
    assert_eq!(
        (migrated.kind, migrated.old_schema, rows_of(&migrated, "execution")),
        (Kind::Telemetry, 1, 1)
    );
    assert_eq!(numbers(&new, "select count(*) from execution where parent_id is null").await, [1]);
    assert_eq!(numbers(&new, "pragma auto_vacuum").await, [2]);
}

#[tokio::test]
async fn a_full_file_is_the_same_in_a_new_one_and_smaller() {
    let test = TestStore::new().await;
    let source = "x".repeat(500_000);
    for script in ["a", "b"] {
        let none = Precondition::default();
        test.store.put_script(test.app, &name(script), &upload(&source), &none).await.unwrap();
    }
    let events: Vec<EventOp> = (0..1000).map(|n| insert(&event(&format!("queue/{}", n % 7)))).collect();
    test.apply(events).await;
    sqlx::query("delete from script where name = 'b'").execute(&test.database.write).await.unwrap();
    test.database.close().await;

    let (old, new) = (test.path(), test.path().with_file_name("new.db"));
    let steps = std::sync::Mutex::new(Vec::new());
    let watch = |_: &str, done, of| steps.lock().unwrap().push((done, of));
    let migrated = migrate(&old, &new, &watch).await.unwrap();
    assert_eq!((rows_of(&migrated, "event"), rows_of(&migrated, "script")), (1000, 1));
    assert!(rows_of(&migrated, "sqlite_sequence") > 0);
    let size = |file: &Path| std::fs::metadata(file).unwrap().len();
    assert!(size(&new) + 400_000 < size(&old), "{} and {}", size(&new), size(&old));
    let steps = steps.into_inner().unwrap();
    assert!(
        steps.is_sorted() && steps.last().is_some_and(|(done, of)| done == of && *of > 2000),
        "{steps:?}"
    );
    let again = migrate(&old, &new, SILENT).await.unwrap_err();
    assert!(format!("{again:#}").contains("output file already exists"), "nothing is replaced: {again:#}");
}

#[tokio::test]
async fn what_is_none_of_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.db");
    std::fs::write(&text, "no database at all, but long enough to be looked at ".repeat(100)).unwrap();
    assert!(refused(&text).await.contains("cannot be read as a database"), "{}", refused(&text).await);
    let other =
        old(&folder, &Migrator::with_migrations(Vec::new()), 0, "create table app (id integer)").await;
    // Its own table of migrations came with `run_to`, so it looks like ours.
    meddle(&other, "drop table _sqlx_migrations").await;
    assert!(refused(&other).await.contains("none of PiCloud's"), "{}", refused(&other).await);
}

#[tokio::test]
async fn what_is_not_as_we_have_made_it_is_refused() {
    let newest = MIGRATOR.iter().last().unwrap().version;
    for (change, why) in [
        (
            "update _sqlx_migrations set version = 9999 where version = 1",
            "a newer PiCloud: its schema is 9999",
        ),
        (
            "update _sqlx_migrations set checksum = x'00' where version = 2",
            "none that a release of PiCloud has: 2",
        ),
        ("create table notes (text text)", "its table `notes` is none of PiCloud's"),
        ("drop index kv_expires", "its index `kv_expires` is missing"),
        ("drop trigger kv_added", "its trigger `kv_added` is missing"),
        ("alter table app add column colour text", "its table `app` is none of PiCloud's"),
        ("insert into kv (app_id, key, kind, version) values (99, 'a', 'json', 1)", "rows of the table `kv`"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = old(&folder, &MIGRATOR, newest, "").await;
        meddle(&file, change).await;
        let error = refused(&file).await;
        assert!(error.contains(why), "{change}: {error}");
        assert!(!file.with_file_name("refused.db").exists(), "{change}");
    }
}

#[tokio::test]
async fn a_damaged_page_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "insert into app (id, name, created_ms) values (1, 'default', 5);
                insert into kv (app_id, key, kind, json, version)
                with recursive n (i) as (select 1 union all select i + 1 from n where i < 5000)
                select 1, 'key' || i, 'json', hex(randomblob(50)), 1 from n";
    let newest = MIGRATOR.iter().last().unwrap().version;
    let file = old(&folder, &MIGRATOR, newest, rows).await;
    let mut bytes = std::fs::read(&file).unwrap();
    let page = bytes.len() - 3 * 4096;
    bytes[page..page + 64].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    let error = refused(&file).await;
    assert!(error.contains("it is damaged"), "{error}");
}

#[tokio::test]
async fn one_changed_value_is_a_difference() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "create table t (a, b); insert into t values (1, 'x'), ('1', x'78'), (1.0, null), ('1x', '')";
    let file = old(&folder, &Migrator::with_migrations(Vec::new()), 0, rows).await;
    let mut connection = open(&file).await.unwrap();
    let one = contents::read(&mut connection, &|_, _| ()).await.unwrap();
    assert_eq!((one[0].rows, one[0].bytes), (4, 8 + 1 + 1 + 1 + 8 + 2));
    assert_eq!(contents::difference(&one, &one), None);
    assert_eq!(contents::difference(&one, &[]), Some("t"));
    for change in [
        "update t set b = x'78' where a is 1",
        "update t set a = '1', b = 'x' where a is '1x'",
        "update t set a = 1.5 where b is null",
        "update t set a = 2 where a is 1 and typeof(a) = 'integer'",
        "delete from t where a is '1x'",
        "insert into t values (null, null)",
    ] {
        sqlx::query("begin").execute(&mut connection).await.unwrap();
        let changed = sqlx::query(change).execute(&mut connection).await.unwrap();
        assert!(changed.rows_affected() > 0, "{change}");
        let other = contents::read(&mut connection, &|_, _| ()).await.unwrap();
        assert_eq!(contents::difference(&one, &other), Some("t"), "{change}");
        sqlx::query("rollback").execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}
