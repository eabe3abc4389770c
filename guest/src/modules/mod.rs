//! tmp
pub(crate) mod json;
pub(crate) mod url;
pub(crate) fn register(_: &mut rhai::Engine) {}
