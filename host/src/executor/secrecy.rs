//! Keeps the secrets that a call has read out of everything that it leaves behind.

use crate::call::{Answer, Callee, Failure, LogLine, Payload};
use crate::event::EventOp;
use crate::ports::{KvValue, Transaction};
use crate::problem::Code;
use crate::redact::{Redactor, Search};

/// Take secrets out of the log, and out of what is kept of the calls that this one has made.
pub(super) async fn redact(redactor: &Redactor, log: &mut [LogLine], callees: &mut [Callee]) {
    let own = log.iter_mut().map(|line| &mut line.message);
    let texts = own.chain(callees.iter_mut().flat_map(texts)).collect();
    redactor.redact_all(texts).await;
}

/// What is kept of a call and may say what the script has said.
fn texts(callee: &mut Callee) -> impl Iterator<Item = &mut String> {
    let Callee { request, outcome, .. } = callee;
    let log = outcome.log.iter_mut().map(|line| &mut line.message);
    let failure = outcome.result.as_mut().err().map(|failure| &mut failure.message);
    let request = match &mut request.payload {
        Payload::Http(call) | Payload::Call(call) => [Some(&mut call.method), Some(&mut call.path)],
        Payload::Event(_) | Payload::Test(_) => [None, None],
    };
    log.chain(failure).chain(request.into_iter().flatten())
}

/// Take secrets out of the message of an error. A success that would show one to whoever called, or write one down, is
/// none: so no table and no answer holds a secret by mistake.
pub(super) async fn keep(
    redactor: Option<Redactor>,
    result: Result<Answer, Failure>,
    transaction: Option<&Transaction>,
) -> Result<Answer, Failure> {
    let Some(redactor) = redactor else { return result };
    match result {
        Err(mut failure) => {
            redactor.redact(&mut failure.message);
            Err(failure)
        }
        Ok(answer) => match exposed(&redactor, &answer, transaction).await {
            None => Ok(answer),
            Some(place) => Err(Failure::new(
                Code::SecretExposed,
                format!("{place} would have held a secret that the call has read; nothing was changed"),
            )),
        },
    }
}

/// Where there is a secret, if there is one.
async fn exposed(
    redactor: &Redactor,
    answer: &Answer,
    transaction: Option<&Transaction>,
) -> Option<&'static str> {
    let mut search = redactor.search();
    if search.finds(&answer.body).await {
        return Some("the body of the answer");
    }
    for (name, value) in &answer.headers {
        if search.finds(name).await || search.finds(value).await {
            return Some("a header of the answer");
        }
    }
    let transaction = transaction?;
    for (key, write) in &transaction.writes {
        if search.finds(&**key).await {
            return Some("a key");
        }
        let found = match write.as_ref().map(|write| &write.value) {
            Some(KvValue::Json(text)) => search.finds(&**text).await,
            Some(KvValue::Blob(bytes)) => search.finds(bytes).await,
            None => false,
        };
        if found {
            return Some("the value of a key");
        }
    }
    for op in &transaction.events {
        if in_event(&mut search, op).await {
            return Some("an event");
        }
    }
    None
}

/// What else there is in an event is the name of something that exists already.
async fn in_event(search: &mut Search<'_>, op: &EventOp) -> bool {
    let EventOp::Insert(event) = op else { return false };
    let call = &event.call;
    search.finds(&*call.data).await
        || search.finds(call.subject.as_deref().unwrap_or_default()).await
        || search.finds(&call.kind).await
        || search.finds(event.dedupe_key.as_deref().unwrap_or_default()).await
}
