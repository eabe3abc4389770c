//! Who has to be there for a request to be taken by a route.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::call::Principal;
use crate::secret::{AppSecrets, SecretText};
use crate::trigger::{SignatureClaim, SignatureEncoding, WebhookScheme};

/// Who has to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Access {
    /// Nobody: everybody may.
    #[default]
    None,
    /// Somebody with a token that may call the scripts of the app.
    Token,
    /// Somebody with a name and a password (RFC 7617).
    Basic {
        /// The secret with the names and passwords, `NAME:PASSWORD` in each line.
        secret: String,
    },
    /// Somebody who has signed the body: HMAC-SHA-256, in hexadecimal digits.
    Hmac {
        /// The secret with the key.
        secret: String,
        /// The header that has the signature.
        #[serde(default = "signature_header")]
        header: String,
        /// What stands before it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
    },
}

fn signature_header() -> String {
    "x-signature".to_owned()
}

/// What is left to be checked when the body is there.
#[derive(Debug)]
pub enum AccessCheck {
    /// Nothing more: this one is there.
    Done(Option<Principal>),
    /// The signature of the body.
    Signature {
        /// What the request says.
        claim: SignatureClaim,
        /// The name of the secret.
        name: String,
    },
}

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// A token is missing, or not one for this.
    Token,
    /// Name and password are missing or wrong.
    Basic {
        /// Whether there were some.
        tried: bool,
    },
    /// The signature is missing or wrong: why.
    Signature(String),
    /// The secret that it takes is missing, or cannot be read.
    NoSecret(String),
}

impl Access {
    /// Whether everybody may.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// The secret that it takes.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::None | Self::Token => None,
            Self::Basic { secret } | Self::Hmac { secret, .. } => Some(secret),
        }
    }

    /// Whether it is understood.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let (secret, more) = match self {
            Self::None | Self::Token => return Ok(()),
            Self::Basic { secret } => (secret, None),
            Self::Hmac { secret, header, prefix } => (secret, Some((header, prefix))),
        };
        if secret.is_empty() || secret.len() > 63 {
            return Err("access: the secret must be named".to_owned());
        }
        match more {
            Some((header, _)) if header::HeaderName::from_bytes(header.as_bytes()).is_err() => {
                Err(format!("access: {header:?} is no name of a header"))
            }
            Some((_, prefix)) if prefix.len() > 64 || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err("access: the prefix must be 64 visible ASCII characters at most".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Look at the head of a request, from `principal` if it came with a token.
    ///
    /// # Errors
    ///
    /// It is not taken.
    pub fn of_head(
        &self,
        headers: &HeaderMap,
        principal: Option<Principal>,
        secrets: &AppSecrets,
    ) -> Result<AccessCheck, Denied> {
        match self {
            Self::None => Ok(AccessCheck::Done(principal)),
            Self::Token => principal.map(|principal| AccessCheck::Done(Some(principal))).ok_or(Denied::Token),
            Self::Basic { secret } => {
                let lines = read(secrets, secret)?;
                let (name, password) = credentials(headers).ok_or(Denied::Basic { tried: false })?;
                if !is_among(&name, &password, lines) {
                    return Err(Denied::Basic { tried: true });
                }
                Ok(AccessCheck::Done(Some(Principal { kind: "basic".to_owned(), name })))
            }
            Self::Hmac { secret, header, prefix } => {
                read(secrets, secret)?;
                let scheme = WebhookScheme::Header {
                    name: header.to_ascii_lowercase().into(),
                    prefix: prefix.as_str().into(),
                    encoding: SignatureEncoding::Hex,
                    id: None,
                };
                let claim = SignatureClaim::read(&scheme, headers).map_err(Denied::Signature)?;
                Ok(AccessCheck::Signature { claim, name: secret.clone() })
            }
        }
    }
}

impl AccessCheck {
    /// Look at the body. Who is there then.
    ///
    /// # Errors
    ///
    /// It is not taken.
    pub fn of_body(
        self,
        body: &[u8],
        secrets: &AppSecrets,
        now_ms: u64,
    ) -> Result<Option<Principal>, Denied> {
        match self {
            Self::Done(principal) => Ok(principal),
            Self::Signature { claim, name } => {
                let secret = read(secrets, &name)?;
                claim.holds(secret, body, now_ms).map_err(|why| Denied::Signature(why.to_owned()))?;
                Ok(Some(Principal { kind: "hmac".to_owned(), name }))
            }
        }
    }
}

fn read<'a>(secrets: &'a AppSecrets, name: &str) -> Result<&'a SecretText, Denied> {
    let secret: Option<&'a SecretText> = secrets.0.get(name).and_then(Option::as_ref);
    secret.ok_or_else(|| Denied::NoSecret(name.to_owned()))
}

