//! The dispatcher: turns stored events into calls, at their time, in turn, and each until it is done or dead.
//!
//! In reading order: `lanes` (what commits tell it), `roster` (whose turn it is), here the loop that ties them together,
//! `attempt` (one event: claim, call, what becomes of it), `deferred` (what is other with requests whose callers fetch the
//! answer later), `running` (how those are cancelled), `deliver` (the same for events that no script handles), `retry`
//! (when it is tried again).
//!
//! # Why each effect happens exactly once
//!
//! An event runs only when its claim is durable, and it is claimed only if nobody has touched it since it was read. What
//! a handler does and that its event is done is one transaction, which the sequencer takes only while the claim is held.
//! Whatever ends the process before that leaves the event as it was but for the number of attempts, and the next start
//! finds it.

mod attempt;
mod deferred;
mod deliver;
mod lanes;
mod retry;
mod roster;
mod running;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::active::Active;
use crate::call::AppId;
use crate::callback;
use crate::delivery::Delivery;
use crate::event::Lane;
use crate::executor::Executor;
use crate::gate::Gate;
use crate::ports::{Answers, Clock, Events, ExecutionLog, Kv};
use crate::quota::Quotas;

pub use lanes::Lanes;
use roster::{Allowed, Bounds, Roster, Turn};
pub use running::RunningCalls;

/// How long to wait after the store has failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What a dispatcher works with.
pub struct Dispatcher {
    /// Which script version each name leads to, and which queues there are.
    pub active: Arc<Active>,
    /// Runs calls.
    pub executor: Arc<Executor>,
    /// Admits calls, those over HTTP first.
    pub gate: Arc<Gate>,
    /// Where executions are recorded.
    pub log: Arc<dyn ExecutionLog>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Changes events.
    pub kv: Arc<dyn Kv>,
    /// Reads events.
    pub events: Arc<dyn Events>,
    /// Is told where events wait.
    pub lanes: Arc<Lanes>,
    /// The connection to an MQTT broker, if there is one.
    pub mqtt: Option<Arc<dyn Delivery>>,
    /// Tells others of answers.
    pub callbacks: Arc<dyn Delivery>,
    /// Tells how much is kept of answers.
    pub answers: Arc<dyn Answers>,
    /// Calls that run and can be cancelled.
    pub running: Arc<RunningCalls>,
    /// Events of one app at the same time.
    pub app_concurrency: usize,
    /// Events for one script at the same time, of those that do not come through a queue.
    pub script_concurrency: usize,
}

/// What tasks tell the loop.
enum News {
    /// A turn has looked: so many events have started, and when the next one of the lane is due.
    Looked { turn: Turn, started: usize, due_ms: Option<u64> },
    /// An event has ended.
    Ended { app: AppId, lane: Lane },
}

/// Where a turn starts its tasks, and whom it tells.
#[derive(Clone)]
struct Tasks {
    tell: mpsc::UnboundedSender<News>,
    tracker: TaskTracker,
    abandon: CancellationToken,
}

impl Tasks {
    fn tell(&self, news: News) {
        // Whoever is gone does not need the news.
        let _ = self.tell.send(news);
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abandon = self.abandon.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = abandon.cancelled() => {}
                () = task => {}
            }
        });
    }
}

impl Bounds for Dispatcher {
    fn app(&self, app: AppId) -> usize {
        let most = self
            .quotas(app)
            .concurrent_calls
            .map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        self.app_concurrency.min(most)
    }

    fn rates(&self, app: AppId) -> Allowed {
        let (room, wait) = self.gate.ready(app, &self.quotas(app));
        // To the next whole millisecond, so that it is not woken too early.
        let wait_ms = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        Allowed { room, wait_ms }
    }

    fn callbacks(&self) -> usize {
        callback::HOSTS_AT_ONCE
    }

