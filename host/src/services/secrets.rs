//! The interface `secrets`: texts that only the app's scripts can read.

mod session;

pub(crate) use session::SecretsSession;

use picloud_sdk_wit::picloud::sdk::secrets::{Error, Host};

use crate::sandbox::CallState;

impl Host for CallState {
    fn get(&mut self, name: String) -> wasmtime::Result<Result<String, Error>> {
        self.outside = true;
        Ok(self.secrets.get(&name))
    }

    fn has(&mut self, name: String) -> wasmtime::Result<Result<bool, Error>> {
        self.outside = true;
        Ok(self.secrets.has(&name))
    }
}
