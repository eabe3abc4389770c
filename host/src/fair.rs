//! Permits that apps share: one that is free goes to the app that holds the fewest of those that wait for one. Of apps that
//! hold as many, to the one whose turn it is: start-time fair queueing (P. Goyal, H. M. Vin and H. Cheng, 1996) with every
//! turn of the same cost. In an app it goes by the order of arrival.
//!
//! So somebody who is alone in an app waits for as many others as there are apps, however many wait in one of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::call::AppId;

/// So many permits. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct FairSemaphore(Arc<Mutex<Line>>);

/// One of them; given back when dropped.
#[derive(Debug)]
pub(crate) struct FairPermit {
    semaphore: FairSemaphore,
    app: AppId,
    /// It never came to anybody, and has been given back.
    undelivered: bool,
}

/// While a permit is free nobody waits.
#[derive(Debug)]
struct Line {
    free: usize,
    /// The turn of whoever was given a permit last: where an app begins to count that has just come.
    clock: u64,
    arrivals: u64,
    /// Every app that holds a permit or waits for one.
    apps: HashMap<AppId, Share>,
}

#[derive(Debug, Default)]
struct Share {
    holding: usize,
    /// Its next turn.
    turn: u64,
    /// By the order of arrival, of all apps. Those that have gone away are among them until it would be their turn.
    waiting: VecDeque<(u64, oneshot::Sender<FairPermit>)>,
}

impl FairSemaphore {
    pub(crate) fn new(permits: usize) -> Self {
        Self(Arc::new(Mutex::new(Line { free: permits, clock: 0, arrivals: 0, apps: HashMap::new() })))
    }

    /// Wait for a permit. Whoever stops waiting takes nothing with it.
    pub(crate) async fn acquire(&self, app: AppId) -> FairPermit {
        let told = {
            let mut line = self.line();
            if line.free > 0 {
                line.take(app);
                return self.permit(app);
            }
            let (tell, told) = oneshot::channel();
            line.wait(app, tell);
            told
        };
        match told.await {
            Ok(permit) => permit,
            // Whoever waits holds the semaphore, and it lets nobody go.
            Err(_) => std::future::pending().await,
        }
    }

