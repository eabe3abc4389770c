//! The value of a response. What it takes to read its body is done when the script reads it.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use picloud_sdk_wit::picloud::sdk::http::Response;
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map};

use super::Result;
use crate::modules::json;
use crate::sdk::error;

/// The Rhai type `HttpResponse`.
pub(crate) struct HttpResponse {
    /// The module that it comes from: errors begin with it.
    module: &'static str,
    response: Response,
    headers: OnceCell<Dynamic>,
    json: OnceCell<Dynamic>,
}

impl HttpResponse {
    /// What a script reads of a response that a function of this module gave it.
    pub(crate) fn new(module: &'static str, response: Response) -> Self {
        Self { module, response, headers: OnceCell::new(), json: OnceCell::new() }
    }

    fn refuse(&self, why: impl Display) -> Box<EvalAltResult> {
        error(format!("{}: the response's body is {why}", self.module))
    }

    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.response.body).ok()
    }

    fn body(&self) -> Result<Dynamic> {
        let text = self.text().ok_or_else(|| self.refuse("not UTF-8: use its blob"))?;
        Ok(text.into())
    }

    fn json(&self) -> Result<Dynamic> {
        if let Some(value) = self.json.get() {
            return Ok(value.clone());
        }
        let text = self.text().ok_or_else(|| self.refuse("not UTF-8, so it is not JSON"))?;
        let value = json::from_text(text).map_err(|reason| self.refuse(reason))?;
        Ok(self.json.get_or_init(|| value).clone())
    }

    /// By lower-case name. Values of a repeated header are joined with `, ` as RFC 9110 section 5.3 allows; those of
    /// `set-cookie`, which it excepts, are always an array.
    fn headers(&self) -> Dynamic {
        let fetch = || {
            let (mut map, mut cookies) = (BTreeMap::<&str, String>::new(), Array::new());
            for (name, value) in &self.response.headers {
                if name == "set-cookie" {
                    cookies.push(value.into());
                    continue;
                }
                map.entry(name)
                    .and_modify(|all| {
                        all.push_str(", ");
                        all.push_str(value);
                    })
                    .or_insert_with(|| value.clone());
            }
            let mut headers: Map = map.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
            if !cookies.is_empty() {
                headers.insert("set-cookie".into(), cookies.into());
            }
            headers.into()
        };
        self.headers.get_or_init(fetch).clone()
    }
}

/// Register the type and its getters.
pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Rc<HttpResponse>>("HttpResponse");
    getter(engine, "status", |it| Ok(i64::from(it.response.status).into()));
    getter(engine, "ok", |it| Ok((200..300).contains(&it.response.status).into()));
    getter(engine, "url", |it| Ok(it.response.url.as_str().into()));
    getter(engine, "headers", |it| Ok(it.headers()));
    getter(engine, "body", HttpResponse::body);
    getter(engine, "blob", |it| Ok(Dynamic::from_blob(it.response.body.clone())));
    getter(engine, "json", HttpResponse::json);
    // What stands for a response that failed, in `http::all`, has one.
    getter(engine, "error", |_| Ok(Dynamic::UNIT));
}

fn getter(engine: &mut Engine, name: &str, get: impl Fn(&HttpResponse) -> Result<Dynamic> + 'static) {
    engine.register_get(name, move |response: &mut Rc<HttpResponse>| get(response));
}

#[cfg(test)]
mod tests {
    use rhai::Scope;

    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], body: &[u8], script: &str) {
        let mut engine = Engine::new();
        register(&mut engine);
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let response = Response { status: 201, url: "http://a/".into(), headers, body: body.to_vec() };
        let mut scope = Scope::new();
        scope.push("r", Rc::new(HttpResponse::new("http", response)));
        assert!(engine.eval_with_scope::<bool>(&mut scope, script).unwrap(), "{script}");
    }

    #[test]
    fn a_response_is_read_like_a_map() {
        check(&[], b"{\"a\":[1]}", "r.status == 201 && r.ok && r.url == \"http://a/\" && r.error == ()");
        check(&[], b"{\"a\":[1]}", "r.json.a[0] == 1 && r.json.a[0] == 1 && r.body == `{\"a\":[1]}`");
        check(&[], &[0xff], "r.blob.len == 1");
    }

    #[test]
    fn headers_are_joined_but_cookies_are_not() {
        let headers = [("x", "1"), ("set-cookie", "a=1"), ("x", "2"), ("set-cookie", "b=2, 3")];
        check(&headers, b"", "r.headers.x == \"1, 2\" && r.headers[\"set-cookie\"] == [\"a=1\", \"b=2, 3\"]");
        check(&[("set-cookie", "a")], b"", "r.headers[\"set-cookie\"] == [\"a\"] && r.headers.y == ()");
    }

    #[test]
    fn what_is_no_text_or_no_json_is_said() {
        let caught = |read: &str| format!("let m = \"\"; try {{ {read} }} catch (e) {{ m = e }} m");
        check(&[], &[0xff], &format!("{}.contains(\"use its blob\")", caught("r.body")));
        check(&[], &[0xff], &format!("{}.contains(\"so it is not JSON\")", caught("r.json")));
        check(
            &[],
            b"[1",
            &format!("{}.starts_with(\"http: the response's body is not valid JSON\")", caught("r.json")),
        );
    }
}
