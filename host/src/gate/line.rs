//! Who has a place, who waits for one, and to whom the next goes. Plain data; whoever asks brings the time.
//!
//! A free place goes to the app that has the fewest of those that wait for one; of two that have as many, to the one that
//! has waited for longer. In an app it goes by the order of arrival.
//!
//! After each step no place is free that somebody could have: so who finds one free may take it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::GateConfig;
use crate::call::AppId;
use crate::meter::{Meter, Spent};
use crate::quota::{CallQuota, QuotaExceeded, Quotas};

/// What a call is told that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It has a place.
    Granted,
    /// It had to give way to another app's call.
    Refused,
}

/// A call in the queue. Whoever has it must give it up if it does not wait any more.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) number: u64,
    pub(super) told: oneshot::Receiver<Word>,
}

/// How a call fares that has come.
#[derive(Debug)]
pub(super) enum Entered {
    /// It has a place.
    In,
    /// It waits.
    Waiting(Waiter),
    /// There is no room for it to wait.
    Full,
    /// Its app may make no call now.
    Over(QuotaExceeded),
}

/// For whom a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) app: AppId,
    /// For a call that nobody waits for.
    pub(super) behind: bool,
}

/// All places, and everybody who has one or waits for one.
#[derive(Debug)]
pub(super) struct Line {
    config: GateConfig,
    /// Places for calls that nobody waits for.
    behind: usize,
    pub(super) running: usize,
    running_behind: usize,
    /// Calls that wait and that somebody waits for.
    pub(super) waiting: usize,
    apps: HashMap<AppId, App>,
    /// The apps of whose calls any waits.
    queued: BTreeSet<AppId>,
    last_number: u64,
    /// Moving average of how long a call has its place, in microseconds.
    service_us: u64,
}

#[derive(Debug, Default)]
struct App {
    meter: Meter,
    running: usize,
    running_behind: usize,
    /// Calls that somebody waits for.
    front: VecDeque<Queued>,
    /// Calls that nobody waits for.
    behind: VecDeque<Queued>,
    /// The quota of calls at the same time, as it was last seen.
    most: Option<usize>,
    /// As that of all.
    service_us: u64,
    refused: [u64; CallQuota::ALL.len()],
}

#[derive(Debug)]
struct Queued {
    number: u64,
    since: Instant,
    tell: oneshot::Sender<Word>,
}

impl Line {
    pub(super) fn new(config: GateConfig) -> Self {
        Self {
            config,
            behind: super::behind(&config),
            running: 0,
            running_behind: 0,
            waiting: 0,
            apps: HashMap::new(),
            queued: BTreeSet::new(),
            last_number: 0,
            service_us: 1000,
        }
    }

    /// A call has come for which somebody waits.
    pub(super) fn enter(&mut self, id: AppId, quotas: &Quotas, now: Instant) -> Entered {
        let patience = self.config.patience;
        let app = self.apps.entry(id).or_default();
        if let Err(exceeded) = app.check(quotas, patience, now) {
            app.refused[exceeded.quota as usize] += 1;
            return Entered::Over(exceeded);
        }
        if self.running < self.config.concurrent {
            app.meter.begin();
            app.running += 1;
            self.running += 1;
            return Entered::In;
        }
        if !self.make_room(id) {
            return Entered::Full;
        }
        self.waiting += 1;
        let (queued, waiter) = self.queue(id, now);
        let app = self.apps.entry(id).or_default();
        app.meter.begin();
        app.front.push_back(queued);
        Entered::Waiting(waiter)
    }

    /// Whether an app may load a source.
    pub(super) fn check_load(
        &mut self,
        id: AppId,
        quotas: &Quotas,
        now: Instant,
    ) -> Result<(), QuotaExceeded> {
        let app = self.apps.entry(id).or_default();
        app.meter.check_load(quotas, now).map_err(|spent| {
            app.refused[CallQuota::Fuel as usize] += 1;
            exceeded(spent)
        })
    }

    /// An app has loaded a source.
    pub(super) fn charge_load(&mut self, id: AppId, fuel: u64, now: Instant) {
        self.apps.entry(id).or_default().meter.charge_load(fuel, now);
    }

    /// Let a call begin for which nobody waits, as far as its app's rates are concerned; else how long that takes.
    pub(super) fn begin_behind(&mut self, id: AppId, quotas: &Quotas, now: Instant) -> Result<(), Duration> {
        let app = self.apps.entry(id).or_default();
        app.meter.check(quotas, now).map_err(|spent| spent.wait)?;
        app.meter.begin();
        Ok(())
    }

