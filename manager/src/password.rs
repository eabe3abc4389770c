//! Passwords of users: how long they are, how they are hashed, and how many at the same time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Deserializer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// The shortest password, in bytes.
pub const MIN_BYTES: usize = 12;

/// The longest password, in bytes.
pub const MAX_BYTES: usize = 1024;

/// What hashing takes, as OWASP recommends for Argon2id: memory in KiB, passes, lanes.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// How many are hashed at the same time. Each takes 19 MiB and a processor: so much of a small board anybody can have
/// who tries to log in, and no more.
const AT_ONCE: usize = 1;

/// How many there are at most, with those that wait.
const PLACES: usize = 16;

/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The hash of no password: what those of unknown users are held against, so that they take as long as others.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdCBpcyB0aGlz$\
                      ZrHLUnyv27prjVQ98FOlNVqMjxVXUyg8f31U5ljR2Wk";

/// A password as somebody has sent it. It is never shown, and overwritten when it is not needed any more.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Take a text for a password.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Whether somebody may choose it.
    #[must_use]
    pub fn may_be_chosen(&self) -> bool {
        (MIN_BYTES..=MAX_BYTES).contains(&self.0.len())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Why a password was not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many others are.
    #[error("too many passwords are checked at present")]
    Saturated,
    /// It cannot be done; why was logged.
    #[error("a password could not be hashed")]
    Failed,
}

/// A place among those whose passwords are hashed, or are to be.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Hashes passwords, a few at the same time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)), places: Arc::new(Semaphore::new(PLACES)) }
    }
}

impl Passwords {
    /// What is stored of a password.
    ///
    /// # Errors
    ///
    /// Too many others are hashed; the system's random source failed.
    pub async fn hash(&self, password: Password) -> Result<String, PasswordError> {
        let place = self.enter()?;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(failed)?;
        self.work(place, move || {
            Ok(argon2().hash_password_with_salt(password.0.as_bytes(), &salt)?.to_string())
        })
        .await
    }

    /// Take a place, before anything is done for whoever has sent a password.
    ///
    /// # Errors
    ///
    /// Too many others have one.
    pub fn enter(&self) -> Result<Place, PasswordError> {
        self.places
            .clone()
            .try_acquire_owned()
            .map(|permit| Place { _permit: permit })
            .map_err(|_| PasswordError::Saturated)
    }

    /// Whether a password is the one of which this is stored. With nothing stored it is not, which takes as long.
    ///
    /// # Errors
    ///
    /// Those who have come before take too long; what is stored is damaged.
    pub async fn verify(
        &self,
        place: Place,
        password: Password,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        self.work(place, move || {
            let hash = PasswordHash::new(stored.as_deref().unwrap_or(NOBODY))?;
            match argon2().verify_password(password.0.as_bytes(), &hash) {
                Ok(()) => Ok(stored.is_some()),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Do something that takes much, when it is its turn. It goes on if nobody waits for it any more, and holds its turn
    /// until it ends.
    async fn work<T: Send + 'static>(
        &self,
        place: Place,
        job: impl FnOnce() -> argon2::password_hash::Result<T> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| PasswordError::Saturated)?.map_err(failed)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = job();
            drop((turn, place));
            done
        });
        done.await.map_err(failed)?.map_err(failed)
    }
}

fn argon2() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    // The numbers are in range, and those that are recommended if they were not.
    let params = Params::new(memory, passes, lanes, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn failed(error: impl fmt::Display) -> PasswordError {
    tracing::error!(%error, "a password could not be hashed");
    PasswordError::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    async fn verify(
        passwords: &Passwords,
        password: Password,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        passwords.verify(passwords.enter()?, password, stored).await
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_nothing_else_is() {
        let passwords = Passwords::default();
        let stored = passwords.hash(password("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(stored, passwords.hash(password("correct horse")).await.unwrap(), "a salt of its own");
        assert!(verify(&passwords, password("correct horse"), Some(stored.clone())).await.unwrap());
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!verify(&passwords, password(wrong), Some(stored.clone())).await.unwrap(), "{wrong}");
        }
        let damaged = verify(&passwords, password("correct horse"), Some("$argon2id$".to_owned())).await;
        assert_eq!(damaged, Err(PasswordError::Failed));
    }

    #[tokio::test]
    async fn who_is_unknown_has_no_password_and_takes_the_same_work() {
        let passwords = Passwords::default();
        for text in ["", "nobody", "password"] {
            assert_eq!(verify(&passwords, password(text), None).await, Ok(false));
        }
        let params = Params::try_from(&PasswordHash::new(NOBODY).unwrap()).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), COST);
        assert_eq!(params.output_len(), Some(Params::DEFAULT_OUTPUT_LEN));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_too_many_at_once_the_last_are_turned_away() {
        let passwords = Passwords::default();
        let held = passwords.turns.clone().acquire_owned().await.unwrap();
        let waiting: Vec<_> = (0..PLACES)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { verify(&passwords, password("x"), None).await })
            })
            .collect();
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(verify(&passwords, password("x"), None).await, Err(PasswordError::Saturated));
        drop(held);
        for verified in waiting {
            assert_eq!(verified.await.unwrap(), Ok(false));
        }
    }

    #[test]
    fn a_password_is_long_and_not_shown() {
        assert!(!password("short").may_be_chosen() && !password(&"x".repeat(1025)).may_be_chosen());
        assert!(password("twelve bytes").may_be_chosen() && password(&"x".repeat(1024)).may_be_chosen());
        assert!(!format!("{:?}", password("twelve bytes")).contains("twelve"));
    }
}
