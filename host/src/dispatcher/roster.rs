//! Whose turn it is: lanes with something due, fair between apps and between the lanes of an app. Plain data.

use std::collections::BTreeMap;

use crate::call::AppId;
use crate::event::Lane;
use crate::ports::LaneDue;

/// How many events are claimed at once: few enough for others to get their turn soon, enough to share a commit.
const BATCH: usize = 16;

/// Room for events of one lane, reserved until it is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) app: AppId,
    pub(super) lane: Lane,
    /// How many events may start.
    pub(super) room: usize,
}

#[derive(Default)]
pub(super) struct Roster {
    apps: BTreeMap<AppId, App>,
    /// The app that had the last turn.
    last: Option<AppId>,
}

#[derive(Default)]
struct App {
    lanes: BTreeMap<Lane, LaneState>,
    /// Events that scripts handle.
    running: usize,
    /// Callbacks: who is slow to take them must not keep scripts from their events.
    calling_back: usize,
    /// The lane that had the last turn.
    last: Option<Lane>,
    /// Before that its rates allow no event to start.
    not_before_ms: u64,
}

#[derive(Default)]
struct LaneState {
    /// When its first event may run; none when nothing waits, as far as is known.
    due_ms: Option<u64>,
    /// Room that is in use or reserved.
    running: usize,
    /// A turn is under way that has not said yet what else waits.
    looking: bool,
}

/// How much room there is.
pub(super) trait Bounds {
    /// Events of one app that scripts handle at the same time.
    fn app(&self, app: AppId) -> usize;
    /// What the rates of an app allow now.
    fn rates(&self, app: AppId) -> Allowed;
    /// Lanes of callbacks of one app at the same time.
    fn callbacks(&self) -> usize;
    /// Events of one lane at the same time.
    fn lane(&self, app: AppId, lane: &Lane) -> usize;
}

/// What the rates of an app allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    /// How many events may start.
    pub(super) room: usize,
    /// If that is none, how long it takes until one may.
    pub(super) wait_ms: u64,
}

impl Roster {
    /// Something waits in a lane.
    pub(super) fn note(&mut self, LaneDue { app, lane, due_ms }: LaneDue) {
        let state = self.apps.entry(app).or_default().lanes.entry(lane).or_default();
        state.due_ms = Some(state.due_ms.map_or(due_ms, |known| known.min(due_ms)));
    }

    /// Reserve room for whoever is next: apps take turns, and in each its lanes.
    pub(super) fn next(&mut self, now_ms: u64, bounds: &impl Bounds) -> Option<Turn> {
        let after = self.last;
        let order = self.apps.keys().copied().filter(|app| Some(*app) > after);
        let order: Vec<AppId> =
            order.chain(self.apps.keys().copied().filter(|app| Some(*app) <= after)).collect();
        for id in order {
            let Some(app) = self.apps.get_mut(&id) else { continue };
            if let Some((lane, room)) = app.next(id, now_ms, bounds) {
                self.last = Some(id);
                return Some(Turn { app: id, lane, room });
            }
        }
        None
    }

    /// A turn has looked: so many events have started, and the next of the lane is due then.
    pub(super) fn looked(&mut self, turn: &Turn, started: usize, due_ms: Option<u64>) {
        let unused = turn.room.saturating_sub(started);
        if let Some(due_ms) = due_ms {
            self.note(LaneDue { app: turn.app, lane: turn.lane.clone(), due_ms });
        }
        if let Some(state) = self.apps.get_mut(&turn.app).and_then(|app| app.lanes.get_mut(&turn.lane)) {
            state.looking = false;
        }
        self.give_back(turn.app, &turn.lane, unused);
    }

    /// An event has ended.
    pub(super) fn ended(&mut self, app: AppId, lane: &Lane) {
        self.give_back(app, lane, 1);
    }

    fn give_back(&mut self, id: AppId, lane: &Lane, room: usize) {
        let Some(app) = self.apps.get_mut(&id) else { return };
        if let Some(used) = app.used(lane) {
            *used = used.saturating_sub(room);
        }
        if let Some(state) = app.lanes.get_mut(lane) {
            state.running = state.running.saturating_sub(room);
            if state.running == 0 && state.due_ms.is_none() && !state.looking {
                app.lanes.remove(lane);
            }
        }
        if app.lanes.is_empty() {
            self.apps.remove(&id);
        }
    }

