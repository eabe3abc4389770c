//! The REST API, one function for each thing the commands ask of it.

use ::http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::config::ClientSettings;
use super::http::{Call, Http, Reply};
use super::problem::Problem;
use super::server::Server;
use crate::exit::CliError;
use crate::output::text::excerpt;

/// What may stand in a path as it is: the unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A name as one segment of a path. `.` and `..` are encoded too, for whoever resolves them on the way.
#[must_use]
pub fn segment(name: &str) -> String {
    match name {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        name => utf8_percent_encode(name, SEGMENT).to_string(),
    }
}

/// A query of the parameters that have a value, with its `?`; empty if none has.
#[must_use]
pub fn query(parameters: &[(&str, Option<String>)]) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .filter_map(|(name, value)| {
            value.as_ref().map(|value| format!("{name}={}", utf8_percent_encode(value, SEGMENT)))
        })
        .collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// The REST API of a server, as far as it is about one app.
#[derive(Debug)]
pub struct Api {
    settings: ClientSettings,
    http: Http,
    app: String,
    scripts: OnceCell<Http>,
}

impl Api {
    /// The API for one app.
    ///
    /// # Errors
    ///
    /// As [`Http::new`].
    pub fn new(settings: &ClientSettings, app: &str) -> Result<Self, CliError> {
        let http = Http::new(settings)?;
        Ok(Self { settings: settings.clone(), http, app: app.to_owned(), scripts: OnceCell::new() })
    }

    /// The connection to the API.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The app's name.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The path of something in the app; the segments are encoded here.
    pub fn path<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> String {
        let mut path = format!("/api/v1/apps/{}", segment(&self.app));
        for name in segments {
            path.push('/');
            path.push_str(&segment(name));
        }
        path
    }

