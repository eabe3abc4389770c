//! Who may keep a processor: calls that last longer than a tick take turns.
//!
//! A multi-level feedback queue with two levels (F. J. Corbató et al., "An experimental time-sharing system", 1962): a
//! call starts at once, and most are over before the first tick. One that is not waits in line with its like, and as many
//! of them run as there are processors, each for [`QUANTUM`] ticks before the next one's turn. So a short call waits for
//! a processor one tick at most, however many long ones there are, and long ones finish one after the other rather than
//! all of them late. Apps share the turns evenly, so that the long calls of one are not waited for by those of all others.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use wasmtime::UpdateDeadline;

use crate::call::AppId;
use crate::fair::{FairPermit, FairSemaphore};

/// Length of a turn, in ticks: several times what a call should take, so that few are interrupted more than once.
const QUANTUM: u32 = 20;

/// The line of long calls. Cheap to share.
#[derive(Debug, Clone)]
pub(crate) struct Turns(FairSemaphore);

/// The part of one call.
#[derive(Debug)]
pub(crate) struct Turn {
    line: FairSemaphore,
    app: AppId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    processor: Option<FairPermit>,
    ticks: u32,
    /// Whether the call has just been interrupted by a tick.
    ticked: bool,
}

impl Turns {
    pub(crate) fn new(processors: usize) -> Self {
        Self(FairSemaphore::new(processors))
    }

    /// The turn of a new call of an app, which need not wait yet.
    pub(crate) fn join(&self, app: AppId) -> Arc<Turn> {
        Arc::new(Turn { line: self.0.clone(), app, state: Mutex::default() })
    }
}

impl Turn {
    /// Tell an interrupted call how it goes on.
    pub(crate) fn tick(self: &Arc<Self>) -> UpdateDeadline {
        let wait = self.interrupt();
        UpdateDeadline::YieldCustom(
            1,
            Box::pin(async move {
                if let Some(wait) = wait {
                    wait.await;
                }
                // Whatever is ready goes first: calls that have just come, connections. The runtime's own way to yield
                // makes it look after its sockets, too; a call that is only ready again would run 60 times before that.
                tokio::task::yield_now().await;
            }),
        )
    }

    /// What an interrupted call has to wait for; none while its turn goes on.
    fn interrupt(self: &Arc<Self>) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut state = self.state();
        state.ticked = true;
        if state.processor.is_some() && state.ticks < QUANTUM {
            state.ticks += 1;
            return None;
        }
        // Given back before the wait: others go first.
        state.processor = None;
        let turn = self.clone();
        Some(async move {
            let processor = turn.line.acquire(turn.app).await;
            let mut state = turn.state();
            state.processor = Some(processor);
            state.ticks = 0;
            // It yields once more, and keeps the processor meanwhile.
            state.ticked = true;
        })
    }

    /// Run a call that takes this turn. While the call waits for anything but its turn, and when it is over, the
    /// processor is another's.
    pub(crate) fn run<F: Future>(self: Arc<Self>, call: F) -> Running<F> {
        Running { call, turn: self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project_lite::pin_project! {
    /// A call that takes turns.
    pub(crate) struct Running<F> {
        #[pin]
        call: F,
        turn: Arc<Turn>,
    }

    impl<F> PinnedDrop for Running<F> {
        fn drop(this: Pin<&mut Self>) {
            this.project().turn.state().processor = None;
        }
    }
}

impl<F: Future> Future for Running<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = this.call.poll(context);
        let mut state = this.turn.state();
        let ticked = std::mem::take(&mut state.ticked);
        if result.is_ready() || !ticked {
            state.processor = None;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// A tick after which the call goes on: true if it did not have to wait.
    async fn tick(turn: &Arc<Turn>) -> bool {
        match turn.interrupt() {
            Some(wait) => {
                wait.await;
                false
            }
            None => true,
        }
    }

    fn free(turns: &Turns) -> usize {
        turns.0.free()
    }

    #[tokio::test]
    async fn a_call_that_ends_before_the_first_tick_takes_no_processor() {
        let turns = Turns::new(1);
        assert_eq!(turns.join(AppId(1)).run(async { free(&turns) }).await, 1);
    }

    #[tokio::test]
    async fn long_calls_go_one_after_the_other() {
        let turns = Turns::new(1);
        let (first, second) = (turns.join(AppId(1)), turns.join(AppId(1)));
        let mut first_call = Box::pin(first.clone().run(async {
            tick(&first).await;
            tick(&first).await;
            assert_eq!(free(&turns), 0);
        }));
        // The first has its processor until it is over.
        assert!(tick(&first).now_or_never().is_some());
        let mut second_call = Box::pin(second.clone().run(async { tick(&second).await }));
        assert!((&mut second_call).now_or_never().is_none(), "the second did not wait");
        assert!((&mut first_call).now_or_never().is_some());
        assert!((&mut second_call).now_or_never().is_some(), "the processor was not given back");
        assert_eq!(free(&turns), 1);
    }

    #[tokio::test]
    async fn a_turn_ends_after_its_quantum_if_somebody_waits() {
        let turns = Turns::new(1);
        let (greedy, patient) = (turns.join(AppId(1)), turns.join(AppId(1)));
        tick(&greedy).await;
        let mut waits = Box::pin(tick(&patient));
        assert!((&mut waits).now_or_never().is_none());
        for _ in 0..QUANTUM {
            assert!(tick(&greedy).await, "the turn ended early");
        }
        assert!(tick(&greedy).now_or_never().is_none(), "the turn did not end");
        assert!(waits.now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_long_calls_of_one_app_are_not_all_waited_for_by_another() {
        let turns = Turns::new(1);
        let (greedy, others) = (turns.join(AppId(1)), [(); 9].map(|()| turns.join(AppId(1))));
        tick(&greedy).await;
        let waiting = others.each_ref().map(|turn| {
            let mut waits = Box::pin(tick(turn));
            assert!((&mut waits).now_or_never().is_none());
            waits
        });
        let alone = turns.join(AppId(2));
        let mut waits = Box::pin(tick(&alone));
        assert!((&mut waits).now_or_never().is_none());
        for _ in 0..=QUANTUM {
            let _ = tick(&greedy).now_or_never();
        }
        assert!(waits.now_or_never().is_some(), "it waited for more than one turn");
        drop(waiting);
    }

    #[tokio::test]
    async fn a_call_that_waits_for_something_else_gives_the_processor_back() {
        let turns = Turns::new(1);
        let turn = turns.join(AppId(1));
        let call = turn.clone().run(async {
            tick(&turn).await;
            // Yields as a tick does.
            tokio::task::yield_now().await;
            std::future::pending::<()>().await;
        });
        let mut call = Box::pin(call);
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(free(&turns), 0, "a tick is no reason to give it back");
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(free(&turns), 1);
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_gives_the_processor_back() {
        let turns = Turns::new(1);
        let turn = turns.join(AppId(1));
        let mut call = Box::pin(turn.clone().run(async {
            tick(&turn).await;
            tick(&turn).await;
            tokio::task::yield_now().await;
        }));
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(free(&turns), 0);
        drop(call);
        assert_eq!(free(&turns), 1);
    }
}
