//! The value `event`: what happened, in the words of CloudEvents 1.0.

use picloud_sdk_wit::picloud::sdk::event;
use rhai::{Dynamic, Map};

use crate::modules::json;

/// The current event as a map, `()` when there is none.
pub(crate) fn value() -> Dynamic {
    let Some(event) = event::get() else { return Dynamic::UNIT };
    // The host has checked it; text that is no JSON after all is given as it is.
    let data = json::from_text(&event.data).unwrap_or_else(|_| event.data.into());
    Map::from([
        ("id".into(), event.id.into()),
        ("source".into(), event.source.into()),
        ("type".into(), event.type_.into()),
        ("subject".into(), event.subject.map_or(Dynamic::UNIT, Into::into)),
        ("time".into(), i64::try_from(event.time_ms).unwrap_or(i64::MAX).into()),
        ("data".into(), data),
    ])
    .into()
}
