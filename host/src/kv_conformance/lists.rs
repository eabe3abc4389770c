//! Ranges: order, pages, prefixes, and what is not durable yet.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::{APP, Dice, Faulty, Tx, delete, is_conflict, json, nothing, poll_once, range, set, start, tiny};
use crate::ports::{KeyRange, Kv, Page};
use crate::sequencer::{KvBackend, Sequencer};

pub async fn a_phantom_conflicts<B: KvBackend>(backend: B) {
    let kv = start(backend);
    set(&*kv, "p/1", "1").await;
    set(&*kv, "q/1", "1").await;
    let changes: [(&str, bool, bool); 6] = [
        ("p/0", true, true),
        ("p/1", true, true),
        ("p/1", false, true),
        ("p/none", false, true),
        ("q/1", true, false),
        ("p", true, false),
    ];
    for (key, sets, conflicts) in changes {
        let mut writer = Tx::begin(&*kv, APP).set("seen", "1");
        writer.list("p/").await;
        if sets {
            set(&*kv, key, "2").await
        } else {
            delete(&*kv, key).await
        };
        assert_eq!(is_conflict(&writer.commit().await), conflicts, "{key}");
    }
    // What lies behind the part that was read does not matter.
    let mut writer = Tx::begin(&*kv, APP).set("seen", "1");
    let part = KeyRange { until: Some("p/5".into()), ..range("p/") };
    writer.transaction.ranges.push(part.clone());
    set(&*kv, "p/6", "1").await;
    writer.commit().await.unwrap();
    let mut writer = Tx::begin(&*kv, APP).set("seen", "1");
    writer.transaction.ranges.push(part);
    set(&*kv, "p/5", "1").await;
    assert!(is_conflict(&writer.commit().await));
}

pub async fn pages_say_if_there_is_more<B: KvBackend>(backend: B) {
    let kv = Sequencer::start(backend, 0, tiny());
    for n in 0..10 {
        set(&kv, &format!("k{n}"), "12345678").await;
    }
    for (entries, bytes, expected) in [
        (1, 1 << 20, 1),
        (9, 1 << 20, 9),
        (10, 1 << 20, 10),
        (11, 1 << 20, 10),
        // Each entry has ten bytes; the one that goes over is still on the page.
        (10, 0, 1),
        (10, 9, 1),
        (10, 10, 2),
        (10, 89, 9),
        (10, 90, 10),
    ] {
        let page = kv.list(APP, &range("k"), Page { entries, bytes }).await.unwrap();
        assert_eq!(
            (page.entries.len(), page.more),
            (expected, expected < 10),
            "{entries} entries, {bytes} bytes"
        );
    }
    let nothing = kv.list(APP, &range("l"), Page { entries: 1, bytes: 0 }).await.unwrap();
    assert!(nothing.entries.is_empty() && !nothing.more);
    let past = KeyRange { after: Some("k9".into()), ..range("k") };
    assert!(kv.list(APP, &past, Page { entries: 1, bytes: 0 }).await.unwrap().entries.is_empty());
}

const ODD_KEYS: [&str; 24] = [
    "%",
    "%a",
    "_",
    "_a",
    "'",
    "''; drop table kv; --",
    "\"",
    "\\",
    "[",
    "]*?",
    "a",
    "A",
    "ä",
    "a\u{308}",
    "a\0",
    "a\0b",
    "\0",
    " ",
    "\u{d7ff}",
    "\u{d7ff}x",
    "\u{e000}",
    "\u{ffff}",
    "\u{10ffff}",
    "\u{10ffff}\u{10ffff}x",
];

pub async fn prefixes_take_every_character<B: KvBackend>(backend: B) {
    let kv = Sequencer::start(backend, 0, tiny());
    for key in ODD_KEYS {
        set(&kv, key, &format!("{key:?}")).await;
    }
    let mut sorted = ODD_KEYS;
    sorted.sort_unstable();
    for prefix in ODD_KEYS.into_iter().chain([""]) {
        let expected: Vec<&str> = sorted.into_iter().filter(|key| key.starts_with(prefix)).collect();
        let listed = Tx::begin(&kv, APP).list(prefix).await;
        assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), expected, "{prefix:?}");
        assert!(listed.iter().all(|(key, value)| *value == format!("{key:?}")));
    }
    for key in ODD_KEYS {
        assert_eq!(Tx::begin(&kv, APP).text(key).await, Some(format!("{key:?}")));
        delete(&kv, key).await;
    }
    assert!(Tx::begin(&kv, APP).list("").await.is_empty());
}

