//! The module `test` and the functions `assert`, `assert_eq` and `assert_throws`: for functions `test_*`. They are
//! registered when a test runs, so that no image has to carry them.

mod assert;
mod request;

use std::rc::Rc;

use picloud_sdk_wit::picloud::sdk::http::Response;
use picloud_sdk_wit::picloud::sdk::test::{self, Error, Fixture, Made, Sent};
use rhai::{Array, Dynamic, Engine, EvalAltResult, INT, ImmutableString, Map, Module};

use crate::answer;
use crate::arguments::{check_names, text};
use crate::modules::json;
use crate::modules::time;
use crate::sdk::http::{Content, HttpResponse};
use crate::sdk::{add, error};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// What a fixture may hold.
const FIXTURE: [&str; 4] = ["body", "headers", "json", "status"];

/// Register everything.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    add!(module, "set_time", |ms: INT| told(test::set_time(positive("time", ms)?)));
    add!(module, "set_time", |text: ImmutableString| {
        let ms = time::parse(&text).map_err(|reason| error(format!("test: {reason}")));
        ms.and_then(|ms| told(test::set_time(positive("time", ms)?)))
    });
    add!(module, "advance", |ms: INT| told(test::advance(positive("time", ms)?)));
    add!(module, "max_fuel", |units: INT| told(test::max_fuel(positive("fuel", units)?)));
    add!(module, "http", |request: Map, answer: Map| told(test::http(&fixture(&request, answer)?)));
    add!(module, "http_requests", || told(test::http_requests()).map(|sent| array(sent, sent_map)));
    add!(module, "events", || told(test::events()).map(|made| array(made, event_map)));
    add!(module, "request", || request::from_map(Map::new()));
    add!(module, "request", |options: Map| request::from_map(options));
    add!(module, "answer", |value: Dynamic| answer(value));
    engine.register_static_module("test", module.into());
    assert::register(engine);
}

fn told<T>(result: std::result::Result<T, Error>) -> Result<T> {
    result.map_err(|reason| {
        error(match reason {
            Error::NotATest => "test: only a test under `picloud test` can do this".to_owned(),
            Error::FixtureInvalid(part) => format!("test: the {part} of the fixture is not valid"),
            Error::TooManyFixtures(most) => format!("test: a test may have at most {most} fixtures"),
        })
    })
}

fn positive(what: &str, number: INT) -> Result<u64> {
    u64::try_from(number).map_err(|_| error(format!("test: a {what} cannot be less than 0")))
}

/// `#{ method, url }` and `#{ status, headers, body, json }` or `#{ error }`.
fn fixture(request: &Map, mut answer: Map) -> Result<Fixture> {
    check_names("test", request, &["method", "url"])?;
    let option = |name: &str| request.get(name).map(|value| text("test", name, value.clone())).transpose();
    let method = option("method")?.unwrap_or_else(|| "GET".into()).to_ascii_uppercase();
    let url = option("url")?.ok_or_else(|| error("test: a fixture needs a `url`"))?.to_string();
    if let Some(why) = answer.remove("error") {
        if let Some(other) = answer.keys().next() {
            return Err(error(format!("test: `error` stands alone, without `{other}`")));
        }
        let why = Some(text("test", "error", why)?.to_string());
        return Ok(Fixture { method, url, status: 200, headers: Vec::new(), body: Vec::new(), error: why });
    }
    check_names("test", &answer, &FIXTURE)?;
    let status = answer.remove("status").map_or(Ok(200), |status| {
        let status = status.as_int().ok().and_then(|status| u16::try_from(status).ok());
        status.ok_or_else(|| error("test: `status` must be an integer from 100 to 999"))
    })?;
    let Content { headers, body } = Content::of("test", None, &answer)?;
    Ok(Fixture { method, url, status, headers, body: body.unwrap_or_default(), error: None })
}

/// What a client would get for what `handle` has returned.
fn answer(value: Dynamic) -> Result<Rc<HttpResponse>> {
    let response =
        answer::from_value(value).map_err(|failure| error(format!("test: {}", failure.message)))?;
    let response = Response {
        status: response.status,
        url: String::new(),
        headers: response.headers,
        body: response.body,
    };
    Ok(Rc::new(HttpResponse::new("test", response)))
}

fn array<T>(items: Vec<T>, map: fn(T) -> Map) -> Array {
    items.into_iter().map(|item| map(item).into()).collect()
}

fn sent_map(sent: Sent) -> Map {
    let headers: Map = sent.headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let parsed = std::str::from_utf8(&sent.body).ok().and_then(|text| json::from_text(text).ok());
    let body = match String::from_utf8(sent.body) {
        Ok(text) => text.into(),
        Err(bytes) => Dynamic::from_blob(bytes.into_bytes()),
    };
    Map::from([
        ("method".into(), sent.method.into()),
        ("url".into(), sent.url.into()),
        ("headers".into(), headers.into()),
        ("body".into(), body),
        ("json".into(), parsed.unwrap_or(Dynamic::UNIT)),
    ])
}

fn event_map(made: Made) -> Map {
    let text = |text: Option<String>| text.map_or(Dynamic::UNIT, Into::into);
    Map::from([
        ("id".into(), made.id.into()),
        ("kind".into(), made.kind.into()),
        ("script".into(), made.script.into()),
        ("queue".into(), text(made.queue)),
        ("type".into(), made.type_.into()),
        ("subject".into(), text(made.subject)),
        ("data".into(), json::from_text(&made.data).unwrap_or(Dynamic::UNIT)),
        ("due_ms".into(), INT::try_from(made.due_ms).unwrap_or(INT::MAX).into()),
        ("dedupe_key".into(), text(made.dedupe_key)),
    ])
}
