//! The secrets of one call: what the app had when the call first asked, and which of them it has read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use picloud_sdk_wit::picloud::sdk::secrets::Error;

use crate::active::Active;
use crate::call::{AppId, ExecRequest};
use crate::redact::Redactor;
use crate::secret::{AppSecrets, SecretText};
use crate::services::Services;

/// How many secrets one call may read: everything that it leaves behind is searched for each of them.
const MAX_READ: usize = 32;

/// Looks secrets up, and remembers. Its clones are one session, for a script and those that it calls: whatever becomes of
/// them, what they have read stays known.
#[derive(Clone)]
pub(crate) struct SecretsSession {
    active: Arc<Active>,
    /// None while a script is loaded.
    app: Option<AppId>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Those of the app when the call first needed them: what it sees does not change under way.
    secrets: Option<Arc<AppSecrets>>,
    read: BTreeMap<String, SecretText>,
}

impl SecretsSession {
    /// The session of a call; without one, of a load.
    pub(crate) fn new(services: &Services, request: Option<&ExecRequest>) -> Self {
        let app = request.map(|request| request.script.app_id);
        Self { active: services.active.clone(), app, seen: Arc::default() }
    }

    /// Read a secret.
    pub(super) fn get(&mut self, name: &str) -> Result<String, Error> {
        let secrets = self.secrets()?;
        let found = secrets.0.get(name).ok_or(Error::NotFound)?;
        let secret = found.as_ref().ok_or(Error::Unreadable)?;
        let read = &mut self.seen().read;
        if !read.contains_key(name) && read.len() >= MAX_READ {
            return Err(Error::TooMany(MAX_READ as u32));
        }
        read.insert(name.to_owned(), secret.clone());
        Ok(secret.expose().to_owned())
    }

    /// Whether there is a secret that can be read.
    pub(super) fn has(&mut self, name: &str) -> Result<bool, Error> {
        Ok(self.secrets()?.0.get(name).is_some_and(Option::is_some))
    }

    /// What finds the secrets that were read; none if there are none. A call that has read none can know none, unless
    /// somebody else has told it.
    pub(crate) fn redactor(&self) -> Option<Redactor> {
        let seen = self.seen();
        (!seen.read.is_empty()).then(|| Redactor::new(seen.read.values()))
    }

    /// An app that is not in the active set has no secrets.
    fn secrets(&self) -> Result<Arc<AppSecrets>, Error> {
        let app = self.app.ok_or(Error::NoCall)?;
        let find = || self.active.current().app(app).map(|app| app.secrets.clone()).unwrap_or_default();
        Ok(self.seen().secrets.get_or_insert_with(find).clone())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
