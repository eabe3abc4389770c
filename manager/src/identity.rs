//! Who is known, in memory: so that no request asks the database who has sent it, and what is revoked is worth nothing
//! from the moment on at which that is published.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue, header};
use picloud_host::call;
use picloud_host::ports::{Clock, Principals};

use crate::scope::{Permission, Scopes};
use crate::store::Store;
use crate::store::principal::Principal;
use crate::store::session::SessionKind;
use crate::store::token::{TOKEN_PREFIX, hash_of};

/// How exactly it is noted when a principal was last there, in milliseconds: so rarely is it written down at most.
const NOTED_EVERY_MS: u64 = 60_000;

/// Somebody who is known.
#[derive(Debug)]
pub struct Known {
    /// Its identity in storage.
    pub id: i64,
    /// `token` or `user`.
    pub kind: String,
    /// Its name, unique among its kind.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The session that it shows, if it is a user.
    pub session: Option<KnownSession>,
    /// From when on it is nobody, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
    noted_ms: AtomicU64,
}

/// A session of somebody who is known.
#[derive(Debug, Clone, Copy)]
pub struct KnownSession {
    /// Its identity in storage.
    pub id: i64,
    /// How it is shown.
    pub kind: SessionKind,
}

impl Known {
    /// Whether it is somebody at `now_ms`: it has not expired, and is no session that was left alone for too long.
    fn is_there(&self, now_ms: u64) -> bool {
        let idle_ms = now_ms.saturating_sub(self.noted_ms.load(Ordering::Relaxed));
        self.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
            && self.session.is_none_or(|session| idle_ms < session.kind.idle_ms())
    }

    /// Whether a text of this kind shows it.
    fn is_shown_by(&self, kind: SessionKind) -> bool {
        self.session.map_or(SessionKind::Bearer, |session| session.kind) == kind
    }

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
    /// By the hash of their tokens and of the texts of sessions: something that cannot be guessed, so how long a look takes tells nothing.
    tokens: ArcSwap<HashMap<[u8; 32], Arc<Known>>>,
}

impl Identities {
    /// Know these, and nobody else.
    pub fn replace(&self, principals: Vec<Principal>) {
        let before = self.tokens.load();
        let noted = |hash: &[u8; 32]| Some(before.get(hash)?.noted_ms.load(Ordering::Relaxed));
        let mut tokens = HashMap::new();
        for principal in principals {
            let Principal { id, kind, name, token_hash, sessions, scopes, expires_ms } = principal;
            let mut add = |hash: Vec<u8>, session, expires_ms, noted_ms: u64| {
                // Nothing else is stored.
                let Ok(hash) = hash.try_into() else { return };
                let noted_ms = AtomicU64::new(noted(&hash).unwrap_or(0).max(noted_ms));
                let (kind, name, scopes) = (kind.clone(), name.clone(), scopes.clone());
                let known = Known { id, kind, name, scopes, session, expires_ms, noted_ms };
                tokens.insert(hash, Arc::new(known));
            };
            for session in sessions {
                let known = KnownSession { id: session.id, kind: session.kind };
                add(session.hash, Some(known), Some(session.expires_ms), session.last_used_ms);
            }
            if let Some(hash) = token_hash {
                add(hash, None, expires_ms, 0);
            }
        }
        self.tokens.store(Arc::new(tokens));
    }

    /// Whose token this is; none when it is nobody's any more.
    #[must_use]
    pub fn of_token(&self, token: &str, now_ms: u64) -> Option<Arc<Known>> {
        self.of(SessionKind::Bearer, token, now_ms)
    }

    /// Whose cookie this is; none when it is nobody's any more. What is a token is no cookie, and a cookie no token: each was
    /// made for one way, with the rules of that way.
    #[must_use]
    pub fn of_cookie(&self, cookie: &str, now_ms: u64) -> Option<Arc<Known>> {
        self.of(SessionKind::Cookie, cookie, now_ms)
    }

    fn of(&self, kind: SessionKind, text: &str, now_ms: u64) -> Option<Arc<Known>> {
        let known = self.tokens.load().get(&hash_of(text)).cloned()?;
        (known.is_shown_by(kind) && known.is_there(now_ms)).then_some(known)
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
        Some(self.noted(self.identities.of_token(token, now_ms)?, now_ms))
    }

    /// Whose cookie this is. Must be called in a Tokio runtime.
    #[must_use]
    pub fn find_cookie(&self, cookie: &str) -> Option<Arc<Known>> {
        let now_ms = self.clock.now_ms();
        Some(self.noted(self.identities.of_cookie(cookie, now_ms)?, now_ms))
    }

