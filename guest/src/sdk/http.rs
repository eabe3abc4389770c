//! The module `http`: requests to other servers, as far as the app's policy allows them.

mod content;
mod request;
mod response;

use std::rc::Rc;

use picloud_sdk_wit::picloud::sdk::http::{self, Error, Request};
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, Module, NativeCallContext};

use crate::sdk::error;
pub(crate) use content::Content;
pub(crate) use response::HttpResponse;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// Methods whose functions are `(url)` and `(url, options)`.
const WITHOUT_BODY: [(&str, &str); 3] = [("get", "GET"), ("head", "HEAD"), ("delete", "DELETE")];

/// Methods whose functions are `(url, body)` and `(url, body, options)`.
const WITH_BODY: [(&str, &str); 3] = [("post", "POST"), ("put", "PUT"), ("patch", "PATCH")];

/// Register the module and the type of responses.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    for (name, method) in WITHOUT_BODY {
        module.set_native_fn(name, move |context: NativeCallContext<'_>, url: &str| {
            at(&context, send(request::build(method, url, None, &Map::new())))
        });
        module.set_native_fn(name, move |context: NativeCallContext<'_>, url: &str, options: Map| {
            at(&context, send(request::build(method, url, None, &options)))
        });
    }
    for (name, method) in WITH_BODY {
        module.set_native_fn(name, move |context: NativeCallContext<'_>, url: &str, body: Dynamic| {
            at(&context, send(request::build(method, url, Some(&body), &Map::new())))
        });
        module.set_native_fn(
            name,
            move |context: NativeCallContext<'_>, url: &str, body: Dynamic, options: Map| {
                at(&context, send(request::build(method, url, Some(&body), &options)))
            },
        );
    }
    module.set_native_fn("request", |context: NativeCallContext<'_>, options: Map| {
        at(&context, send(request::from_map(&options)))
    });
    module.set_native_fn("all", |context: NativeCallContext<'_>, requests: Array| {
        at(&context, send_all(&requests))
    });
    engine.register_static_module("http", module.into());
    response::register(engine);
}

/// Give an error the position of the call, which the interpreter leaves out for functions of modules.
fn at<T>(context: &NativeCallContext<'_>, result: Result<T>) -> Result<T> {
    result.map_err(|mut error| {
        error.set_position(context.call_position());
        error
    })
}

fn send(request: Result<Request>) -> Result<Rc<HttpResponse>> {
    match http::send(&request?) {
        Ok(response) => Ok(Rc::new(HttpResponse::new("http", response))),
        Err(reason) => Err(error(explain(reason))),
    }
}

/// In the order of the requests; `#{ error, ok: false }` stands for one that failed. A request that cannot even be made
/// is the script's mistake, and none is sent.
fn send_all(requests: &Array) -> Result<Array> {
    let requests = requests
        .iter()
        .map(|options| match options.read_lock::<Map>() {
            Some(options) => request::from_map(&options),
            None => Err(error(format!("http: a request must be a map, not {}", options.type_name()))),
        })
        .collect::<Result<Vec<_>>>()?;
    let results = http::send_all(&requests);
    Ok(results
        .into_iter()
        .map(|result| match result {
            Ok(response) => Dynamic::from(Rc::new(HttpResponse::new("http", response))),
            Err(reason) => {
                Map::from([("error".into(), explain(reason).into()), ("ok".into(), false.into())]).into()
            }
        })
        .collect())
}

/// The text that a script catches.
fn explain(reason: Error) -> String {
    match reason {
        Error::UrlInvalid => {
            "http: the URL must be absolute, http or https, at most 8192 bytes long, and without a user name"
                .to_owned()
        }
        Error::MethodInvalid => "http: the method cannot be sent".to_owned(),
        Error::HeaderInvalid(name) => format!("http: the header {name:?} cannot be sent"),
        Error::NotAllowed(what) => format!("http: the app's policy does not allow {what}"),
        Error::NoServer => {
            "http: `picloud run` sends no requests; a server does, if the app's policy allows it, and in a test \
             under `picloud test` test::http() says what is answered"
                .to_owned()
        }
        Error::AddressBlocked(host) => {
            format!("http: {host} is not on the public internet, and the app's policy does not allow that")
        }
        Error::TooManyRequests(limit) => format!("http: a call may send at most {limit} requests"),
        Error::RequestTooLarge(limit) => format!("http: a request may have at most {limit} bytes"),
        Error::ResponseTooLarge(limit) => format!("http: a response may have at most {limit} bytes"),
        Error::ResponsesTooLarge(limit) => {
            format!("http: the responses of a call may have at most {limit} bytes together")
        }
        Error::TimedOut => "http: the response did not come in time".to_owned(),
        Error::RedirectInvalid => "http: a redirect leads to an address that cannot be requested".to_owned(),
        Error::TooManyRedirects => "http: more than 5 redirects followed on one another".to_owned(),
        Error::Failed(why) => format!("http: {why}"),
        Error::NoCall => {
            "http: the top level runs at upload, where nothing can be requested; use http in a handler"
                .to_owned()
        }
    }
}
