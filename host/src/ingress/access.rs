//! Who is there: whether a request comes from somebody whom the route or the script asks for.

use std::net::IpAddr;
use std::sync::Arc;

use http::header;
use http::request::Parts;

use crate::attempts::Subject;
use crate::call::{AppId, Principal};
use crate::ingress::Ingress;
use crate::ingress::aim::Aim;
use crate::problem::{Code, Problem};
use crate::route::{Access, AccessCheck, Denied};
use crate::secret::AppSecrets;

/// A request whose head is fine.
pub(super) struct Admitted {
    check: AccessCheck,
    secrets: Arc<AppSecrets>,
    /// Whose it is, and where it came from.
    from: (AppId, IpAddr),
}

/// Too many passwords were wrong.
fn too_many(wait_ms: u64) -> Problem {
    let detail = "Too many names and passwords from this address were wrong.";
    Problem::new(Code::TooManyAttempts).detail(detail).retry_after(wait_ms.div_ceil(1000))
}

impl Ingress {
    /// Look at the head of a request. What says who is there is taken out of it: scripts have no use for it.
    pub(super) fn who(&self, aim: &Aim, head: &mut Parts, client: IpAddr) -> Result<Admitted, Problem> {
        let principal = self.principals.take(&aim.app, &mut head.headers);
        let (app, secrets) = (aim.app_id, aim.secrets.clone());
        let from = (app, client);
        // Who guesses must not learn that a guess was right by not having to wait.
        if matches!(aim.access, Access::Basic { .. }) && head.headers.contains_key(header::AUTHORIZATION) {
            let wait = self.attempts.check(Subject::Passwords(app), client, self.clock.now_ms());
            wait.map_err(too_many)?;
        }
        let check = aim.access.of_head(&head.headers, principal, &secrets);
        if matches!(aim.access, Access::Basic { .. }) {
            head.headers.remove(header::AUTHORIZATION);
        }
        match check {
            Ok(check) => Ok(Admitted { check, secrets, from }),
            Err(denied) => Err(self.denied(denied, from)),
        }
    }

    /// Look at the body, too. Who is there then.
    pub(super) fn who_signed(&self, admitted: Admitted, body: &[u8]) -> Result<Option<Principal>, Problem> {
        let Admitted { check, secrets, from } = admitted;
        check.of_body(body, &secrets, self.clock.now_ms()).map_err(|denied| self.denied(denied, from))
    }

    fn denied(&self, denied: Denied, (app, client): (AppId, IpAddr)) -> Problem {
        match denied {
            Denied::Token => Problem::new(Code::Unauthorized)
                .detail("This takes a token that may call scripts of the app."),
            Denied::Basic { tried: false } => Problem::new(Code::CredentialsInvalid),
            // A password can be guessed, given the time.
            Denied::Basic { tried: true } => {
                match self.attempts.count(Subject::Passwords(app), client, self.clock.now_ms()) {
                    Ok(()) => Problem::new(Code::CredentialsInvalid),
                    Err(wait_ms) => too_many(wait_ms),
                }
            }
            Denied::Signature(why) => Problem::new(Code::SignatureInvalid).detail(why),
            Denied::NoSecret(name) => {
                // Anybody can send a request, so this must not fill the log.
                tracing::debug!(secret = name, "a route or a script has no secret");
                Problem::new(Code::AccessUnavailable).retry_after(60)
            }
        }
    }
}
