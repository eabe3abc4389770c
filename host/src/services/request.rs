//! The interface `request`: the parts of the HTTP request, each when the script asks for it.

use picloud_sdk_wit::picloud::sdk::request::{Host, RequestLine};

use crate::call::HttpCall;
use crate::sandbox::CallState;

impl CallState {
    fn http(&self) -> Option<&HttpCall> {
        self.request.as_ref()?.payload.request()
    }
}

impl Host for CallState {
    fn line(&mut self) -> wasmtime::Result<RequestLine> {
        let line = self.http().map(|call| RequestLine {
            method: call.method.clone(),
            path: call.path.clone(),
            route: call.route.to_string(),
            query: call.query.clone(),
            client_ip: call.client_ip.map(|ip| ip.to_string()),
            id: call.request_id.clone(),
        });
        Ok(line.unwrap_or_else(|| RequestLine {
            method: String::new(),
            path: String::new(),
            route: String::new(),
            query: None,
            client_ip: None,
            id: String::new(),
        }))
    }

    fn params(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.http().map(|call| call.params.clone()).unwrap_or_default())
    }

    fn headers(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let list = |call: &HttpCall| {
            call.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
        };
        Ok(self.http().map(list).unwrap_or_default())
    }

    fn body(&mut self) -> wasmtime::Result<Vec<u8>> {
        Ok(self.http().map(|call| call.body.to_vec()).unwrap_or_default())
    }
}
