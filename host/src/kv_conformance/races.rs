//! Many tasks at once: what must hold however they interleave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{APP, Dice, Faulty, Tx, is_conflict, start, text, tiny};
use crate::ports::{CommitError, Kv};
use crate::sequencer::{KvBackend, Sequencer, SequencerOptions};

pub async fn increments_add_up<B: KvBackend>(backend: B) {
    let kv = start(backend);
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let kv = Arc::clone(&kv);
            tokio::spawn(async move {
                for _ in 0..50 {
                    while is_conflict(&increment(&*kv, "n").await) {}
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(text(&*kv, "n").await.as_deref(), Some("1600"));
}

pub async fn increment<K: Kv>(kv: &K, key: &str) -> Result<u64, CommitError> {
    let mut tx = Tx::begin(kv, APP);
    let sum = tx.text(key).await.map_or(0, |text| text.parse::<u64>().unwrap()) + 1;
    tx.set(key, &sum.to_string()).commit().await
}

pub async fn transfers_keep_the_sum<B: KvBackend>(backend: B) {
    transfers(Faulty::over(backend), false).await;
}

pub async fn transfers_keep_the_sum_when_writing_fails<B: KvBackend>(backend: B) {
    transfers(Faulty::over(backend), true).await;
}

const ACCOUNTS: u64 = 12;
const TOTAL: u64 = ACCOUNTS * 100;

/// Money goes from account to account; an account without money is deleted. Whoever adds the accounts up in a
/// transaction that commits must find the total, with a cache that holds about two of them and now and then a group
/// that cannot be written.
async fn transfers<B: KvBackend>(faulty: Arc<Faulty<B>>, failures: bool) {
    let kv = Arc::new(Sequencer::start(Arc::clone(&faulty), 0, tiny()));
    let mut tx = Tx::begin(&*kv, APP);
    for account in 0..ACCOUNTS {
        tx = tx.set(&format!("account/{account:02}"), "100");
    }
    tx.commit().await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let committed = Arc::new(AtomicU64::new(0));

    let movers: Vec<_> = (1..=8)
        .map(|seed| {
            let (kv, committed) = (Arc::clone(&kv), Arc::clone(&committed));
            tokio::spawn(async move {
                let mut dice = Dice(seed * 7919);
                for _ in 0..150 {
                    if let Ok(number) = transfer(&*kv, &mut dice).await {
                        committed.fetch_max(number, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    let auditor = tokio::spawn({
        let (kv, done) = (Arc::clone(&kv), Arc::clone(&done));
        async move {
            let mut audits = 0;
            while !done.load(Ordering::SeqCst) {
                audits += usize::from(audit(&*kv).await);
                tokio::task::yield_now().await;
            }
            audits
        }
    });
    let saboteur = tokio::spawn({
        let (faulty, done) = (Arc::clone(&faulty), Arc::clone(&done));
        async move {
            while failures && !done.load(Ordering::SeqCst) {
                faulty.fail(true);
                tokio::time::sleep(std::time::Duration::from_micros(300)).await;
                faulty.fail(false);
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            }
        }
    });
    for mover in movers {
        mover.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    saboteur.await.unwrap();
    auditor.await.unwrap();
    assert!(audit(&*kv).await);
    kv.close().await;

    // What the store holds is what was in memory.
    let again = Sequencer::start(faulty, committed.load(Ordering::SeqCst), SequencerOptions::default());
    assert!(audit(&again).await);
    assert_eq!(Tx::begin(&again, APP).list("").await, Tx::begin(&*kv, APP).list("").await);
}

async fn transfer<K: Kv>(kv: &K, dice: &mut Dice) -> Result<u64, CommitError> {
    let from = format!("account/{:02}", dice.roll(ACCOUNTS));
    let to = format!("account/{:02}", dice.roll(ACCOUNTS));
    if from == to {
        return Err(CommitError::Conflict);
    }
    let mut tx = Tx::begin(kv, APP);
    let balance = |text: Option<String>| text.map_or(0, |text| text.parse::<u64>().unwrap());
    let has = balance(tx.text(&from).await);
    let had = balance(tx.text(&to).await);
    let amount = if dice.roll(3) == 0 { has } else { has.min(dice.roll(50)) };
    tx = if has == amount { tx.delete(&from) } else { tx.set(&from, &(has - amount).to_string()) };
    tx = if had + amount == 0 { tx.delete(&to) } else { tx.set(&to, &(had + amount).to_string()) };
    tx.commit().await
}

/// Whether the transaction committed; panics when it did with the wrong sum.
async fn audit<K: Kv>(kv: &K) -> bool {
    let mut tx = Tx::begin(kv, APP);
    let accounts = tx.list("account/").await;
    let sum: u64 = accounts.iter().map(|(_, text)| text.parse::<u64>().unwrap()).sum();
    let committed = tx.commit().await.is_ok();
    assert!(!committed || sum == TOTAL, "{sum} in {accounts:?}");
    committed
}