    fn noted(&self, known: Arc<Known>, now_ms: u64) -> Arc<Known> {
        if known.must_be_noted(now_ms) {
            let (store, id, session) =
                (self.store.clone(), known.id, known.session.map(|session| session.id));
            // The store logs why it fails.
            tokio::spawn(async move { drop(store.note_use(id, session, now_ms).await) });
        }
        known
    }
}

impl Principals for Bearers {
    fn take(&self, app: &str, headers: &mut HeaderMap) -> Option<call::Principal> {
        // Others are none of ours, and a script may know what they are.
        let known = bearer(headers)
            .filter(|token| token.starts_with(TOKEN_PREFIX))
            .and_then(|token| self.find(token));
        hide_tokens(headers);
        let known = known.filter(|known| known.scopes.allow(app, Permission::Invoke))?;
        Some(call::Principal { kind: known.kind.clone(), name: known.name.clone() })
    }
}

/// Take out everything that may have a token of ours in it, in whatever form somebody has sent it.
fn hide_tokens(headers: &mut HeaderMap) {
    let has_token = |value: &HeaderValue| {
        value.as_bytes().windows(TOKEN_PREFIX.len()).any(|part| part == TOKEN_PREFIX.as_bytes())
    };
    for name in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION] {
        if !headers.get_all(&name).iter().any(has_token) {
            continue;
        }
        let others: Vec<HeaderValue> =
            headers.get_all(&name).iter().filter(|value| !has_token(value)).cloned().collect();
        headers.remove(&name);
        for value in others {
            headers.append(&name, value);
        }
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
    use crate::store::Precondition;
    use crate::store::testing::{TestStore, name};

    #[test]
    fn no_token_of_ours_reaches_a_script_in_whatever_form_it_comes() {
        let left = |values: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(*name, HeaderValue::from_static(value));
            }
            hide_tokens(&mut headers);
            headers.values().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for value in ["Bearer picloud_a", "bearer\tpicloud_a", "Token picloud_session_a", "picloud_a"] {
            for name in ["authorization", "proxy-authorization"] {
                assert!(left(&[(name, value)]).is_empty(), "{name}: {value}");
            }
        }
        let both =
            [("authorization", "Basic YTpi"), ("authorization", "Bearer picloud_a"), ("x-a", "picloud_a")];
        assert_eq!(left(&both), ["picloud_a", "Basic YTpi"], "others are none of ours");
        assert_eq!(left(&[("authorization", "Bearer other")]), ["Bearer other"]);
    }

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
    async fn a_session_is_known_while_it_is_used_and_in_its_own_way_only() {
        let (test, identities) = (TestStore::new().await, Identities::default());
        let ann = name("ann");
        test.store.put_user(&ann, &[], Some("hash"), &Precondition::default()).await.unwrap();
        let stored = test.store.user_password(&ann).await.unwrap().unwrap();
        let (bearer, ..) = test.store.create_session(&stored, SessionKind::Bearer, "").await.unwrap();
        let (cookie, about, _) = test.store.create_session(&stored, SessionKind::Cookie, "").await.unwrap();
        identities.replace(test.store.principals().await.unwrap());
        let now_ms = about.created_ms;
        assert_eq!(identities.of_token(&bearer, now_ms).unwrap().name, "ann");
        assert_eq!(identities.of_cookie(&cookie, now_ms).unwrap().kind, "user");
        assert!(
            identities.of_cookie(&bearer, now_ms).is_none() && identities.of_token(&cookie, now_ms).is_none()
        );
        let idle_ms = SessionKind::Cookie.idle_ms();
        let used = identities.of_cookie(&cookie, now_ms + idle_ms - 1).unwrap();
        assert!(used.must_be_noted(now_ms + idle_ms - 1));
        // That counts also where it is not written down yet.
        identities.replace(test.store.principals().await.unwrap());
        assert!(identities.of_cookie(&cookie, now_ms + 2 * idle_ms - 2).is_some());
        assert!(identities.of_cookie(&cookie, now_ms + 2 * idle_ms - 1).is_none());
        let noted =
            Bearers { identities: Arc::default(), store: test.store.clone(), clock: test.clock.clone() };
        noted.store.note_use(used.id, used.session.map(|session| session.id), now_ms + 60_000).await.unwrap();
        let sessions = test.store.sessions(&ann).await.unwrap().unwrap();
        assert_eq!(sessions[0].last_used_ms, now_ms + 60_000);
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