    /// When the next event may run of those that only wait for their time.
    pub(super) fn next_due(&self, now_ms: u64) -> Option<u64> {
        let due = self.apps.values().flat_map(|app| {
            let waiting = app.lanes.iter().filter(|(_, state)| !state.looking);
            waiting.filter_map(|(lane, state)| match lane {
                Lane::Queue(_) | Lane::Script(_) => state.due_ms.map(|due_ms| due_ms.max(app.not_before_ms)),
                Lane::Callback(_) | Lane::Mqtt => state.due_ms,
            })
        });
        due.filter(|due_ms| *due_ms > now_ms).min()
    }
}

impl App {
    /// What counts the places of a lane; none for what has a place of its own.
    fn used(&mut self, lane: &Lane) -> Option<&mut usize> {
        match lane {
            Lane::Queue(_) | Lane::Script(_) => Some(&mut self.running),
            Lane::Callback(_) => Some(&mut self.calling_back),
            Lane::Mqtt => None,
        }
    }

    fn room_for_scripts(&mut self, id: AppId, now_ms: u64, bounds: &impl Bounds) -> usize {
        self.not_before_ms = 0;
        let free = bounds.app(id).saturating_sub(self.running);
        let due = |(lane, state): (&Lane, &LaneState)| {
            matches!(lane, Lane::Queue(_) | Lane::Script(_)) && state.due_ms.is_some_and(|due| due <= now_ms)
        };
        // Who has nothing to do, or no room for it, has nothing to ask.
        if free == 0 || !self.lanes.iter().any(due) {
            return 0;
        }
        let Allowed { room, wait_ms } = bounds.rates(id);
        if room == 0 {
            self.not_before_ms = now_ms.saturating_add(wait_ms.max(1));
        }
        free.min(room)
    }