    /// The connection to where scripts are, which the server is asked for once. What has no such operation is taken for a server
    /// that has all in one place: the address for scripts, or a proxy that lets nothing else through.
    ///
    /// # Errors
    ///
    /// No answer, a server that cannot say it now, or an answer that names no URL.
    pub async fn scripts(&self) -> Result<&Http, CliError> {
        self.scripts
            .get_or_try_init(|| async {
                let reply = self.http.send(Call::api(Method::GET, "/api/v1/server")).await?;
                let document: Value = match reply.status {
                    StatusCode::OK => serde_json::from_slice(&reply.body).unwrap_or_default(),
                    status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                        Value::Null
                    }
                    _ => return Err(Problem::of_api(&reply, self.http.server())),
                };
                let url = |name: &str| document[name].as_str().map(Server::parse).transpose();
                let settings = match (url("public_url"), url("listener_url")) {
                    (Err(why), _) | (_, Err(why)) => return Err(CliError::Unreachable(why)),
                    (Ok(Some(server)), _) => self.settings.at(server),
                    // Where that is from here, nobody has said.
                    (_, Ok(Some(server))) => ClientSettings { server, token: None, ..self.settings.clone() },
                    (Ok(None), Ok(None)) => self.settings.clone(),
                };
                Http::new(&settings)
            })
            .await
    }

    /// Send a call of the API. An error status is an error.
    ///
    /// # Errors
    ///
    /// No answer, an answer that PiCloud does not give, or a problem.
    pub async fn send(&self, call: Call) -> Result<Reply, CliError> {
        let reply = self.http.send(call).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(Problem::of_api(&reply, self.http.server())) }
    }

    /// Send a call whose answer is a JSON document.
    ///
    /// # Errors
    ///
    /// As [`Api::send`].
    pub async fn json(&self, call: Call) -> Result<(StatusCode, Value), CliError> {
        let reply = self.send(call).await?;
        Ok((reply.status, self.document(&reply)?))
    }

    /// Send a call of the API whose answer is taken piece by piece: each with the length of all, if the server says it.
    ///
    /// # Errors
    ///
    /// As [`Api::send`]; and when a piece cannot be taken.
    pub async fn stream(
        &self,
        call: Call,
        take: impl FnMut(&[u8], Option<u64>) -> std::io::Result<()>,
    ) -> Result<(), CliError> {
        match self.http.stream(call, take).await? {
            None => Ok(()),
            Some(reply) => Err(Problem::of_api(&reply, self.http.server())),
        }
    }

    /// Send a file as the body of a call whose answer is a JSON document. `sent` is told how many bytes have gone.
    ///
    /// # Errors
    ///
    /// As [`Api::send`]; the file cannot be read.
    pub async fn upload(
        &self,
        call: Call,
        file: std::fs::File,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<Value, CliError> {
        let reply = self.http.upload(call, file, sent).await?;
        if reply.status.is_success() {
            self.document(&reply)
        } else {
            Err(Problem::of_api(&reply, self.http.server()))
        }
    }

    /// The JSON document of an answer.
    ///
    /// # Errors
    ///
    /// It is no JSON, so PiCloud has not given it.
    pub fn document(&self, reply: &Reply) -> Result<Value, CliError> {
        serde_json::from_slice(&reply.body).map_err(|_| {
            CliError::Unreachable(format!(
                "what answers at {} does not seem to be PiCloud: no JSON but `{}`",
                self.http.server(),
                excerpt(&String::from_utf8_lossy(&reply.body), 200)
            ))
        })
    }

    /// Read a document.
    ///
    /// # Errors
    ///
    /// As [`Api::send`].
    pub async fn get(&self, path: impl Into<String>) -> Result<Value, CliError> {
        Ok(self.json(Call::api(Method::GET, path)).await?.1)
    }

    /// Read a list page by page until there are `limit` items, if there is a limit, or no more. `parameters` go with
    /// each page.
    ///
    /// # Errors
    ///
    /// As [`Api::send`].
    pub async fn list(
        &self,
        path: &str,
        parameters: &[(&str, Option<String>)],
        limit: Option<usize>,
    ) -> Result<Vec<Value>, CliError> {
        let most = limit.unwrap_or(MAX_ITEMS);
        let mut items = Vec::new();
        let mut cursor = None;
        let mut empty_pages = 0;
        loop {
            let mut parameters = parameters.to_vec();
            parameters.push(("limit", limit.map(|limit| (limit - items.len()).min(MAX_PAGE).to_string())));
            parameters.push(("cursor", cursor.clone()));
            let page = self.get(format!("{path}{}", query(&parameters))).await?;
            let (mut found, next) = page_of(page, self.http.server())?;
            empty_pages = if found.is_empty() { empty_pages + 1 } else { 0 };
            items.append(&mut found);
            let more = next.is_some() && next != cursor && empty_pages < MAX_EMPTY_PAGES;
            if items.len() >= most || !more {
                items.truncate(most);
                return Ok(items);
            }
            cursor = next;
        }
    }
}

/// The most items to ask for at once.
const MAX_PAGE: usize = 100;

/// More items than any list without a limit has: a server cannot fill the memory with pages.
const MAX_ITEMS: usize = 100_000;

/// A page may be empty and not the last, when all that was on it has expired. A server must not keep us for ever so.
const MAX_EMPTY_PAGES: u32 = 1000;

/// The items of a page and the cursor of the next.
///
/// # Errors
///
/// It is no page.
pub fn page_of(mut page: Value, server: &Server) -> Result<(Vec<Value>, Option<String>), CliError> {
    // A list has a cursor, which ends; the log has a place to read on from, which never does.
    let next = page.get("next_cursor").or_else(|| page.get("next_after"));
    let next = next.and_then(Value::as_str).map(str::to_owned);
    match page.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok((items, next)),
        _ => Err(CliError::Unreachable(format!(
            "what answers at {server} does not seem to be PiCloud: no list of items"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment() {
        for (name, expect) in [
            ("a-b_c.d~1", "a-b_c.d~1"),
            ("a/b?c#d", "a%2Fb%3Fc%23d"),
            ("..", "%2E%2E"),
            ("é\r\n", "%C3%A9%0D%0A"),
        ] {
            assert_eq!(segment(name), expect);
        }
    }

    #[test]
    fn a_query_has_only_what_is_given() {
        assert_eq!(query(&[("a", None)]), "");
        assert_eq!(
            query(&[("a", Some("1&2".into())), ("b", None), ("c", Some("x y".into()))]),
            "?a=1%262&c=x%20y"
        );
    }
}
