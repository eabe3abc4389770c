//! The server that the client commands talk to: whether it answers, and whether it takes the token.

use http::Method;

use super::Check;
use crate::args::{DEFAULT_APP, Global};
use crate::client::http::Call;
use crate::client::server::Server;
use crate::client::{Api, ClientSettings};
use crate::env::Env;
use crate::exit::{CliError, Exit};

/// Ask the server.
pub(super) async fn checks(global: &Global, env: &Env) -> Vec<Check> {
    let advice = "correct it; `picloud --help` says where settings come from";
    let settings = match ClientSettings::resolve(global, env) {
        Ok(settings) => settings,
        Err(error) => return vec![Check::fail("server", error.to_string(), advice)],
    };
    let api = match Api::new(&settings, DEFAULT_APP) {
        Ok(api) => api,
        Err(error) => return vec![Check::fail("server", error.to_string(), advice)],
    };
    let ready = ready(&api, &settings.server).await;
    if ready.state != super::State::Ok {
        return vec![ready];
    }
    vec![ready, token(&api, settings.token.is_some()).await]
}

async fn ready(api: &Api, server: &Server) -> Check {
    let mut call = Call::api(Method::GET, "/readyz");
    call.with_token = false;
    match api.http().send(call).await {
        Ok(reply) if reply.status.is_success() => Check::ok("server", format!("{server} is ready")),
        Ok(reply) if reply.status.as_u16() == 503 => Check::warn(
            "server",
            format!("{server} is not ready: it starts or stops"),
            "wait, or look at its log",
        ),
        Ok(reply) => Check::fail(
            "server",
            format!("{server} answers {} to /readyz, so it is no PiCloud server", reply.status),
            "name the right one with --server or PICLOUD_SERVER",
        ),
        // Nobody has said that there is one.
        Err(CliError::Unreachable(_)) if *server == Server::default() => Check::warn(
            "server",
            format!("none answers at {server}"),
            "start one with `picloud serve`, or name another with --server",
        ),
        Err(error) => {
            let advice = "`picloud --help` says where the address of the server comes from";
            Check::fail("server", error.to_string(), advice)
        }
    }
}

async fn token(api: &Api, given: bool) -> Check {
    match api.get(api.path([])).await {
        Ok(_) if given => Check::ok("token", "the server takes it"),
        Ok(_) => Check::ok("token", "there is none, and the server asks for none"),
        Err(error) if error.exit() == Exit::Unreachable => {
            let found =
                if given { "the server does not take it" } else { "there is none, but the server wants one" };
            let advice = "give one with --token or PICLOUD_TOKEN; `picloud token replace` makes a new one";
            Check::fail("token", found, advice)
        }
        Err(error) => Check::warn("token", error.to_string(), "look at the server's log"),
    }
}
