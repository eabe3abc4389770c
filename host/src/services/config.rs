//! The interface `config`: values that whoever runs the app has set for its scripts.

use std::sync::Arc;

use picloud_sdk_wit::picloud::sdk::config::{Error, Host};

use crate::active::Active;
use crate::call::{AppId, ExecRequest};
use crate::sandbox::CallState;
use crate::secret::AppConfig;
use crate::services::Services;

/// The values of one call: those that the app had when the call first asked.
pub(crate) struct ConfigSession {
    active: Arc<Active>,
    /// None while a script is loaded.
    app: Option<AppId>,
    values: Option<Arc<AppConfig>>,
}

impl ConfigSession {
    /// The session of a call; without one, of a load.
    pub(crate) fn new(services: &Services, request: Option<&ExecRequest>) -> Self {
        let app = request.map(|request| request.script.app_id);
        Self { active: services.active.clone(), app, values: None }
    }

    /// An app that is not in the active set has no values.
    fn get(&mut self, name: &str) -> Result<Option<String>, Error> {
        let app = self.app.ok_or(Error::NoCall)?;
        let find = || self.active.current().app(app).map(|app| app.config.clone()).unwrap_or_default();
        Ok(self.values.get_or_insert_with(find).get(name).map(|text| text.to_string()))
    }
}

impl Host for CallState {
    fn get(&mut self, name: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        self.outside = true;
        Ok(self.config.get(&name))
    }
}
