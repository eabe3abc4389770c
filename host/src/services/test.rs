//! The interface `test`: what a test sets up and looks at. There is nothing behind it but under `picloud test`.

use std::sync::Arc;

use picloud_sdk_wit::picloud::sdk::test::{Error, Fixture, Host, Made, Sent};

use crate::event::{EventOp, Lane, NewEvent};
use crate::sandbox::CallState;
use crate::testing::TestKit;

/// The outer error ends the call; the inner one is for the script.
type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl CallState {
    fn kit(&self) -> Result<&Arc<TestKit>, Error> {
        self.test.as_ref().ok_or(Error::NotATest)
    }
}

impl Host for CallState {
    fn set_time(&mut self, ms: u64) -> Answer<()> {
        Ok(self.kit().map(|kit| kit.clock().set(ms)))
    }

    fn advance(&mut self, ms: u64) -> Answer<()> {
        Ok(self.kit().map(|kit| kit.clock().advance(ms)))
    }

    fn http(&mut self, fixture: Fixture) -> Answer<()> {
        Ok(self.kit().and_then(|kit| kit.add_fixture(fixture)))
    }

    fn http_requests(&mut self) -> Answer<Vec<Sent>> {
        Ok(self.kit().map(|kit| kit.sent()))
    }

    fn max_fuel(&mut self, units: u64) -> Answer<()> {
        Ok(self.kit().map(|kit| kit.bound_fuel(units)))
    }

    fn events(&mut self) -> Answer<Vec<Made>> {
        let made = |op: &EventOp| match op {
            EventOp::Insert(event) => Some(made(event)),
            _ => None,
        };
        Ok(self.kit().map(|_| self.triggers.ops().iter().filter_map(made).collect()))
    }
}

fn made(event: &NewEvent) -> Made {
    let queue = match &event.lane {
        Lane::Queue(name) => Some(name.to_string()),
        Lane::Script(_) | Lane::Mqtt | Lane::Callback(_) => None,
    };
    Made {
        id: event.id.to_string(),
        kind: event.call.trigger.as_str().to_owned(),
        script: event.script.to_string(),
        queue,
        type_: event.call.kind.clone(),
        subject: event.call.subject.clone(),
        data: event.call.data.to_string(),
        due_ms: event.due_ms,
        dedupe_key: event.dedupe_key.as_deref().map(str::to_owned),
    }
}
