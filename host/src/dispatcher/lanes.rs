//! Where events wait: what commits tell the dispatcher.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::call::AppId;
use crate::event::Lane;
use crate::ports::LaneDue;

/// News of lanes, from whoever makes events durable to the dispatcher. Bounded by the number of lanes.
#[derive(Debug, Default)]
pub struct Lanes {
    news: Mutex<HashMap<(AppId, Lane), u64>>,
    changed: Notify,
}

impl Lanes {
    /// Events wait in these lanes.
    pub fn note(&self, lanes: Vec<LaneDue>) {
        if lanes.is_empty() {
            return;
        }
        {
            let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            for LaneDue { app, lane, due_ms } in lanes {
                news.entry((app, lane)).and_modify(|known| *known = due_ms.min(*known)).or_insert(due_ms);
            }
        }
        self.changed.notify_one();
    }

    /// Take what was noted since the last time.
    pub(crate) fn take(&self) -> Vec<LaneDue> {
        let news = std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner));
        news.into_iter().map(|((app, lane), due_ms)| LaneDue { app, lane, due_ms }).collect()
    }

    /// Wait for news. What was noted since the last wait counts.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
