//! Tests of scripts and versions in the store.

use std::sync::Arc;

use picloud_host::call::{AppId, SourceHash, VersionId};
use picloud_host::limits::Limits;
use picloud_host::ports::Scripts as _;
use picloud_host::quota::Quotas;

use crate::store::script::{Put, Script, Upload};
use crate::store::testing::{TestStore, name, upload};
use crate::store::{ChangeError, Precondition, Tag, Tags};

impl TestStore {
    async fn put(&self, script: &str, source: &str) -> (Put, Script) {
        self.put_if(script, source, &Precondition::default()).await.unwrap()
    }

    async fn put_if(
        &self,
        script: &str,
        source: &str,
        if_: &Precondition,
    ) -> Result<(Put, Script), ChangeError> {
        self.store.put_script(self.app, &name(script), &upload(source), if_).await
    }

    async fn version_id(&self, script: &str, number: u32) -> VersionId {
        VersionId(self.store.version(self.app, &name(script), number).await.unwrap().unwrap().id)
    }
}

fn create_only() -> Precondition {
    Precondition { if_none_match: Some(Tags::Any), ..Default::default() }
}

fn if_match(source: &str) -> Precondition {
    let tag = Tag { weak: false, value: SourceHash::of(source).to_hex() };
    Precondition { if_match: Some(Tags::List(vec![tag])), ..Default::default() }
}

#[tokio::test]
async fn each_new_source_is_a_version_and_the_active_source_again_is_not() {
    let test = TestStore::new().await;
    let (put, first) = test.put("hello", "1").await;
    assert_eq!((put, first.version, first.source_bytes), (Put::Created, 1, 1));
    test.clock.advance(5);
    let (put, second) = test.put("hello", "22é").await;
    assert_eq!((put, second.version, second.source_bytes), (Put::Replaced, 2, 4));
    assert_eq!((second.created_ms, second.updated_ms), (first.created_ms, first.created_ms + 5));
    test.clock.advance(5);
    assert_eq!(test.put("hello", "22é").await, (Put::Unchanged, second.clone()));
    // The source of an older version is a new version: the order of versions is the order of uploads.
    let (put, third) = test.put("hello", "1").await;
    assert_eq!((put, third.version, &third.source_hash), (Put::Replaced, 3, &first.source_hash));
    let numbers: Vec<_> = test
        .store
        .versions(test.app, &name("hello"), None, 9)
        .await
        .unwrap()
        .iter()
        .map(|v| v.number)
        .collect();
    assert_eq!(numbers, [3, 2, 1]);
}

#[tokio::test]
async fn preconditions_guard_every_change() {
    let test = TestStore::new().await;
    assert!(matches!(test.put_if("a", "1", &if_match("1")).await, Err(ChangeError::Precondition)));
    test.put_if("a", "1", &create_only()).await.unwrap();
    assert!(matches!(test.put_if("a", "2", &create_only()).await, Err(ChangeError::Precondition)));
    assert!(matches!(test.put_if("a", "2", &if_match("0")).await, Err(ChangeError::Precondition)));
    test.put_if("a", "2", &if_match("1")).await.unwrap();

    let first = test.version_id("a", 1).await;
    assert!(matches!(test.store.activate(first, &if_match("1")).await, Err(ChangeError::Precondition)));
    assert_eq!(test.store.activate(first, &if_match("2")).await.unwrap().version, 1);

    let delete = async |if_: Precondition| test.store.delete_script(test.app, &name("a"), &if_).await;
    assert!(matches!(delete(if_match("2")).await, Err(ChangeError::Precondition)));
    delete(if_match("1")).await.unwrap();
    assert!(matches!(delete(Precondition::default()).await, Err(ChangeError::NoScript)));
}