/// Name and password, if there is one header with them.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let (name, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Whether name and password are those of a line. Every line is compared, each in the same time: by a hash, so that not
/// even lengths are told.
fn is_among(name: &str, password: &str, lines: &SecretText) -> bool {
    let given = Sha256::digest(format!("{name}:{password}"));
    let lines = lines.expose().lines().map(str::trim).filter(|line| line.contains(':'));
    lines.filter(|line| bool::from(Sha256::digest(line.as_bytes()).ct_eq(&given))).count() > 0
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use zeroize::Zeroizing;

    use super::*;

    fn secrets() -> AppSecrets {
        let text = |text: &str| Some(SecretText::new(Zeroizing::new(text.to_owned())));
        let all = [
            ("users", text("ann:s3cret\n bob:with:colon \n\nnobody")),
            ("key", text("Jefe")),
            ("lost", None),
        ];
        AppSecrets(all.into_iter().map(|(name, text)| (name.into(), text)).collect())
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HeaderName::from_static(name), value.parse().unwrap())])
    }

    fn of_head(
        access: &Access,
        headers: &HeaderMap,
        principal: Option<Principal>,
    ) -> Result<Option<Principal>, Denied> {
        match access.of_head(headers, principal, &secrets())? {
            AccessCheck::Done(principal) => Ok(principal),
            AccessCheck::Signature { .. } => panic!("it does not ask for a signature"),
        }
    }

    #[test]
    fn a_token_is_there_or_not() {
        let ann = Principal { kind: "token".to_owned(), name: "ann".to_owned() };
        let none = HeaderMap::new();
        assert_eq!(of_head(&Access::None, &none, None), Ok(None));
        assert_eq!(of_head(&Access::None, &none, Some(ann.clone())), Ok(Some(ann.clone())));
        assert_eq!(of_head(&Access::Token, &none, Some(ann.clone())), Ok(Some(ann)));
        assert_eq!(of_head(&Access::Token, &none, None), Err(Denied::Token));
    }

    #[test]
    fn a_name_goes_with_its_password() {
        let access = Access::Basic { secret: "users".to_owned() };
        let get = |text: &str| {
            of_head(&access, &headers("authorization", &format!("Basic {}", STANDARD.encode(text))), None)
        };
        for (text, name) in [("ann:s3cret", "ann"), ("bob:with:colon", "bob")] {
            assert_eq!(get(text).unwrap().unwrap().name, name);
        }
        for wrong in ["ann:s3cre", "ann:", ":", "bob:s3cret", "ANN:s3cret", "nobody:", "ann:s3cret\nx"] {
            assert_eq!(get(wrong), Err(Denied::Basic { tried: true }), "{wrong}");
        }
        for none in ["nobody", ""] {
            assert_eq!(get(none), Err(Denied::Basic { tried: false }), "{none}");
        }
        assert_eq!(
            of_head(&access, &headers("authorization", "Bearer x"), None),
            Err(Denied::Basic { tried: false })
        );
        let lost = Access::Basic { secret: "lost".to_owned() };
        assert_eq!(of_head(&lost, &HeaderMap::new(), None), Err(Denied::NoSecret("lost".to_owned())));
    }

    #[test]
    fn a_signature_is_of_the_body_and_the_secret() {
        let access =
            Access::Hmac { secret: "key".to_owned(), header: "X-Sig".to_owned(), prefix: "v1=".to_owned() };
        let body = "what do ya want for nothing?";
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(body.as_bytes());
        let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let check = |value: &str, body: &str| {
            let check = access.of_head(&headers("x-sig", value), None, &secrets())?;
            check.of_body(body.as_bytes(), &secrets(), 0)
        };
        assert_eq!(check(&format!("v1={digits}"), body).unwrap().unwrap().kind, "hmac");
        for (value, body) in [
            (format!("v1={digits}"), "else"),
            (digits.clone(), body),
            (format!("v1={}", "00".repeat(32)), body),
        ] {
            assert!(matches!(check(&value, body), Err(Denied::Signature(_))), "{value}");
        }
    }
}
