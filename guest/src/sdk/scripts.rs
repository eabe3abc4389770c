//! The module `scripts`: other scripts of the app, called and waited for.

use std::rc::Rc;

use picloud_sdk_wit::picloud::sdk::http::Response;
use picloud_sdk_wit::picloud::sdk::scripts::{self, Error, Request};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Map, Module};

use crate::arguments::{self, check_names, text};
use crate::modules::url;
use crate::sdk::http::{Content, HttpResponse};
use crate::sdk::{add, error};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// What options may hold.
const OPTIONS: [&str; 6] = ["body", "headers", "json", "method", "path", "query"];

/// The longest path and the longest query, in bytes. Names are shorter.
const MAX_TEXT: usize = 8192;

/// Register the module.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    add!(module, "invoke", |script: &str| invoke(script, &Dynamic::UNIT, Map::new()));
    add!(module, "invoke", |script: &str, body: Dynamic| invoke(script, &body, Map::new()));
    add!(module, "invoke", |script: &str, body: Dynamic, options: Map| invoke(script, &body, options));
    engine.register_static_module("scripts", module.into());
}

fn invoke(script: &str, body: &Dynamic, options: Map) -> Result<Rc<HttpResponse>> {
    let request = request(body, options)?;
    match scripts::invoke(cut(script), &request) {
        Ok(answer) => {
            let url = format!("/{script}{}", if request.path == "/" { "" } else { &request.path });
            let response =
                Response { status: answer.status, url, headers: answer.headers, body: answer.body };
            Ok(Rc::new(HttpResponse::new("scripts", response)))
        }
        Err(reason) => Err(error(explain(script, reason))),
    }
}

/// The method is POST with a body and GET without one, if the options do not say.
fn request(body: &Dynamic, mut options: Map) -> Result<Request> {
    check_names("scripts", &options, &OPTIONS)?;
    let Content { headers, body } = Content::of("scripts", Some(body), &options)?;
    let mut option = |name| options.remove(name).map(|value| text("scripts", name, value)).transpose();
    let method = option("method")?.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.into());
    let path = option("path")?.unwrap_or_else(|| "/".into());
    Ok(Request {
        method: method.to_ascii_uppercase(),
        path: cut(&path).to_owned(),
        query: options.remove("query").map(query).transpose()?.map(|query| cut(&query).to_owned()),
        headers,
        body: body.unwrap_or_default(),
    })
}

/// As much of a text as the host needs.
fn cut(text: &str) -> &str {
    arguments::cut(text, MAX_TEXT)
}

/// As it is sent, or the parameters as a map.
fn query(value: Dynamic) -> Result<ImmutableString> {
    match value.read_lock::<Map>() {
        Some(map) => Ok(url::build_query(&map).map_err(|reason| error(format!("scripts: {reason}")))?.into()),
        None => text("scripts", "query", value.flatten_clone()),
    }
}

/// The text that a script catches.
fn explain(script: &str, reason: Error) -> String {
    match reason {
        Error::ScriptUnknown(name) => format!("scripts: there is no script {name}"),
        Error::NoHandler(name) => format!("scripts: the script {name} has no function handle"),
        Error::RequestInvalid(part) => format!("scripts: the {part} cannot be sent"),
        Error::BodyTooLarge(limit) => format!("scripts: a body may have at most {limit} bytes"),
        Error::TooManyCalls(limit) => {
            format!("scripts: a call may call at most {limit} scripts, with all that those call")
        }
        Error::ChainTooLong(most) => {
            format!("scripts: this server has room for a chain of {most} scripts that call one another")
        }
        Error::Failed(failed) => {
            let at = failed.position.map(|at| format!(" (line {}, column {})", at.line, at.column));
            let at = at.unwrap_or_default();
            format!("scripts: {script} failed with {}: {}{at}", failed.code, failed.message)
        }
        Error::NoCall => {
            "scripts: the top level runs at upload, where no script can be called; call it in a handler"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval<T: Clone + 'static>(source: &str) -> T {
        Engine::new().eval(source).unwrap()
    }

    #[test]
    fn a_request_is_what_the_options_say() {
        let got = request(&Dynamic::UNIT, Map::new()).unwrap();
        assert_eq!((&*got.method, &*got.path, got.query, got.body.len()), ("GET", "/", None, 0));
        let got = request(&eval("#{a: 1}"), Map::new()).unwrap();
        assert_eq!((&*got.method, got.body), ("POST", b"{\"a\":1}".to_vec()));
        assert_eq!(got.headers, [("content-type".to_owned(), "application/json".to_owned())]);
        let options = "#{method: \"put\", path: \"/a\", query: #{q: \"a b\"}, headers: #{x: 1}}";
        let got = request(&Dynamic::UNIT, eval(options)).unwrap();
        assert_eq!((&*got.method, &*got.path, got.query.as_deref()), ("PUT", "/a", Some("q=a+b")));
        assert_eq!(got.headers, [("x".to_owned(), "1".to_owned())]);
        let got = request(&Dynamic::UNIT, eval("#{query: \"a=b&c\", json: ()}")).unwrap();
        assert_eq!((&*got.method, got.query.as_deref(), got.body), ("POST", Some("a=b&c"), b"null".to_vec()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (options, expected) in [
            ("#{metod: \"GET\"}", "scripts: there is no option `metod`, only `body`, `headers`,"),
            ("#{path: 1}", "scripts: `path` must be a string, not i64"),
            ("#{query: 1}", "scripts: `query` must be a string, not i64"),
            ("#{body: 1, json: 2}", "scripts: a request has one body"),
        ] {
            let error = request(&Dynamic::UNIT, eval(options)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