#[tokio::test]
async fn of_many_that_create_at_once_one_wins() {
    let test = Arc::new(TestStore::new().await);
    let tasks: Vec<_> = (0..16)
        .map(|n: u32| {
            let test = test.clone();
            tokio::spawn(async move { test.put_if("a", &n.to_string(), &create_only()).await.is_ok() })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += u32::from(task.await.unwrap());
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn uploads_at_once_get_a_number_each() {
    let test = Arc::new(TestStore::new().await);
    let tasks: Vec<_> = (0..16)
        .map(|n: u32| {
            let test = test.clone();
            tokio::spawn(async move { test.put("a", &n.to_string()).await.1.version })
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_older_version_is_activated_and_the_next_number_is_still_new() {
    let test = TestStore::new().await;
    test.put("a", "1").await;
    test.put("a", "2").await;
    test.store.activate(test.version_id("a", 1).await, &Precondition::default()).await.unwrap();
    assert_eq!(test.store.script(test.app, &name("a")).await.unwrap().unwrap().version, 1);
    assert_eq!(test.store.source_of(test.app, &name("a"), None).await.unwrap().unwrap().source, "1");
    let versions = test.store.versions(test.app, &name("a"), None, 9).await.unwrap();
    assert_eq!(versions.iter().map(|v| (v.number, v.active)).collect::<Vec<_>>(), [(2, false), (1, true)]);
    assert_eq!(test.put("a", "3").await.1.version, 3);
}

#[tokio::test]
async fn a_deleted_version_never_comes_back_with_another_source() {
    let test = TestStore::new().await;
    test.put("a", "old").await;
    let old = test.version_id("a", 1).await;
    assert_eq!(test.store.source(old).await.unwrap().as_deref(), Some("old"));
    test.store.delete_script(test.app, &name("a"), &Precondition::default()).await.unwrap();
    assert_eq!(test.put("a", "new").await.1.version, 1);
    assert_eq!(test.store.source(old).await.unwrap(), None);
    assert!(matches!(test.store.activate(old, &Precondition::default()).await, Err(ChangeError::NoVersion)));
}

#[tokio::test]
async fn an_app_that_is_gone_is_named_as_the_reason() {
    let test = TestStore::new().await;
    let result = test.store.put_script(AppId(999), &name("a"), &upload("1"), &Precondition::default()).await;
    assert!(matches!(result, Err(ChangeError::NoApp)));
}

#[tokio::test]
async fn lists_go_on_where_they_stopped() {
    let test = TestStore::new().await;
    for script in ["b", "d", "a", "c"] {
        test.put(script, "1").await;
    }
    let list = async |after: Option<&str>| {
        let scripts = test.store.scripts(test.app, after.map(name).as_ref(), 2).await.unwrap();
        scripts.into_iter().map(|script| script.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(None).await, "a b");
    // The cursor does not have to exist any more.
    test.store.delete_script(test.app, &name("b"), &Precondition::default()).await.unwrap();
    assert_eq!(list(Some("b")).await, "c d");
    assert_eq!(list(Some("d")).await, "");
    assert_eq!(test.store.versions(test.app, &name("a"), Some(1), 9).await.unwrap(), []);
}

#[tokio::test]
async fn the_active_set_has_every_app_and_each_active_version() {
    let test = TestStore::new().await;
    let empty = test.store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
    assert_eq!(empty.apps["default"].scripts.len(), 0);
    test.put("a", "1").await;
    test.put("a", "2").await;
    test.put("b", "3").await;
    let set = test.store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
    let app = &set.apps["default"];
    assert_eq!((app.id, app.scripts.len()), (test.app, 2));
    let script = &app.scripts["a"].script;
    assert_eq!((&*script.app, &*script.script, script.version), ("default", "a", 2));
    assert_eq!(script.version_id, test.version_id("a", 2).await);
    assert_eq!(script.source_hash, SourceHash::of("2"));
    assert!(app.scripts["a"].handles_requests && !app.scripts["a"].handles_events);
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let test = TestStore::new().await;
    let (_, script) = test.put("a", "\0 odd \u{feff}\r\n").await;
    let test = test.reopen().await;
    assert_eq!(test.store.script(test.app, &name("a")).await.unwrap(), Some(script));
    assert_eq!(
        test.store.source_of(test.app, &name("a"), Some(1)).await.unwrap().unwrap().source,
        "\0 odd \u{feff}\r\n"
    );
}

#[tokio::test]
async fn of_many_versions_the_oldest_go() {
    let test = TestStore::new().await;
    let none = Precondition::default();
    let put = async |source: String, keep: u64| {
        let upload = Upload { keep: Some(keep), message: Some(source.clone()), ..upload(&source) };
        test.store.put_script(test.app, &name("a"), &upload, &none).await.unwrap().1.version
    };
    let numbers = async || {
        let versions = test.store.versions(test.app, &name("a"), None, 100).await.unwrap();
        versions.iter().map(|version| version.number).collect::<Vec<_>>()
    };
    for number in 1..=5 {
        assert_eq!(put(number.to_string(), 3).await, number);
    }
    assert_eq!(numbers().await, [5, 4, 3]);
    let third = test.store.version(test.app, &name("a"), 3).await.unwrap().unwrap();
    assert_eq!(third.message.as_deref(), Some("3"));
    test.store.activate(VersionId(third.id), &none).await.unwrap();
    assert_eq!(put("6".to_owned(), 1).await, 6, "the number goes on");
    assert_eq!(numbers().await, [6]);
    let before = test.store.version(test.app, &name("a"), 6).await.unwrap().unwrap();
    put("7".to_owned(), 5).await;
    test.store.activate(VersionId(before.id), &none).await.unwrap();
    put("8".to_owned(), 2).await;
    assert_eq!(numbers().await, [8, 7]);
}
