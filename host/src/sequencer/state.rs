//! The order of commits: checks, numbers and queues them. Everything here runs under one mutex and never waits.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use crate::answer::AnswerOp;
use crate::call::AppId;
use crate::ports::{CommitError, LaneDue, StoreError, Transaction};

use super::backend::{Change, Group};
use super::claims::{Claimed, Claims, lane_of, seen, touched};
use super::log::{CommitLog, Touched};
use super::overlay::{self, Overlay, Slot};
use super::usage::Usage;

/// What a commit waits for: its number, or why its group could not be written.
pub(super) type Written = Result<u64, StoreError>;

/// Whoever waits until a commit is durable.
pub(super) struct Waiter {
    number: u64,
    done: oneshot::Sender<Written>,
}

impl Waiter {
    /// Send the word. Who has gone away does not need it.
    pub(super) fn tell(self, failure: Option<&str>) {
        let word = failure.map_or(Ok(self.number), |cause| Err(StoreError(cause.to_owned())));
        let _ = self.done.send(word);
    }
}

/// What belongs to a group but not to the store.
#[derive(Default)]
struct Company {
    waiters: Vec<Waiter>,
    /// Room in the queue, given back when the group is written.
    room: Option<OwnedSemaphorePermit>,
    /// Bytes of the slots that the group keeps from being evicted.
    bytes: usize,
    /// The newest commit of the group.
    last: u64,
    /// The earliest time at which something in the group expires.
    expires_ms: Option<u64>,
    /// What it does to claims of events.
    claims: Claimed,
    /// Lanes in which events wait from now on, and since when they may run.
    lanes: Vec<LaneDue>,
    /// Events and answers that are other ones from now on.
    news: Vec<Uuid>,
    /// What each app keeps more because of it.
    growth: HashMap<AppId, Usage>,
}

/// How a commit goes on once it is in the order.
pub(super) enum Sequenced {
    /// Everything it depends on is durable.
    Done(u64),
    /// The word comes when its group is written.
    Wait(oneshot::Receiver<Written>),
}

/// What the writer does next.
pub(super) enum Next {
    /// Write this.
    Write(Group),
    /// Wait for work.
    Sleep,
    /// Nothing will come any more.
    Stop,
}

/// What a written group leads to.
#[derive(Default)]
pub(super) struct Settled {
    /// Who waits for it.
    pub(super) waiters: Vec<Waiter>,
    /// Whether the next expiry has come nearer.
    pub(super) sooner: bool,
    /// Lanes in which events wait from now on.
    pub(super) lanes: Vec<LaneDue>,
    /// Events and answers that are other ones from now on.
    pub(super) news: Vec<Uuid>,
}

pub(super) struct State {
    pub(super) overlay: Overlay,
    log: CommitLog,
    claims: Claims,
    /// What apps keep, everything in the order included.
    pub(super) usages: HashMap<AppId, Usage>,
    /// The newest commit that the store has.
    stored: u64,
    /// The newest commit in the order. Numbers of commits that failed are never used again.
    number: u64,
    /// The newest commit that is durable.
    durable: u64,
    /// The group that gathers.
    pending: Group,
    pending_company: Company,
    /// The company of the group that is being written.
    in_flight: Option<Company>,
    /// When something expires next, as far as is known.
    next_expiry_ms: Option<u64>,
    closing: bool,
    /// Apps that were deleted since the start, and those whose rows were not removed before it.
    gone: HashSet<AppId>,
    cache_bytes: usize,
}

