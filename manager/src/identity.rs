//! Who is known, in memory: so that no request asks the database who has sent it, and what is revoked is worth nothing
//! from the moment on at which that is published.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::{HeaderMap, header};
use picloud_host::call::Principal;
use picloud_host::ports::{Clock, Principals};

use crate::scope::{Permission, Scopes};
use crate::store::token::{TOKEN_PREFIX, hash_of};
use crate::store::{Store, principal};

/// How exactly it is noted when a principal was last there, in milliseconds: so rarely is it written down at most.
const NOTED_EVERY_MS: u64 = 60_000;

/// Somebody who is known.
#[derive(Debug)]
pub struct Known {
    /// Its identity in storage.
    pub id: i64,
    /// `token`.
    pub kind: String,
    /// Its name, unique among its kind.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    expires_ms: Option<u64>,
    noted_ms: AtomicU64,
}

impl Known {
    /// Whether it has to be noted that it was there at `now_ms`. True once a minute at most.
    pub fn must_be_noted(&self, now_ms: u64) -> bool {
        let noted = self.noted_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(noted) >= NOTED_EVERY_MS
            && self.noted_ms.compare_exchange(noted, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Everybody who is known, at one moment after the other.
#[derive(Debug, Default)]
pub struct Identities {
    /// By the hash of their tokens: something that cannot be guessed, so how long a look takes tells nothing.
    tokens: ArcSwap<HashMap<[u8; 32], Arc<Known>>>,
}

impl Identities {
    /// Know these, and nobody else.
    pub fn replace(&self, principals: Vec<principal::Principal>) {
        let before = self.tokens.load();
        let noted: HashMap<i64, u64> =
            before.values().map(|known| (known.id, known.noted_ms.load(Ordering::Relaxed))).collect();
        let known = principals.into_iter().filter_map(|principal| {
            let hash = principal.token_hash?.try_into().ok()?;
            let known = Known {
                id: principal.id,
                kind: principal.kind,
                name: principal.name,
                scopes: principal.scopes,
                expires_ms: principal.expires_ms,
                noted_ms: AtomicU64::new(noted.get(&principal.id).copied().unwrap_or(0)),
            };
            Some((hash, Arc::new(known)))
        });
        self.tokens.store(Arc::new(known.collect()));
    }

    /// Whose token this is; none when it is nobody's any more.
    #[must_use]
    pub fn of_token(&self, token: &str, now_ms: u64) -> Option<Arc<Known>> {
        let known = self.tokens.load().get(&hash_of(token)).cloned()?;
        known.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms).then_some(known)
    }
}

/// Knows whoever sends a token, and notes that they were there.
#[derive(Clone)]
pub struct Bearers {
    /// Whom it knows.
    pub identities: Arc<Identities>,
    /// Where it notes them.
    pub store: Store,
    /// The time by which tokens expire.
    pub clock: Arc<dyn Clock>,
}

impl Bearers {
    /// Whose token this is. Must be called in a Tokio runtime.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<Arc<Known>> {
        let now_ms = self.clock.now_ms();
        let known = self.identities.of_token(token, now_ms)?;
        if known.must_be_noted(now_ms) {
            let (store, id) = (self.store.clone(), known.id);
            // The store logs why it fails.
            tokio::spawn(async move { drop(store.note_use(id, now_ms).await) });
        }
        Some(known)
    }
}

impl Principals for Bearers {
    fn take(&self, app: &str, headers: &mut HeaderMap) -> Option<Principal> {
        let token = bearer(headers)?;
        // Others are none of ours, and a script may know what they are.
        if !token.starts_with(TOKEN_PREFIX) {
            return None;
        }
        let known = self.find(token);
        headers.remove(header::AUTHORIZATION);
        let known = known.filter(|known| known.scopes.allow(app, Permission::Invoke))?;
        Some(Principal { kind: known.kind.clone(), name: known.name.clone() })
    }
}

/// The token in `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestStore, name};

    #[tokio::test]
    async fn a_token_is_known_until_it_expires_or_is_gone() {
        let (test, identities) = (TestStore::new().await, Identities::default());
        test.store.create_admin_token().await.unwrap();
        let (token, _) = test.store.create_token(&name("a"), &[], Some(1000)).await.unwrap();
        assert!(identities.of_token(&token, 0).is_none());
        identities.replace(test.store.principals().await.unwrap());
        assert_eq!(identities.of_token(&token, 999).unwrap().name, "a");
        assert!(identities.of_token(&token, 1000).is_none());
        assert!(identities.of_token(&token[1..], 0).is_none());
        test.store.delete_token(&name("a")).await.unwrap();
        identities.replace(test.store.principals().await.unwrap());
        assert!(identities.of_token(&token, 0).is_none());
    }

    #[tokio::test]
    async fn that_somebody_was_there_is_noted_once_a_minute() {
        let (test, identities) = (TestStore::new().await, Identities::default());
        let token = test.store.create_admin_token().await.unwrap().unwrap();
        identities.replace(test.store.principals().await.unwrap());
        let noted = |now_ms| identities.of_token(&token, now_ms).unwrap().must_be_noted(now_ms);
        assert!(noted(100_000) && !noted(100_001) && !noted(159_999));
        identities.replace(test.store.principals().await.unwrap());
        assert!(!noted(159_999) && noted(160_000));
    }
}