    /// How many calls of an app its rates allow now, and if none how long it takes until they do.
    pub(super) fn ready(&mut self, id: AppId, quotas: &Quotas, now: Instant) -> (usize, Duration) {
        let app = self.apps.entry(id).or_default();
        match app.meter.check(quotas, now) {
            Ok(()) => (app.meter.room(), Duration::ZERO),
            Err(spent) => (0, spent.wait),
        }
    }

    /// A call that has begun so has come: it has a place, or it waits for as long as it takes.
    pub(super) fn enter_behind(&mut self, id: AppId, quotas: &Quotas, now: Instant) -> Waiter {
        let (queued, waiter) = self.queue(id, now);
        let app = self.apps.entry(id).or_default();
        app.most = most(quotas);
        app.behind.push_back(queued);
        self.settle(now);
        waiter
    }

    /// A place is given back by a call that had it for so long and has used so much fuel.
    pub(super) fn leave(&mut self, place: Place, fuel: u64, held: Duration, now: Instant) {
        let us = u64::try_from(held.as_micros()).unwrap_or(u64::MAX);
        self.service_us = averaged(self.service_us, us);
        if let Some(app) = self.apps.get_mut(&place.app) {
            app.meter.charge(fuel, now);
            // The first one is all that is known.
            app.service_us = if app.service_us == 0 { us } else { averaged(app.service_us, us) };
        }
        self.give_back(place, now);
    }

    /// A call does not wait any more. If it was granted a place that it has not taken, somebody else gets it.
    pub(super) fn give_up(&mut self, place: Place, waiter: &mut Waiter, now: Instant) {
        let Some(app) = self.apps.get_mut(&place.app) else { return };
        let queue = if place.behind { &mut app.behind } else { &mut app.front };
        if let Ok(at) = queue.binary_search_by_key(&waiter.number, |queued| queued.number) {
            queue.remove(at);
            self.waiting -= usize::from(!place.behind);
            self.forget_if_empty(place.app);
            // Who let it go first may be able to start.
            self.settle(now);
        } else if waiter.told.try_recv() == Ok(Word::Granted) {
            self.give_back(place, now);
        }
    }

    /// When a call should come back that was turned away: everybody who is here has to be served first.
    pub(super) fn retry_after_secs(&self) -> u64 {
        retry_after(self.running + self.waiting, self.service_us, self.config.concurrent)
    }

    /// How often calls were turned away because of quotas, by app.
    pub(super) fn refused(&self) -> Vec<(AppId, CallQuota, u64)> {
        let of_app = |(id, app): (&AppId, &App)| {
            let id = *id;
            let counts = CallQuota::ALL.into_iter().zip(app.refused);
            counts.filter(|(_, count)| *count > 0).map(move |(quota, count)| (id, quota, count))
        };
        let mut refused: Vec<_> = self.apps.iter().flat_map(of_app).collect();
        // The same order each time, the oldest app first.
        refused.sort_unstable();
        refused
    }

