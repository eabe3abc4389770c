//! Places that apps share: none has more than half of them, so that the requests of one never wait for those of another
//! alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::call::AppId;

/// From so many apps on those are forgotten of which nobody has a place.
const TIDY: usize = 64;

/// So many places.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    all: Arc<Semaphore>,
    half: usize,
    apps: Arc<Mutex<HashMap<AppId, Weak<Semaphore>>>>,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    _of_app: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Shares {
    pub(super) fn new(places: usize) -> Self {
        let all = Arc::new(Semaphore::new(places));
        Self { all, half: places.div_ceil(2), apps: Arc::default() }
    }

    /// Wait for a place, in the order of arrival among those of the app, and then of all. Never none, as nothing is ever
    /// closed.
    pub(super) async fn acquire(&self, app: AppId) -> Option<Share> {
        let of_app = self.of(app).acquire_owned().await.ok()?;
        let of_all = self.all.clone().acquire_owned().await.ok()?;
        Some(Share { _of_app: of_app, _of_all: of_all })
    }

    /// The places of an app. Whoever has one or waits for one keeps them.
    fn of(&self, app: AppId) -> Arc<Semaphore> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = apps.get(&app).and_then(Weak::upgrade) {
            return places;
        }
        if apps.len() >= TIDY {
            apps.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(self.half));
        apps.insert(app, Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::kv_conformance::poll_once;

    #[tokio::test]
    async fn an_app_has_half_of_the_places_and_leaves_the_rest_to_others() {
        let shares = Shares::new(4);
        let first = shares.acquire(AppId(1)).await;
        let _second = shares.acquire(AppId(1)).await;
        let mut third = pin!(shares.acquire(AppId(1)));
        assert!(poll_once(&mut third).await.is_pending());
        let _others = [shares.acquire(AppId(2)).await, shares.acquire(AppId(2)).await];
        drop(first);
        assert!(poll_once(&mut third).await.is_ready());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_apps_that_send_nothing() {
        let shares = Shares::new(4);
        for app in 0..1000 {
            drop(shares.acquire(AppId(app)).await);
        }
        assert!(shares.apps.lock().unwrap().len() <= TIDY);
    }
}
