//! Those who follow a call: they are told that something about it has become durable, and look for themselves what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many may follow at once: each holds a connection.
const MOST: usize = 1000;

/// How many of them may follow the same call: whoever has the key to one must not take all the room.
const MOST_OF_ONE: usize = 16;

/// Everybody who follows a call.
#[derive(Debug, Default)]
pub struct Followers {
    calls: Mutex<HashMap<Uuid, watch::Sender<()>>>,
    /// Lets them go when the server stops.
    closing: CancellationToken,
}

/// One who follows, until it is dropped.
#[derive(Debug)]
pub struct Following {
    followers: Arc<Followers>,
    id: Uuid,
    /// None only while it is dropped.
    news: Option<watch::Receiver<()>>,
}

impl Followers {
    /// Nobody yet. All are let go when `closing` is cancelled.
    #[must_use]
    pub fn new(closing: CancellationToken) -> Self {
        Self { calls: Mutex::default(), closing }
    }

    /// Follow a call. None when too many follow one already.
    #[must_use]
    pub fn follow(self: &Arc<Self>, id: Uuid) -> Option<Following> {
        let mut calls = self.lock();
        if calls.values().map(watch::Sender::receiver_count).sum::<usize>() >= MOST {
            return None;
        }
        if calls.get(&id).is_some_and(|news| news.receiver_count() >= MOST_OF_ONE) {
            return None;
        }
        let news = calls.entry(id).or_insert_with(|| watch::Sender::new(())).subscribe();
        Some(Following { followers: self.clone(), id, news: Some(news) })
    }

    /// Something about these calls has become durable.
    pub(crate) fn tell(&self, ids: &[Uuid]) {
        let calls = self.lock();
        if calls.is_empty() {
            return;
        }
        for news in ids.iter().filter_map(|id| calls.get(id)) {
            news.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<()>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    /// Wait for news since the last wait, or since the beginning. False when the server stops.
    pub async fn changed(&mut self) -> bool {
        let Some(news) = &mut self.news else { return false };
        tokio::select! {
            told = news.changed() => told.is_ok(),
            () = self.followers.closing.cancelled() => false,
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut calls = self.followers.lock();
        self.news = None;
        if calls.get(&self.id).is_some_and(|news| news.receiver_count() == 0) {
            calls.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_follows_misses_nothing_and_leaves_nothing() {
        let followers = Arc::new(Followers::default());
        let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
        let mut one = followers.follow(id).unwrap();
        let mut two = followers.follow(id).unwrap();
        followers.tell(&[other, id]);
        followers.tell(&[other]);
        assert!(one.changed().await && two.changed().await);
        drop(one);
        followers.tell(&[id]);
        assert!(two.changed().await);
        drop(two);
        assert!(followers.lock().is_empty());
    }

    #[tokio::test]
    async fn there_is_a_bound_and_an_end() {
        let closing = CancellationToken::new();
        let followers = Arc::new(Followers::new(closing.clone()));
        let id = Uuid::now_v7();
        let mut all: Vec<_> = (0..MOST_OF_ONE).map(|_| followers.follow(id).unwrap()).collect();
        assert!(followers.follow(id).is_none(), "one call does not take all the room");
        all.extend((MOST_OF_ONE..MOST).map(|_| followers.follow(Uuid::now_v7()).unwrap()));
        assert!(followers.follow(Uuid::now_v7()).is_none());
        closing.cancel();
        assert!(!all[0].changed().await);
        all.remove(0);
        assert!(followers.follow(id).is_some());
    }
}