impl State {
    pub(super) fn new(newest: u64, cache_bytes: usize) -> Self {
        Self {
            overlay: Overlay::default(),
            log: CommitLog::new(newest),
            claims: Claims::default(),
            usages: HashMap::new(),
            stored: newest,
            number: newest,
            durable: newest,
            pending: Group::default(),
            pending_company: Company::default(),
            in_flight: None,
            // The first look at the store tells.
            next_expiry_ms: Some(0),
            closing: false,
            gone: HashSet::new(),
            cache_bytes,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// Put a transaction that writes into the order; its app keeps so much more then. The writer must be woken afterwards.
    pub(super) fn sequence(
        &mut self,
        transaction: Transaction,
        growth: Usage,
        room: OwnedSemaphorePermit,
    ) -> Result<Sequenced, CommitError> {
        self.refuse_when_closing()?;
        if self.gone.contains(&transaction.app) {
            self.claims.forget(&transaction.events);
            return Err(CommitError::AppGone);
        }
        if !self.is_current(&transaction) {
            return Err(CommitError::Conflict);
        }
        self.claims.check(&transaction.events)?;
        self.number += 1;
        let number = self.number;
        let app = transaction.app;
        let company = &mut self.pending_company;
        if growth != Usage::default() {
            *company.growth.entry(app).or_default() += growth;
            if let Some(usage) = self.usages.get_mut(&app) {
                *usage += growth;
            }
        }
        for op in transaction.events {
            if let Some(id) = touched(&op) {
                self.log.push(number, Touched::Event(id));
                company.news.push(id);
            }
            self.claims.apply(&op, &mut company.claims);
            company.lanes.extend(lane_of(&op, app));
            self.pending.events.push(op);
        }
        company.news.extend(transaction.answers.iter().map(AnswerOp::id));
        self.pending.answers.extend(transaction.answers);
        for (key, write) in transaction.writes {
            company.bytes += overlay::size(&key, write.as_ref());
            company.expires_ms = earliest(company.expires_ms, write.as_ref().and_then(|w| w.expires_ms));
            self.log.push(number, Touched::Key(app, key.clone()));
            self.overlay.put(app, key.clone(), number, write.clone());
            let change = Change { version: number, write };
            if let Some(old) = self.pending.changes.insert((app, key.clone()), change) {
                company.bytes -= overlay::size(&key, old.write.as_ref());
            }
        }
        match &mut company.room {
            Some(all) => all.merge(room),
            none => *none = Some(room),
        }
        self.pending.number = number;
        company.last = number;
        let wait = wait_with(company, number);
        self.evict();
        Ok(Sequenced::Wait(wait))
    }

    /// Check a transaction that only reads. It waits for what it has read.
    pub(super) fn confirm(&mut self, transaction: &Transaction) -> Result<Sequenced, CommitError> {
        if self.gone.contains(&transaction.app) {
            return Err(CommitError::AppGone);
        }
        if !self.is_current(transaction) {
            return Err(CommitError::Conflict);
        }
        let needed = self.newest_read(transaction);
        if needed <= self.durable {
            return Ok(Sequenced::Done(self.number));
        }
        let company = match &mut self.in_flight {
            Some(company) if needed <= company.last => company,
            _ => &mut self.pending_company,
        };
        Ok(Sequenced::Wait(wait_with(company, needed)))
    }

    /// Whether everything that the transaction has read is still as it was read.
    ///
    /// An event counts as read by whatever can be done only to one that waits or is dead.
    ///
    /// A key in the overlay has the version seen. A key that is not there has not been written since the snapshot:
    /// certainly if nothing newer than the snapshot was ever evicted, else if the log says so. The log answers for
    /// ranges as well.
    pub(super) fn is_current(&self, transaction: &Transaction) -> bool {
        let Transaction { app, snapshot, reads, ranges, events, .. } = transaction;
        let events: HashSet<Uuid> = events.iter().filter_map(seen).collect();
        let mut evicted = BTreeSet::new();
        for (key, seen) in reads {
            match self.overlay.peek(*app, key) {
                Some(slot) if slot.seen() == *seen => {}
                Some(_) => return false,
                None if snapshot.0 >= self.overlay.floor() => {}
                None => drop(evicted.insert(&**key)),
            }
        }
        if evicted.is_empty() && ranges.is_empty() && events.is_empty() {
            return true;
        }
        let touched = |what: &Touched| match what {
            Touched::Key(owner, key) => {
                owner == app && (evicted.contains(&**key) || ranges.iter().any(|range| range.contains(key)))
            }
            Touched::Event(id) => events.contains(id),
        };
        self.log.since(snapshot.0).is_some_and(|mut touches| !touches.any(|touch| touched(&touch.what)))
    }

    /// The newest commit that wrote or deleted something that the transaction has read, unless it is durable.
    fn newest_read(&self, transaction: &Transaction) -> u64 {
        let Transaction { app, reads, ranges, .. } = transaction;
        let versions =
            reads.iter().filter_map(|(key, _)| self.overlay.peek(*app, key)).map(|slot: &Slot| slot.version);
        let newest = versions.max().unwrap_or(0);
        if ranges.is_empty() {
            return newest;
        }
        let in_a_range = |what: &Touched| match what {
            Touched::Key(owner, key) => owner == app && ranges.iter().any(|range| range.contains(key)),
            Touched::Event(_) => false,
        };
        match self.log.since(self.durable) {
            Some(mut touches) => touches
                .find(|touch| in_a_range(&touch.what))
                .map_or(newest, |touch| newest.max(touch.version)),
            None => self.number,
        }
    }

    /// What an app keeps in the store as of a commit. False if more has been written meanwhile and this is not `the_last`
    /// try: then that is missing.
    pub(super) fn learn(&mut self, app: AppId, number: u64, stored: Usage, the_last: bool) -> bool {
        if number < self.stored && !the_last {
            return false;
        }
        let in_flight = self.in_flight.as_ref().filter(|company| number < company.last);
        let mut usage = stored;
        for company in in_flight.into_iter().chain([&self.pending_company]) {
            usage += company.growth.get(&app).copied().unwrap_or_default();
        }
        self.usages.insert(app, usage);
        true
    }

    /// Wait for everything that is in the order.
    pub(super) fn settle(&mut self) -> Option<oneshot::Receiver<Written>> {
        if self.pending.number > 0 {
            let number = self.pending.number;
            return Some(wait_with(&mut self.pending_company, number));
        }
        self.in_flight.as_mut().map(|company| wait_with(company, company.last))
    }

    /// What the writer does next. A group that is handed out must be finished before the next call.
    pub(super) fn next(&mut self) -> Next {
        if self.pending.number > 0 {
            self.in_flight = Some(std::mem::take(&mut self.pending_company));
            return Next::Write(std::mem::take(&mut self.pending));
        }
        if self.closing { Next::Stop } else { Next::Sleep }
    }

    /// The group is durable.
    pub(super) fn written(&mut self) -> Settled {
        let Some(company) = self.in_flight.take() else { return Settled::default() };
        (self.durable, self.stored) = (company.last, company.last);
        let sooner = self.expires(company.expires_ms);
        self.claims.written(company.claims);
        self.evict();
        Settled { waiters: company.waiters, sooner, lanes: company.lanes, news: company.news }
    }

    /// The group could not be written: it and all that came after it never were. Returns who waits for them.
    ///
    /// The number moves on, so that no version is used twice: whoever has read one that is lost will not find it
    /// again. And no answer of the store to a read that is under way will be kept.
    pub(super) fn failed(&mut self) -> Vec<Waiter> {
        let mut waiters = Vec::new();
        // The newest first, so that each finds the claims as it left them.
        for company in [std::mem::take(&mut self.pending_company), self.in_flight.take().unwrap_or_default()]
        {
            self.claims.failed(company.claims);
            waiters.extend(company.waiters);
        }
        self.pending = Group::default();
        // The store is asked again.
        self.usages.clear();
        self.number += 1;
        self.overlay.roll_back(self.durable, self.number);
        self.log.restart(self.number);
        self.durable = self.number;
        waiters
    }

    /// Take no more commits of an app.
    pub(super) fn forget(&mut self, app: AppId) {
        self.gone.insert(app);
    }

    /// Take no more commits.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// When something expires next; afterwards it is not known any more.
    pub(super) fn take_next_expiry(&mut self) -> Option<u64> {
        self.next_expiry_ms.take()
    }

    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.next_expiry_ms
    }

    /// Something expires then. Whether that is sooner than all that was known.
    pub(super) fn expires(&mut self, at_ms: Option<u64>) -> bool {
        let before = self.next_expiry_ms;
        self.next_expiry_ms = earliest(before, at_ms);
        self.next_expiry_ms != before
    }

    /// Keep the cache within its bounds; what is not durable comes on top of them.
    pub(super) fn evict(&mut self) {
        let unwritten =
            self.pending_company.bytes + self.in_flight.as_ref().map_or(0, |company| company.bytes);
        self.overlay.evict(self.cache_bytes + unwritten, self.durable);
    }

    fn refuse_when_closing(&self) -> Result<(), StoreError> {
        if self.closing { Err(StoreError("it has been closed".into())) } else { Ok(()) }
    }
}

fn wait_with(company: &mut Company, number: u64) -> oneshot::Receiver<Written> {
    let (done, wait) = oneshot::channel();
    company.waiters.push(Waiter { number, done });
    wait
}

fn earliest(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}
