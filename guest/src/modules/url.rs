//! tmp
pub(crate) fn parse_query(_: &str) -> rhai::Map { rhai::Map::new() }
pub(crate) fn decode_component(s: &str) -> String { s.to_owned() }
