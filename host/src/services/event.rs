//! The interface `event`: what the call is for, when it is not an HTTP request.

use picloud_sdk_wit::picloud::sdk::event::{Event, Host};

use crate::call::Payload;
use crate::sandbox::CallState;

impl Host for CallState {
    fn get(&mut self) -> wasmtime::Result<Option<Event>> {
        let Some(Payload::Event(event)) = self.request.as_ref().map(|request| &request.payload) else {
            return Ok(None);
        };
        Ok(Some(Event {
            id: event.id.clone(),
            source: event.source.clone(),
            type_: event.kind.clone(),
            subject: event.subject.clone(),
            time_ms: event.time_ms,
            data: event.data.to_string(),
        }))
    }
}