    /// How many of an app wait.
    pub(crate) fn waiting(&self, app: AppId) -> usize {
        let waits = |share: &Share| share.waiting.iter().filter(|(_, tell)| !tell.is_closed()).count();
        self.line().apps.get(&app).map_or(0, waits)
    }

    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.line().free
    }

    fn permit(&self, app: AppId) -> FairPermit {
        FairPermit { semaphore: self.clone(), app, undelivered: false }
    }

    fn give_back(&self, app: AppId) {
        let mut line = self.line();
        line.put_back(app);
        while line.free > 0
            && let Some((app, tell)) = line.next()
        {
            line.take(app);
            // Not dropped before the lock is let go of: it would give itself back.
            if let Err(mut permit) = tell.send(self.permit(app)) {
                permit.undelivered = true;
                line.put_back(app);
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Nothing that runs under the lock panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        if !self.undelivered {
            self.semaphore.give_back(self.app);
        }
    }
}

impl Line {
    /// An app as it is; one that has just come is not behind the others, nor before them.
    fn share(&mut self, app: AppId) -> &mut Share {
        let clock = self.clock;
        self.apps.entry(app).or_insert_with(|| Share { turn: clock, ..Share::default() })
    }

    fn wait(&mut self, app: AppId, tell: oneshot::Sender<FairPermit>) {
        self.arrivals += 1;
        let number = self.arrivals;
        self.share(app).waiting.push_back((number, tell));
    }

    fn take(&mut self, app: AppId) {
        self.free -= 1;
        let share = self.share(app);
        let turn = share.turn;
        (share.holding, share.turn) = (share.holding + 1, turn + 1);
        self.clock = self.clock.max(turn);
    }

    fn put_back(&mut self, app: AppId) {
        self.free += 1;
        if let Some(share) = self.apps.get_mut(&app) {
            share.holding -= 1;
            if share.holding == 0 && share.waiting.is_empty() {
                self.apps.remove(&app);
            }
        }
    }

    /// Who is next.
    fn next(&mut self) -> Option<(AppId, oneshot::Sender<FairPermit>)> {
        let waiting = self.apps.iter().filter_map(|(app, share)| {
            let (number, _) = share.waiting.front()?;
            Some(((share.holding, share.turn, *number), *app))
        });
        let (_, app) = waiting.min()?;
        let (_, tell) = self.apps.get_mut(&app)?.waiting.pop_front()?;
        Some((app, tell))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::FutureExt as _;

    use super::*;

    const ANN: AppId = AppId(1);
    const BOB: AppId = AppId(2);

    type Waiting<'a> = Pin<Box<dyn Future<Output = FairPermit> + 'a>>;

    fn wait(semaphore: &FairSemaphore, app: AppId) -> Waiting<'_> {
        let mut waiting: Waiting<'_> = Box::pin(semaphore.acquire(app));
        assert!((&mut waiting).now_or_never().is_none(), "it did not have to wait");
        waiting
    }

    fn granted(waiting: &mut Waiting<'_>) -> Option<FairPermit> {
        waiting.now_or_never()
    }

    #[tokio::test]
    async fn one_that_is_alone_waits_for_one_turn_however_many_another_has() {
        let semaphore = FairSemaphore::new(1);
        let mut held = semaphore.acquire(ANN).await;
        let mut many: VecDeque<_> = (0..50).map(|_| wait(&semaphore, ANN)).collect();
        let mut order = Vec::new();
        let mut alone = wait(&semaphore, BOB);
        for _ in 0..6 {
            drop(held);
            if let Some(permit) = granted(&mut alone) {
                order.push('b');
                held = permit;
                // It comes again at once, as a call does that is longer than a turn.
                alone = wait(&semaphore, BOB);
            } else {
                order.push('a');
                held = granted(&mut many.pop_front().unwrap()).expect("somebody has it");
            }
        }
        assert_eq!(order.iter().collect::<String>(), "bababa");
        drop((held, alone, many));
        assert_eq!(semaphore.free(), 1);
        assert!(semaphore.line().apps.is_empty());
    }

    #[tokio::test]
    async fn who_holds_the_fewest_is_next() {
        let semaphore = FairSemaphore::new(3);
        let (first, second) = (semaphore.acquire(ANN).await, semaphore.acquire(ANN).await);
        let of_bob = semaphore.acquire(BOB).await;
        let (mut ann, mut bob) = (wait(&semaphore, ANN), wait(&semaphore, BOB));
        assert_eq!((semaphore.waiting(ANN), semaphore.waiting(BOB)), (1, 1));
        drop(first);
        let another = granted(&mut ann).or(granted(&mut bob)).expect("there is one free");
        assert!([ANN, BOB].contains(&another.app), "both hold one");
        drop((another, second, of_bob, ann, bob));
        assert_eq!(semaphore.free(), 3);
        let (first, second) = (semaphore.acquire(ANN).await, semaphore.acquire(ANN).await);
        let third = semaphore.acquire(ANN).await;
        let (_ann, mut bob) = (wait(&semaphore, ANN), wait(&semaphore, BOB));
        drop(first);
        assert!(granted(&mut bob).is_some(), "it holds none, and the other two");
        drop((second, third));
    }

    #[tokio::test]
    async fn whoever_goes_away_takes_nothing_with_it() {
        let semaphore = FairSemaphore::new(1);
        let held = semaphore.acquire(ANN).await;
        let (gone, mut stays) = (wait(&semaphore, BOB), wait(&semaphore, ANN));
        drop(gone);
        assert_eq!(semaphore.waiting(BOB), 0);
        drop(held);
        let permit = granted(&mut stays).expect("nobody else is there");
        // Granted, but not taken.
        let unread = wait(&semaphore, BOB);
        drop(permit);
        assert_eq!(semaphore.free(), 0);
        drop(unread);
        assert_eq!(semaphore.free(), 1);
        assert!(semaphore.line().apps.is_empty());
    }
}
