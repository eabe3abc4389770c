//! The value `req`: the HTTP request being answered. Each part is fetched from the host when it is first read.

use std::cell::OnceCell;
use std::rc::Rc;

use picloud_sdk_wit::picloud::sdk::{context, request};
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map};

use crate::modules::{json, url};
use crate::sdk::context::principal;
use crate::sdk::error;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The Rhai type `Request`. Its parts are kept, so that reading one twice costs little.
#[derive(Default)]
pub(crate) struct Request {
    line: OnceCell<request::RequestLine>,
    params: OnceCell<Dynamic>,
    query: OnceCell<Dynamic>,
    headers: OnceCell<Dynamic>,
    body: OnceCell<Vec<u8>>,
    json: OnceCell<Dynamic>,
}

impl Request {
    /// One that does not come from the host. Headers have names in lower case.
    pub(crate) fn made(line: request::RequestLine, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let made = Self { line: line.into(), body: body.into(), ..Self::default() };
        let _ = made.headers.set(joined(headers));
        let _ = made.params.set(Map::new().into());
        made
    }

    fn line(&self) -> &request::RequestLine {
        self.line.get_or_init(request::line)
    }

    fn raw_body(&self) -> &[u8] {
        self.body.get_or_init(request::body)
    }

    fn body(&self) -> Result<Dynamic> {
        match std::str::from_utf8(self.raw_body()) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(error("the body is not UTF-8: use req.blob")),
        }
    }

    fn json(&self) -> Result<Dynamic> {
        if let Some(value) = self.json.get() {
            return Ok(value.clone());
        }
        let text = std::str::from_utf8(self.raw_body())
            .map_err(|_| error("the body is not UTF-8, so it is not JSON"))?;
        let value = json::from_text(text).map_err(|reason| error(format!("req.json: {reason}")))?;
        Ok(self.json.get_or_init(|| value).clone())
    }

    fn query(&self) -> Dynamic {
        let parse = || url::parse_query(self.line().query.as_deref().unwrap_or_default()).into();
        self.query.get_or_init(parse).clone()
    }

    fn params(&self) -> Dynamic {
        let fetch = || {
            request::params().into_iter().map(|(name, value)| (name.into(), value.into())).collect::<Map>()
        };
        self.params.get_or_init(|| fetch().into()).clone()
    }

    /// By lower-case name. Values of a repeated header are joined with `, ` as RFC 9110 section 5.3 allows, and those of
    /// `cookie`, which HTTP/2 may split, with `; ` as RFC 9113 section 8.2.3 asks for.
    fn headers(&self) -> Dynamic {
        self.headers.get_or_init(|| joined(request::headers())).clone()
    }
}

fn joined(headers: Vec<(String, String)>) -> Dynamic {
    let mut map = std::collections::BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let separator = if name == "cookie" { "; " } else { ", " };
        map.entry(name)
            .and_modify(|all| {
                all.push_str(separator);
                all.push_str(&value);
            })
            .or_insert(value);
    }
    map.into_iter().map(|(name, value)| (name.into(), value.into())).collect::<Map>().into()
}

/// Register the type and its getters.
pub(crate) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Rc<Request>>("Request");
    getter(engine, "method", |req| Ok(req.line().method.as_str().into()));
    getter(engine, "path", |req| Ok(req.line().path.as_str().into()));
    getter(engine, "route", |req| Ok(req.line().route.as_str().into()));
    getter(engine, "id", |req| Ok(req.line().id.as_str().into()));
    getter(engine, "client_ip", |req| Ok(req.line().client_ip.as_deref().map_or(Dynamic::UNIT, Into::into)));
    getter(engine, "segments", |req| Ok(segments(&req.line().path).into()));
    getter(engine, "params", |req| Ok(req.params()));
    getter(engine, "query", |req| Ok(req.query()));
    getter(engine, "headers", |req| Ok(req.headers()));
    getter(engine, "body", Request::body);
    getter(engine, "blob", |req| Ok(Dynamic::from_blob(req.raw_body().to_vec())));
    getter(engine, "json", Request::json);
    getter(engine, "principal", |_| Ok(principal(context::get().principal)));
}

fn getter(engine: &mut Engine, name: &str, get: impl Fn(&Request) -> Result<Dynamic> + 'static) {
    engine.register_get(name, move |req: &mut Rc<Request>| get(req));
}

/// The parts of a path between slashes, percent-decoded (as they are where that gives no text), without the empty ones.
fn segments(path: &str) -> Array {
    let decode = |part: &str| url::decode_component(part).unwrap_or_else(|_| part.to_owned());
    path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part).into()).collect()
}
