//! The interface `mqtt`: messages for a broker, in the call's transaction.

use picloud_sdk_wit::picloud::sdk::mqtt::{Error, Host, Options};

use crate::mqtt::{OutgoingMessage, Payload, Qos, is_topic};
use crate::sandbox::CallState;
use crate::services::check;

impl Host for CallState {
    fn publish(
        &mut self,
        topic: String,
        payload: Vec<u8>,
        options: Options,
    ) -> wasmtime::Result<Result<String, Error>> {
        check!(self.triggers.count_message());
        let message = check!(message(topic, payload, options));
        let now_ms = self.clock.now_ms();
        Ok(self.triggers.publish(&message, now_ms).map(|id| id.to_string()))
    }
}

fn message(topic: String, payload: Vec<u8>, options: Options) -> Result<OutgoingMessage, Error> {
    let Options { qos, retain, expiry_seconds } = options;
    if !is_topic(&topic) {
        return Err(Error::TopicInvalid);
    }
    let qos = Qos::try_from(qos).map_err(|_| Error::QosInvalid)?;
    Ok(OutgoingMessage { topic, payload: Payload::new(payload), qos, retain, expiry_seconds })
}
