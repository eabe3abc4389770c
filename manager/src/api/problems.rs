//! How errors of the layers below are told to clients.

use picloud_host::call::Failure;
use picloud_host::loader::LoadError;
use picloud_host::problem::{Code, Problem};

use crate::name::NameError;
use crate::password::PasswordError;
use crate::store::ChangeError;
use crate::store::route::RouteConflict;

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(Code::NameInvalid).detail(error.to_string())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NoApp => Self::new(Code::AppNotFound),
            ChangeError::TooManyApps => Self::new(Code::TooManyApps),
            ChangeError::NoToken => Self::new(Code::TokenNotFound),
            ChangeError::TooManyTokens => Self::new(Code::TooManyTokens),
            ChangeError::NoUser => Self::new(Code::UserNotFound),
            ChangeError::NoPassword => Self::new(Code::UserInvalid).detail("A new user needs a password."),
            ChangeError::TooManyUsers => Self::new(Code::TooManyUsers),
            ChangeError::NameTaken => Self::new(Code::NameTaken),
            ChangeError::LastAdmin => Self::new(Code::LastAdmin),
            ChangeError::NoScript => Self::new(Code::ScriptNotFound),
            ChangeError::NoVersion => Self::new(Code::VersionNotFound),
            ChangeError::NoCanary => Self::new(Code::CanaryNotFound),
            ChangeError::Canary(why) => Self::new(Code::CanaryInvalid).detail(why),
            ChangeError::NoRoute => Self::new(Code::RouteUnknown),
            ChangeError::Route(shared @ RouteConflict::Shared(_)) => {
                Self::new(Code::Forbidden).detail(shared.to_string())
            }
            ChangeError::Route(conflict) => Self::new(Code::RouteConflict).detail(conflict.to_string()),
            ChangeError::TooManyRoutes => Self::new(Code::TooManyRoutes),
            ChangeError::NoTrigger => Self::new(Code::TriggerNotFound),
            ChangeError::TooManyTriggers => Self::new(Code::TooManyTriggers),
            ChangeError::NoSecret => Self::new(Code::SecretNotFound),
            ChangeError::NoConfig => Self::new(Code::ConfigNotFound),
            ChangeError::TooManySettings => Self::new(Code::TooManySettings),
            ChangeError::Precondition => Self::new(Code::PreconditionFailed),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Saturated => {
                let detail = "Too many passwords are checked at present.";
                Self::new(Code::Saturated).detail(detail).retry_after(1)
            }
            PasswordError::Failed => Self::new(Code::Internal),
        }
    }
}

/// The problem of a source that is not loaded.
pub(crate) fn of_load_error(error: LoadError) -> Problem {
    match error {
        LoadError::Quota(exceeded) => exceeded.into(),
        LoadError::Failed(failure) => of_load_failure(failure),
    }
}

/// The problem of a source that could not be loaded.
pub(crate) fn of_load_failure(failure: Failure) -> Problem {
    let problem = Problem::new(failure.code).detail(failure.message).position(failure.position);
    if problem.status() == 503 { problem.retry_after(1) } else { problem }
}
