//! Which events are claimed, and what may be done to an event.
//!
//! An event that waits or is dead is like a key: whoever changes it must have seen it as it is, which the log tells. One
//! that is claimed belongs to whoever claimed it, in this process; only that one ends the claim, however long the log
//! reaches back.

use std::collections::HashMap;

use uuid::Uuid;

use crate::call::AppId;
use crate::event::EventOp;
use crate::ports::{CommitError, LaneDue};

#[derive(Default)]
pub(super) struct Claims(HashMap<Uuid, Claim>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// A call handles the event.
    Held,
    /// A commit that is not durable yet has ended it.
    Ending,
}

/// What a group does to claims.
#[derive(Default)]
pub(super) struct Claimed {
    begun: Vec<Uuid>,
    ended: Vec<Uuid>,
}

impl Claims {
    /// Whether the claims that the operations end are held, and whatever they do to others is done to none that has one.
    pub(super) fn check(&self, ops: &[EventOp]) -> Result<(), CommitError> {
        let held = |id: Uuid| self.0.get(&id) == Some(&Claim::Held);
        if !ops.iter().filter_map(ended).all(held) {
            return Err(CommitError::EventGone);
        }
        match ops.iter().filter_map(seen).any(|id| self.0.contains_key(&id)) {
            true => Err(CommitError::Conflict),
            false => Ok(()),
        }
    }

    /// Do what the operation does to claims, and note it with its group.
    pub(super) fn apply(&mut self, op: &EventOp, group: &mut Claimed) {
        if let EventOp::Claim { id, .. } = op {
            self.0.insert(*id, Claim::Held);
            group.begun.push(*id);
        }
        if let Some(id) = ended(op) {
            self.0.insert(id, Claim::Ending);
            group.ended.push(id);
        }
    }

    /// Give up the claims that the operations would end: their events are gone with their app.
    pub(super) fn forget(&mut self, ops: &[EventOp]) {
        for id in ops.iter().filter_map(ended) {
            self.0.remove(&id);
        }
    }

    /// The group is durable.
    pub(super) fn written(&mut self, group: Claimed) {
        for id in group.ended {
            self.0.remove(&id);
        }
    }

    /// The group could not be written: what it ended is held again, what it began never was.
    pub(super) fn failed(&mut self, group: Claimed) {
        for id in group.ended {
            self.0.insert(id, Claim::Held);
        }
        for id in group.begun {
            self.0.remove(&id);
        }
    }
}

/// The event whose claim an operation ends.
fn ended(op: &EventOp) -> Option<Uuid> {
    match op {
        EventOp::Complete { id } | EventOp::Retry { id, .. } | EventOp::Bury { id, .. } => Some(*id),
        _ => None,
    }
}

/// The event that must be as it was seen for the operation to be possible.
pub(super) fn seen(op: &EventOp) -> Option<Uuid> {
    match op {
        EventOp::Claim { id, .. } | EventOp::Remove { id } | EventOp::Replay { id, .. } => Some(*id),
        _ => None,
    }
}

/// The event that is another one after the operation.
pub(super) fn touched(op: &EventOp) -> Option<Uuid> {
    seen(op).or_else(|| ended(op))
}

/// Where an event waits because of the operation.
pub(super) fn lane_of(op: &EventOp, app: AppId) -> Option<LaneDue> {
    let (lane, due_ms) = match op {
        EventOp::Insert(event) => (&event.lane, event.due_ms),
        EventOp::Retry { lane, due_ms, .. } | EventOp::Replay { lane, due_ms, .. } => (lane, *due_ms),
        _ => return None,
    };
    Some(LaneDue { app, lane: lane.clone(), due_ms })
}