    fn lane(&self, app: AppId, lane: &Lane) -> usize {
        let name = match lane {
            Lane::Queue(name) => name,
            Lane::Script(_) => return self.script_concurrency,
            // A batch at a time: the order stays, and who is slow has no more than that.
            Lane::Mqtt | Lane::Callback(_) => return 1,
        };
        let set = self.active.current();
        let queue = set.triggers.get(&app).and_then(|triggers| triggers.queues.get(name));
        // What is left in a queue that is gone runs one by one.
        queue.map_or(1, |queue| queue.concurrency)
    }
}

impl Dispatcher {
    /// Dispatch events until `stop`, then let those under way end, for as long as `drain` at most. What has not ended by
    /// then runs again after the next start.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, drain: Duration) {
        let tasks = TaskTracker::new();
        let abandon = CancellationToken::new();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.dispatch(&tasks, &abandon) => {}
        }
        tasks.close();
        if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
            tracing::warn!(
                events = tasks.len(),
                "events did not end in time; they run again after the next start"
            );
            abandon.cancel();
            tasks.wait().await;
        }
    }

    async fn dispatch(self: &Arc<Self>, tasks: &TaskTracker, abandon: &CancellationToken) {
        let (tell, mut news) = mpsc::unbounded_channel();
        let tasks = Tasks { tell, tracker: tasks.clone(), abandon: abandon.clone() };
        let mut roster = Roster::default();
        let mut changed = self.active.changes();
        for lane in self.stored_lanes().await {
            roster.note(lane);
        }
        loop {
            self.lanes.take().into_iter().for_each(|lane| roster.note(lane));
            let now_ms = self.clock.now_ms();
            while let Some(turn) = roster.next(now_ms, &**self) {
                self.start_turn(turn, &tasks);
            }
            let next_due = roster.next_due(now_ms);
            let due = async {
                match next_due {
                    Some(at_ms) => self.clock.until(at_ms).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Whatever was noted since the last look has left a permit behind.
                () = self.lanes.changed() => {}
                () = due => {}
                // An app that had to wait may have other quotas now. The sender is ours, so there is always one.
                _ = changed.changed() => {}
                first = news.recv() => {
                    let mut next = first;
                    while let Some(news_of) = next {
                        match news_of {
                            News::Looked { turn, started, due_ms } => roster.looked(&turn, started, due_ms),
                            News::Ended { app, lane } => roster.ended(app, &lane),
                        }
                        next = news.try_recv().ok();
                    }
                }
            }
        }
    }

    fn start_turn(self: &Arc<Self>, turn: Turn, tasks: &Tasks) {
        let dispatcher = self.clone();
        match (self.delivery(&turn.lane), &turn.lane) {
            (Some(delivery), _) => {
                tasks.tracker.spawn(dispatcher.take_delivery_turn(turn, delivery, tasks.clone()));
            }
            // Nobody delivers them in this process.
            (None, Lane::Mqtt) => tasks.tell(News::Looked { turn, started: 0, due_ms: None }),
            (None, _) => {
                tasks.tracker.spawn(dispatcher.take_turn(turn, tasks.clone()));
            }
        }
    }

    fn quotas(&self, app: AppId) -> Arc<Quotas> {
        self.active.current().app(app).map(|app| app.quotas.clone()).unwrap_or_default()
    }

    /// Who takes the events of a lane that are not for scripts.
    fn delivery(&self, lane: &Lane) -> Option<Arc<dyn Delivery>> {
        match lane {
            Lane::Mqtt => self.mqtt.clone(),
            Lane::Callback(_) => Some(self.callbacks.clone()),
            Lane::Queue(_) | Lane::Script(_) => None,
        }
    }

    /// Where events wait from before the start.
    async fn stored_lanes(&self) -> Vec<crate::ports::LaneDue> {
        loop {
            match self.events.lanes().await {
                Ok(lanes) => return lanes,
                // The store has logged why.
                Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
            }
        }
    }
}