    fn next(&mut self, id: AppId, now_ms: u64, bounds: &impl Bounds) -> Option<(Lane, usize)> {
        let for_scripts = self.room_for_scripts(id, now_ms, bounds);
        let for_callbacks = bounds.callbacks().saturating_sub(self.calling_back);
        let after = self.last.as_ref();
        let order = self.lanes.keys().filter(|lane| Some(*lane) > after);
        let order = order.chain(self.lanes.keys().filter(|lane| Some(*lane) <= after));
        let found = order.into_iter().find_map(|lane| {
            let state = &self.lanes[lane];
            let of_lane = bounds.lane(id, lane).saturating_sub(state.running);
            let room = match lane {
                Lane::Queue(_) | Lane::Script(_) => of_lane.min(for_scripts),
                Lane::Callback(_) => of_lane.min(for_callbacks),
                Lane::Mqtt => of_lane,
            };
            let ready = !state.looking && state.due_ms.is_some_and(|due| due <= now_ms) && room > 0;
            ready.then(|| (lane.clone(), room.min(BATCH)))
        });
        let (lane, room) = found?;
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.running += room;
            state.looking = true;
            // What else waits is told by the turn; what comes meanwhile is noted.
            state.due_ms = None;
        }
        if let Some(used) = self.used(&lane) {
            *used += room;
        }
        self.last = Some(lane.clone());
        Some((lane, room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed {
        app: usize,
        lane: usize,
    }

    /// The rates of app 1 allow so much, those of others everything.
    struct Limited(Allowed);

    impl Bounds for Limited {
        fn app(&self, _: AppId) -> usize {
            8
        }

        fn rates(&self, app: AppId) -> Allowed {
            if app == AppId(1) { self.0 } else { Allowed { room: usize::MAX, wait_ms: 0 } }
        }

        fn callbacks(&self) -> usize {
            2
        }

        fn lane(&self, _: AppId, _: &Lane) -> usize {
            8
        }
    }

    impl Bounds for Fixed {
        fn app(&self, _: AppId) -> usize {
            self.app
        }

        fn rates(&self, _: AppId) -> Allowed {
            Allowed { room: usize::MAX, wait_ms: 0 }
        }

        fn callbacks(&self) -> usize {
            2
        }

        fn lane(&self, _: AppId, _: &Lane) -> usize {
            self.lane
        }
    }

    fn note(roster: &mut Roster, app: i64, lane: &str, due_ms: u64) {
        roster.note(LaneDue { app: AppId(app), lane: Lane::Script(lane.into()), due_ms });
    }

    fn names(turns: &[Turn]) -> Vec<(i64, String)> {
        turns.iter().map(|turn| (turn.app.0, turn.lane.to_text())).collect()
    }

    #[test]
    fn apps_take_turns_however_much_one_has() {
        let mut roster = Roster::default();
        for lane in ["a", "b", "c"] {
            note(&mut roster, 1, lane, 0);
        }
        note(&mut roster, 2, "z", 0);
        let bounds = Fixed { app: 100, lane: 4 };
        let turns: Vec<Turn> = std::iter::from_fn(|| roster.next(0, &bounds)).collect();
        let order = [(1, "script/a"), (2, "script/z"), (1, "script/b"), (1, "script/c")];
        assert_eq!(names(&turns), order.map(|(app, lane)| (app, lane.to_owned())));
    }

    #[test]
    fn callbacks_and_messages_take_no_place_from_scripts() {
        let mut roster = Roster::default();
        let mut note_lane = |lane| roster.note(LaneDue { app: AppId(1), lane, due_ms: 0 });
        for host in ["a", "b", "c"] {
            note_lane(Lane::Callback(host.into()));
        }
        note_lane(Lane::Mqtt);
        note_lane(Lane::Script("s".into()));
        note_lane(Lane::Script("t".into()));
        let bounds = Fixed { app: 1, lane: 1 };
        let turns: Vec<Turn> = std::iter::from_fn(|| roster.next(0, &bounds)).collect();
        let mut lanes: Vec<_> = turns.iter().map(|turn| turn.lane.to_text()).collect();
        lanes.sort();
        assert_eq!(lanes, ["callback/a", "callback/b", "mqtt", "script/s"]);
        for turn in &turns {
            roster.looked(turn, 1, None);
        }
        roster.ended(AppId(1), &Lane::Mqtt);
        assert_eq!(roster.next(0, &bounds), None, "what has ended was no callback and no script");
        roster.ended(AppId(1), &Lane::Callback("a".into()));
        assert_eq!(roster.next(0, &bounds).unwrap().lane, Lane::Callback("c".into()));
    }

    #[test]
    fn room_is_reserved_until_it_is_given_back() {
        let mut roster = Roster::default();
        let bounds = Fixed { app: 5, lane: 3 };
        note(&mut roster, 1, "a", 0);
        let turn = roster.next(0, &bounds).unwrap();
        assert_eq!(turn.room, 3);
        // More came while it looked; it may not run before something has ended.
        note(&mut roster, 1, "a", 0);
        note(&mut roster, 1, "b", 0);
        let other = roster.next(0, &bounds).unwrap();
        assert_eq!((other.lane.to_text().as_str(), other.room), ("script/b", 2));
        assert_eq!(roster.next(0, &bounds), None);
        roster.looked(&turn, 3, Some(0));
        roster.looked(&other, 0, None);
        assert_eq!(roster.next(0, &bounds), None, "the lane is full");
        roster.ended(AppId(1), &turn.lane);
        assert_eq!(roster.next(0, &bounds).unwrap().room, 1);
    }

    #[test]
    fn nothing_is_kept_of_a_lane_that_is_done() {
        let mut roster = Roster::default();
        let bounds = Fixed { app: 5, lane: 3 };
        note(&mut roster, 1, "a", 0);
        let turn = roster.next(0, &bounds).unwrap();
        roster.looked(&turn, 1, None);
        roster.ended(AppId(1), &turn.lane);
        assert!(roster.apps.is_empty());
    }

    #[test]
    fn an_app_that_has_used_up_its_rates_waits_and_others_do_not() {
        let mut roster = Roster::default();
        note(&mut roster, 1, "a", 0);
        note(&mut roster, 2, "b", 0);
        let spent = Limited(Allowed { room: 0, wait_ms: 70 });
        let turns: Vec<Turn> = std::iter::from_fn(|| roster.next(10, &spent)).collect();
        assert_eq!(names(&turns), [(2, "script/b".to_owned())]);
        assert_eq!(roster.next_due(10), Some(80), "then it looks again, and not before");
        roster.note(LaneDue { app: AppId(1), lane: Lane::Callback("c".into()), due_ms: 0 });
        assert_eq!(roster.next(10, &spent).unwrap().lane, Lane::Callback("c".into()), "that is no call");
        let some = Limited(Allowed { room: 3, wait_ms: 0 });
        assert_eq!(roster.next(80, &some).unwrap().room, 3);
    }

    #[test]
    fn what_is_not_due_waits_for_its_time() {
        let mut roster = Roster::default();
        let bounds = Fixed { app: 5, lane: 3 };
        note(&mut roster, 1, "a", 50);
        note(&mut roster, 1, "a", 40);
        assert_eq!((roster.next(39, &bounds), roster.next_due(39)), (None, Some(40)));
        assert!(roster.next(40, &bounds).is_some());
        assert_eq!(roster.next_due(40), None);
    }
}
