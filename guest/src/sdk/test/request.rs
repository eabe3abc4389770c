//! A `req` that a test makes up.

use std::rc::Rc;

use picloud_sdk_wit::picloud::sdk::request::RequestLine;
use rhai::Map;

use super::Result;
use crate::arguments::{check_names, text};
use crate::modules::url;
use crate::sdk::error;
use crate::sdk::http::Content;
use crate::sdk::request::Request;

/// What a request may hold.
const OPTIONS: [&str; 6] = ["body", "headers", "json", "method", "path", "query"];

/// With the same options as `scripts::invoke`.
pub(super) fn from_map(options: Map) -> Result<Rc<Request>> {
    check_names("test", &options, &OPTIONS)?;
    let Content { headers, body } = Content::of("test", None, &options)?;
    let option = |name: &str| options.get(name).map(|value| text("test", name, value.clone())).transpose();
    let method = option("method")?.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.into());
    let query = match options.get("query").and_then(|query| query.read_lock::<Map>()) {
        Some(map) => Some(url::build_query(&map).map_err(|reason| error(format!("test: {reason}")))?),
        None => option("query")?.map(|query| query.to_string()),
    };
    let line = RequestLine {
        method: method.to_ascii_uppercase(),
        path: option("path")?.map_or_else(|| "/".to_owned(), |path| path.to_string()),
        route: "/{app}/{script}".to_owned(),
        query,
        client_ip: None,
        id: "test".to_owned(),
    };
    let headers = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Ok(Rc::new(Request::made(line, headers, body.unwrap_or_default())))
}
