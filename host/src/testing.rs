//! What a script's test has in place of the world: a clock that stands still, and responses that the test has written.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use picloud_sdk_wit::picloud::sdk::http::{Error as HttpError, Response};
use picloud_sdk_wit::picloud::sdk::test::{Error, Fixture, Sent};
use url::Url;

use crate::outbound::Outgoing;
use crate::ports::Clock;

/// When every test begins: 2026-01-01T00:00:00Z, in milliseconds since the Unix epoch.
pub const BEGIN_MS: u64 = 1_767_225_600_000;

/// Fixtures of one test. They are outside of the sandbox's memory.
const MAX_FIXTURES: usize = 1000;

/// The last time that a clock can be set to, 9999-12-31T23:59:59.999Z, in milliseconds since the Unix epoch.
const LAST_MS: u64 = 253_402_300_799_999;

/// A clock that only a test moves.
#[derive(Debug)]
pub struct TestClock(AtomicU64);

impl Default for TestClock {
    fn default() -> Self {
        Self(AtomicU64::new(BEGIN_MS))
    }
}

impl TestClock {
    pub(crate) fn set(&self, ms: u64) {
        self.0.store(ms.min(LAST_MS), Ordering::Relaxed);
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.set(self.now_ms().saturating_add(ms));
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one test sets up, and what is seen of it.
#[derive(Debug, Default)]
pub struct TestKit {
    clock: Arc<TestClock>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By method and URL.
    fixtures: HashMap<(String, String), VecDeque<Result<Response, String>>>,
    count: usize,
    sent: Vec<Sent>,
    max_fuel: Option<u64>,
}

impl TestKit {
    /// The clock of the test.
    #[must_use]
    pub fn clock(&self) -> &Arc<TestClock> {
        &self.clock
    }

    /// The fuel that the test allows itself, if it has said so.
    #[must_use]
    pub fn max_fuel(&self) -> Option<u64> {
        self.lock().max_fuel
    }

    pub(crate) fn bound_fuel(&self, units: u64) {
        let mut inner = self.lock();
        inner.max_fuel = Some(inner.max_fuel.map_or(units, |before| before.min(units)));
    }

    pub(crate) fn add_fixture(&self, fixture: Fixture) -> Result<(), Error> {
        let Fixture { method, url, status, headers, body, error } = fixture;
        let invalid = |part: &str| Error::FixtureInvalid(part.to_owned());
        let mut url = Url::parse(&url).map_err(|_| invalid("url"))?;
        url.set_fragment(None);
        if !(100..=999).contains(&status) {
            return Err(invalid("status"));
        }
        let mut lower = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(|_| invalid("headers"))?;
            HeaderValue::try_from(&value).map_err(|_| invalid("headers"))?;
            lower.push((name.as_str().to_owned(), value));
        }
        let mut inner = self.lock();
        inner.count += 1;
        if inner.count > MAX_FIXTURES {
            return Err(Error::TooManyFixtures(u32::try_from(MAX_FIXTURES).unwrap_or(u32::MAX)));
        }
        let response = Response { status, url: url.to_string(), headers: lower, body };
        let answers = inner.fixtures.entry((method, url.into())).or_default();
        answers.push_back(error.map_or(Ok(response), Err));
        Ok(())
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.lock().sent.clone()
    }

    /// What a request gets.
    pub(crate) fn answer(&self, request: &Outgoing) -> Result<Response, HttpError> {
        let sent = request.as_sent();
        let mut inner = self.lock();
        let key = (sent.method.clone(), sent.url.clone());
        inner.sent.push(sent);
        let Some(answers) = inner.fixtures.get_mut(&key) else {
            return Err(HttpError::Failed(format!("the test has no fixture for {} {}", key.0, key.1)));
        };
        let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        match next {
            Some(Ok(response)) => Ok(response),
            Some(Err(why)) => Err(HttpError::Failed(why)),
            None => Err(HttpError::Failed("the test has no fixture".to_owned())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
