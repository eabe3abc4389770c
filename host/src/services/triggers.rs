//! The interface `triggers`: events that the call makes, in its transaction.

mod session;

pub(crate) use session::{Savepoint, TriggersSession};

use picloud_sdk_wit::picloud::sdk::triggers::{Error, Host, Options, Waiting};
use uuid::Uuid;

use crate::sandbox::{CallState, StorageFailed};
use crate::services::check;

/// The outer error ends the call: storage failed. The inner one is for the script.
type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// Most events of one list.
const MAX_LIST: u32 = 100;

impl Host for CallState {
    fn emit(&mut self, topic: String, kind: Option<String>, data: String) -> Answer<u32> {
        let now_ms = self.clock.now_ms();
        Ok(self.triggers.emit(topic, kind, data, now_ms))
    }

    fn enqueue(&mut self, target: String, data: String, options: Options) -> Answer<String> {
        let now_ms = self.clock.now_ms();
        Ok(self.triggers.enqueue(&target, data, options, now_ms).map(|id| id.to_string()))
    }

    fn schedule(&mut self, script: String, at_ms: u64, data: String) -> Answer<String> {
        let now_ms = self.clock.now_ms();
        Ok(self.triggers.schedule(&script, at_ms, data, now_ms).map(|id| id.to_string()))
    }

    async fn cancel(&mut self, id: String) -> Answer<bool> {
        check!(self.triggers.count());
        let id = check!(Uuid::try_parse(&id).map_err(|_| Error::IdInvalid));
        if self.triggers.take_back(id) {
            return Ok(Ok(true));
        }
        // Before the look: the transaction finds out whether anybody has touched the event since.
        self.kv.start();
        Ok(Ok(self.triggers.cancel(id).await.map_err(StorageFailed::from)?))
    }

    async fn list(&mut self, script: String, limit: u32) -> Answer<Vec<Waiting>> {
        check!(self.triggers.count());
        let limit = limit.clamp(1, MAX_LIST) as usize;
        let events = self.triggers.list(&script, limit).await.map_err(StorageFailed::from)?;
        let waiting = events.into_iter().map(|stored| Waiting {
            id: stored.event.id.to_string(),
            kind: stored.event.call.trigger.as_str().to_owned(),
            script: stored.event.script.to_string(),
            due_ms: stored.event.due_ms,
            attempt: stored.attempt,
        });
        Ok(Ok(waiting.collect()))
    }
}