pub async fn slots_hide_and_add_rows<B: KvBackend>(backend: B) {
    let faulty = Faulty::over(backend);
    let kv = Sequencer::start(Arc::clone(&faulty), 0, tiny());
    for key in ["a", "b", "c", "d", "e"] {
        set(&kv, key, "1").await;
    }
    let gate = faulty.gate.lock().await;
    let mut transaction = nothing(APP);
    transaction.writes = ["a", "b", "c"].map(|key| (key.into(), None)).to_vec();
    transaction.writes.extend(["bb", "d", "f"].map(|key| (key.into(), Some(json("2")))));
    let mut commit = pin!(kv.commit(transaction));
    assert!(poll_once(&mut commit).await.is_pending());
    let expected = [("bb", "2"), ("d", "2"), ("e", "1"), ("f", "2")];
    for entries in 1..6 {
        let mut after = None;
        let mut seen = Vec::new();
        loop {
            let range = KeyRange { after: after.clone(), ..range("") };
            let page = kv.list(APP, &range, Page { entries, bytes: 1 << 20 }).await.unwrap();
            assert!(page.entries.len() <= entries && (!page.more || page.entries.len() == entries));
            after = page.entries.last().map(|(key, _)| Arc::clone(key));
            seen.extend(page.entries.iter().map(|(key, entry)| (key.to_string(), super::text_of(entry))));
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    drop(gate);
    commit.await.unwrap();
    let listed = Tx::begin(&kv, APP).list("").await;
    assert_eq!(listed, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

/// Random writes, awaited or not, against a map; pages of random sizes from random ranges must be the map's.
pub async fn lists_agree_with_a_model<B: KvBackend>(backend: B) {
    let kv = Sequencer::start(backend, 0, tiny());
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    let mut dice = Dice(0x5eed);
    let keys = ["a", "aa", "ab", "ab\u{10ffff}", "b", "ba", "bb", "c", "\u{d7ff}", "\u{e000}"];
    let mut open = Vec::new();
    for round in 0..1_500 {
        let key = *dice.pick(&keys);
        let mut transaction = nothing(APP);
        if dice.roll(3) == 0 {
            model.remove(key);
            transaction.writes.push((key.into(), None));
        } else {
            let value = round.to_string();
            transaction.writes.push((key.into(), Some(json(&value))));
            model.insert(key.to_owned(), value);
        }
        let mut commit = kv.commit(transaction);
        match poll_once(&mut commit).await {
            Poll::Ready(done) => drop(done.unwrap()),
            Poll::Pending if dice.roll(2) == 0 => open.push(commit),
            Poll::Pending => drop(commit.await.unwrap()),
        }
        let after = (dice.roll(2) == 0).then(|| Arc::from(*dice.pick(&keys)));
        let range = KeyRange { after, ..range(dice.pick::<&str>(&["", "a", "ab", "b", "\u{d7ff}", "z"])) };
        let page = Page { entries: usize::try_from(dice.roll(6) + 1).unwrap(), bytes: 1 << 20 };
        let listed = kv.list(APP, &range, page).await.unwrap();
        let all: Vec<_> = model.iter().filter(|(key, _)| range.contains(key)).collect();
        let got: Vec<_> =
            listed.entries.iter().map(|(key, entry)| (key.to_string(), super::text_of(entry))).collect();
        let expected: Vec<_> =
            all.iter().take(page.entries).map(|(k, v)| ((*k).clone(), (*v).clone())).collect();
        assert_eq!(got, expected, "round {round}, {range:?}");
        // What is hidden by deletions that are not durable may count as more.
        assert!(listed.more || all.len() <= page.entries, "round {round}, {range:?}");
        assert!(!listed.more || listed.entries.len() == page.entries, "round {round}, {range:?}");
    }
    for commit in open {
        commit.await.unwrap();
    }
}
