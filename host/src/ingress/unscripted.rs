//! Answers of routes that need no script: redirects, and answers that are always the same.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::cookie;
use crate::problem::{Code, Problem};
use crate::route::Goal;

/// Answer a request with these parameters, which are as they are in its path.
pub(super) fn answer(goal: &Goal, parameters: &[(Arc<str>, String)]) -> Result<Response, Problem> {
    let internal = || Problem::new(Code::Internal);
    match goal {
        // It is called, not answered here.
        Goal::Script(_) => Err(internal()),
        Goal::Redirect(redirect) => {
            let values: Vec<(&str, &str)> =
                parameters.iter().map(|(name, value)| (&**name, value.as_str())).collect();
            let too_long =
                || Problem::new(Code::RequestInvalid).detail("Where this leads to would be too long.");
            let location = redirect.location(&values).ok_or_else(too_long)?;
            let location = HeaderValue::try_from(location).map_err(|_| internal())?;
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::from_u16(redirect.status).map_err(|_| internal())?;
            response.headers_mut().insert(header::LOCATION, location);
            Ok(response)
        }
        Goal::Answer(answer) => {
            let mut response = Response::new(Body::from(answer.body.clone()));
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers.clone();
            cookie::refuse(response.headers_mut());
            Ok(response)
        }
    }
}
