//! The sandboxes for scripts that are called by scripts. Whoever waits for one keeps its own, so that nobody could go on
//! if all who have one waited for another: the one whose waiting would make it so is refused instead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

/// So many sandboxes. Cheap to share.
#[derive(Debug, Clone)]
pub(crate) struct NestedSlots {
    state: Arc<Mutex<State>>,
    all: usize,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Chains of calls that have at least one of the sandboxes.
    chains: usize,
    /// Those of them that wait for one more.
    stuck: usize,
    /// Who waits and has one: goes first, since others wait for it.
    deep: VecDeque<Waiting>,
    /// Who waits and has none.
    fresh: VecDeque<Waiting>,
}

type Waiting = oneshot::Sender<Slot>;

/// A sandbox's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    state: Arc<Mutex<State>>,
    /// Whether it is the first of its chain.
    first: bool,
}

/// Why there is no sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// The chain has all of them itself.
    ChainTooLong,
    /// Every other chain that has one waits for another, too.
    Stuck,
    /// It took too long.
    Late,
}

impl NestedSlots {
    pub(crate) fn new(all: usize) -> Self {
        let state = State { free: all, chains: 0, stuck: 0, deep: VecDeque::new(), fresh: VecDeque::new() };
        Self { state: Arc::new(Mutex::new(state)), all }
    }

    /// How many there are.
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    /// Wait for a sandbox for the next call of a chain that has so many of them.
    pub(crate) async fn acquire(&self, held: usize, deadline: Instant) -> Result<Slot, NoSlot> {
        if held >= self.all {
            return Err(NoSlot::ChainTooLong);
        }
        let (grant, granted) = oneshot::channel();
        {
            let mut state = lock(&self.state);
            if state.free > 0 {
                state.free -= 1;
                state.chains += usize::from(held == 0);
                return Ok(Slot { state: self.state.clone(), first: held == 0 });
            }
            if held == 0 {
                state.fresh.push_back(grant);
            } else if state.stuck + 1 >= state.chains {
                return Err(NoSlot::Stuck);
            } else {
                state.stuck += 1;
                state.deep.push_back(grant);
            }
        }
        let waiting = GivesUp { state: &self.state, granted: Some(granted), deep: held > 0 };
        tokio::time::timeout_at(deadline.into(), waiting.wait()).await.map_err(|_| NoSlot::Late)
    }
}

/// Takes itself out of the line when it is dropped.
struct GivesUp<'a> {
    state: &'a Arc<Mutex<State>>,
    granted: Option<oneshot::Receiver<Slot>>,
    deep: bool,
}

impl GivesUp<'_> {
    async fn wait(mut self) -> Slot {
        let Some(granted) = &mut self.granted else { return std::future::pending().await };
        let slot = granted.await;
        self.granted = None;
        match slot {
            Ok(slot) => slot,
            // Whoever gives a place back sends it, or leaves the line as it is.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for GivesUp<'_> {
    fn drop(&mut self) {
        let Some(mut granted) = self.granted.take() else { return };
        // Under the lock it is either in the line, or has been sent a place.
        let sent = {
            let mut state = lock(self.state);
            granted.close();
            let sent = granted.try_recv();
            if sent.is_err() {
                state.stuck -= usize::from(self.deep);
                let line = if self.deep { &mut state.deep } else { &mut state.fresh };
                line.retain(|waiting| !waiting.is_closed());
            }
            sent
        };
        // Not under the lock: it is given back.
        drop(sent);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.chains -= usize::from(self.first);
        let (next, deep) = match state.deep.pop_front() {
            Some(next) => (Some(next), true),
            None => (state.fresh.pop_front(), false),
        };
        let Some(next) = next else {
            state.free += 1;
            return;
        };
        state.stuck -= usize::from(deep);
        state.chains += usize::from(!deep);
        // Whoever gives up leaves the line under this lock, so everybody in it takes what is sent.
        let sent = next.send(Self { state: self.state.clone(), first: !deep });
        drop(state);
        debug_assert!(sent.is_ok(), "somebody in the line does not wait");
        drop(sent);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn counts(slots: &NestedSlots) -> (usize, usize, usize, usize) {
        let state = lock(&slots.state);
        (state.free, state.chains, state.stuck, state.deep.len() + state.fresh.len())
    }

    #[tokio::test]
    async fn whoever_would_leave_nobody_to_go_on_is_refused() {
        let slots = NestedSlots::new(2);
        let (first, second) = (slots.acquire(0, soon()).await, slots.acquire(0, soon()).await);
        assert!(first.is_ok());
        let mut waits = Box::pin(slots.acquire(1, soon()));
        assert!((&mut waits).now_or_never().is_none(), "the second chain can still go on");
        assert_eq!(slots.acquire(1, soon()).await.unwrap_err(), NoSlot::Stuck);
        drop(second);
        let third = waits.now_or_never().unwrap();
        assert_eq!(slots.acquire(2, soon()).await.unwrap_err(), NoSlot::ChainTooLong);
        drop((third, first));
        assert_eq!(counts(&slots), (2, 0, 0, 0));
    }

    #[tokio::test]
    async fn who_has_one_goes_first_and_then_who_came_first() {
        let slots = NestedSlots::new(3);
        let mut held = vec![];
        for _ in 0..3 {
            held.push(slots.acquire(0, soon()).await.unwrap());
        }
        let mut fresh = [Box::pin(slots.acquire(0, soon())), Box::pin(slots.acquire(0, soon()))];
        assert!(fresh.iter_mut().all(|waits| waits.now_or_never().is_none()));
        let mut deep = Box::pin(slots.acquire(1, soon()));
        assert!((&mut deep).now_or_never().is_none());
        held.pop();
        assert!((&mut fresh[0]).now_or_never().is_none());
        let deep = deep.now_or_never().unwrap().unwrap();
        held.pop();
        assert!((&mut fresh[1]).now_or_never().is_none());
        let first = (&mut fresh[0]).now_or_never().unwrap().unwrap();
        drop((deep, first, held));
        drop((&mut fresh[1]).now_or_never().unwrap().unwrap());
        assert_eq!(counts(&slots), (3, 0, 0, 0));
    }

    #[tokio::test]
    async fn who_gives_up_leaves_nothing_behind() {
        let slots = NestedSlots::new(2);
        let (first, second) =
            (slots.acquire(0, soon()).await.unwrap(), slots.acquire(0, soon()).await.unwrap());
        let soon = || Instant::now() + Duration::from_millis(10);
        assert_eq!(slots.acquire(0, soon()).await.unwrap_err(), NoSlot::Late);
        assert_eq!(slots.acquire(1, soon()).await.unwrap_err(), NoSlot::Late);
        assert_eq!(counts(&slots), (0, 2, 0, 0));
        // Given up when it had just been sent a place.
        let mut waits = Box::pin(slots.acquire(1, soon()));
        assert!((&mut waits).now_or_never().is_none());
        drop(second);
        drop(waits);
        assert_eq!(counts(&slots), (1, 1, 0, 0));
        drop(first);
        assert_eq!(counts(&slots), (2, 0, 0, 0));
    }
}