    /// Whether nobody has a place and nobody waits.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let idle = |app: &App| app.running + app.running_behind + app.front.len() + app.behind.len() == 0;
        self.running + self.running_behind == 0 && self.queued.is_empty() && self.apps.values().all(idle)
    }

    fn queue(&mut self, id: AppId, since: Instant) -> (Queued, Waiter) {
        self.last_number += 1;
        self.queued.insert(id);
        let (number, (tell, told)) = (self.last_number, oneshot::channel());
        (Queued { number, since, tell }, Waiter { number, told })
    }

    /// Room for one more of an app to wait. If there is none, the newest goes of the app of which most wait; false if that
    /// is this one.
    fn make_room(&mut self, id: AppId) -> bool {
        if self.waiting < self.config.waiting {
            return true;
        }
        let own = self.apps.get(&id).map_or(0, |app| app.front.len());
        let waiting = |id: &AppId| self.apps.get(id).map_or(0, |app| app.front.len());
        let longest = self.queued.iter().copied().max_by_key(waiting);
        let Some(longest) = longest.filter(|longest| waiting(longest) > own) else { return false };
        if let Some(queued) = self.apps.get_mut(&longest).and_then(|app| app.front.pop_back()) {
            // Who has gone away at this moment leaves as much room.
            let _ = queued.tell.send(Word::Refused);
            self.waiting -= 1;
        }
        self.forget_if_empty(longest);
        true
    }

    fn give_back(&mut self, place: Place, now: Instant) {
        self.running -= 1;
        self.running_behind -= usize::from(place.behind);
        if let Some(app) = self.apps.get_mut(&place.app) {
            app.running -= 1;
            app.running_behind -= usize::from(place.behind);
        }
        self.settle(now);
    }

    /// Give free places to those who wait.
    fn settle(&mut self, now: Instant) {
        while self.running < self.config.concurrent
            && let Some(place) = self.next(now)
        {
            let Some(app) = self.apps.get_mut(&place.app) else { return };
            let queue = if place.behind { &mut app.behind } else { &mut app.front };
            let Some(queued) = queue.pop_front() else { return };
            app.running += 1;
            app.running_behind += usize::from(place.behind);
            self.running += 1;
            self.running_behind += usize::from(place.behind);
            self.waiting -= usize::from(!place.behind);
            self.forget_if_empty(place.app);
            if queued.tell.send(Word::Granted).is_err() {
                // It has just gone away, and finds nothing to give up.
                self.running -= 1;
                self.running_behind -= usize::from(place.behind);
                if let Some(app) = self.apps.get_mut(&place.app) {
                    app.running -= 1;
                    app.running_behind -= usize::from(place.behind);
                }
            }
        }
    }

    /// Whose turn it is. Calls that nobody waits for let the others go first, but not for longer than those would wait.
    fn next(&self, now: Instant) -> Option<Place> {
        let (mut first, mut second) = (None, None);
        for id in &self.queued {
            let Some(app) = self.apps.get(id) else { continue };
            if let Some(queued) = app.front.front() {
                first = least(first, (app.running, queued.since, *id, false));
            }
            let Some(queued) = app.behind.front() else { continue };
            if self.running_behind >= self.behind || app.most.is_some_and(|most| app.running >= most) {
                continue;
            }
            let in_line = queued.since + self.config.patience;
            match in_line <= now {
                true => first = least(first, (app.running, in_line, *id, true)),
                false => second = least(second, (app.running_behind, queued.since, *id, true)),
            }
        }
        let (.., app, behind) = first.or(second.filter(|_| self.waiting == 0))?;
        Some(Place { app, behind })
    }

    fn forget_if_empty(&mut self, id: AppId) {
        if self.apps.get(&id).is_none_or(|app| app.front.is_empty() && app.behind.is_empty()) {
            self.queued.remove(&id);
        }
    }
}

impl App {
    fn check(&mut self, quotas: &Quotas, patience: Duration, now: Instant) -> Result<(), QuotaExceeded> {
        self.most = most(quotas);
        // One that has let others go first for long enough is next.
        let overdue = self.behind.front().is_some_and(|queued| queued.since + patience <= now);
        let here = self.running + self.front.len() + usize::from(overdue);
        if let Some(most) = quotas.concurrent_calls
            && here as u64 >= most
        {
            let retry_after_secs =
                retry_after(here, self.service_us, usize::try_from(most).unwrap_or(usize::MAX));
            return Err(QuotaExceeded { quota: CallQuota::Concurrent, most, retry_after_secs });
        }
        self.meter.check(quotas, now).map_err(exceeded)
    }
}

fn exceeded(spent: Spent) -> QuotaExceeded {
    let Spent { quota, most, wait } = spent;
    // To the next whole second, from nanoseconds on.
    let retry_after_secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    QuotaExceeded { quota, most, retry_after_secs: retry_after_secs.max(1) }
}

type Candidate = (usize, Instant, AppId, bool);

fn least(known: Option<Candidate>, other: Candidate) -> Option<Candidate> {
    Some(known.map_or(other, |known| known.min(other)))
}

fn most(quotas: &Quotas) -> Option<usize> {
    quotas.concurrent_calls.map(|most| usize::try_from(most).unwrap_or(usize::MAX))
}

fn averaged(old: u64, new: u64) -> u64 {
    old - old / 16 + new / 16
}

fn retry_after(ahead: usize, service_us: u64, places: usize) -> u64 {
    let wait_us = (ahead as u64).saturating_mul(service_us) / places.max(1) as u64;
    wait_us.div_ceil(1_000_000).clamp(1, 3600)
}
