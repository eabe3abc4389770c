//! Whether a request comes from who knows the secret: HMAC-SHA-256, as senders of webhooks use it.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::Sha256;

use super::{SignatureEncoding, WebhookScheme};
use crate::secret::SecretText;

/// The header of GitHub's signature.
const GITHUB: &str = "x-hub-signature-256";

/// The header of Stripe's signature.
const STRIPE: &str = "stripe-signature";

/// How old a signature with a time may be, and how far ahead its clock: in milliseconds.
const TOLERANCE_MS: u64 = 5 * 60 * 1000;

/// The most signatures that a request may have: while a secret is replaced there are two.
const MAX_SIGNATURES: usize = 8;

/// Either padding: senders do not agree about it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request says to prove that it is genuine. Nothing of it is to be believed before [`SignatureClaim::holds`].
#[derive(Debug, PartialEq, Eq)]
pub struct SignatureClaim {
    /// When it was signed, as it is written, if that is part of what was signed.
    time: Option<String>,
    /// One of these must be right.
    signatures: Vec<Vec<u8>>,
}

/// The header that has the signature, in lower case.
#[must_use]
pub fn signature_header(scheme: &WebhookScheme) -> &str {
    match scheme {
        WebhookScheme::GitHub => GITHUB,
        WebhookScheme::Stripe => STRIPE,
        WebhookScheme::Header { name, .. } => name,
    }
}

impl SignatureClaim {
    /// Read what a request says. The body is not needed for this, so a request that says nothing is refused before it.
    ///
    /// # Errors
    ///
    /// What is missing or not understood.
    pub fn read(scheme: &WebhookScheme, headers: &HeaderMap) -> Result<Self, String> {
        let name = signature_header(scheme);
        let mut values = headers.get_all(name).iter();
        let value = values.next().ok_or_else(|| format!("The header {name} is missing."))?;
        let value = value.to_str().ok().filter(|_| values.next().is_none());
        let claim = value.and_then(|value| match scheme {
            WebhookScheme::GitHub => Self::plain(value, "sha256=", SignatureEncoding::Hex),
            WebhookScheme::Stripe => Self::stripe(value),
            WebhookScheme::Header { prefix, encoding, .. } => Self::plain(value, prefix, *encoding),
        });
        claim.ok_or_else(|| format!("The header {name} is not understood."))
    }

    fn plain(value: &str, prefix: &str, encoding: SignatureEncoding) -> Option<Self> {
        let text = value.strip_prefix(prefix)?;
        let signature = match encoding {
            SignatureEncoding::Hex => hex(text)?,
            SignatureEncoding::Base64 => BASE64.decode(text).ok()?,
        };
        Some(Self { time: None, signatures: vec![signature] })
    }

    /// `t=1492774577,v1=5257...,v0=...`: other parts than `t` and `v1` are of other versions.
    fn stripe(value: &str) -> Option<Self> {
        let (mut time, mut signatures) = (None, Vec::new());
        for part in value.split(',') {
            match part.trim().split_once('=')? {
                ("t", text) if time.is_none() => time = Some(text.to_owned()),
                ("t", _) => return None,
                ("v1", text) if signatures.len() < MAX_SIGNATURES => signatures.push(hex(text)?),
                ("v1", _) => return None,
                _ => {}
            }
        }
        (time.is_some() && !signatures.is_empty()).then_some(Self { time, signatures })
    }

    /// Check it against the secret. Each comparison takes the same time wherever the first difference is.
    ///
    /// # Errors
    ///
    /// Why the request is not to be believed.
    pub fn holds(&self, secret: &SecretText, body: &[u8], now_ms: u64) -> Result<(), &'static str> {
        // A key may have any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
            return Err("The secret cannot be used.");
        };
        if let Some(time) = &self.time {
            mac.update(time.as_bytes());
            mac.update(b".");
        }
        mac.update(body);
        let right = |signature: &Vec<u8>| mac.clone().verify_slice(signature).is_ok();
        // Every one is compared: which one was right is nobody's business.
        if self.signatures.iter().filter(|signature| right(signature)).count() == 0 {
            return Err("The signature does not fit the body and the secret.");
        }
        match &self.time {
            Some(time) if !is_recent(time, now_ms) => {
                Err("The signature is more than 5 minutes old, or a clock is wrong.")
            }
            _ => Ok(()),
        }
    }
}

/// Whether a time in seconds since 1970 is about now.
fn is_recent(time: &str, now_ms: u64) -> bool {
    let ms = time.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1000));
    ms.is_some_and(|ms| ms.abs_diff(now_ms) <= TOLERANCE_MS)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use zeroize::Zeroizing;

    use super::*;

    fn secret(text: &str) -> SecretText {
        SecretText::new(Zeroizing::new(text.to_owned()))
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn check(scheme: &WebhookScheme, header: (&str, &str), key: &str, body: &str, now_ms: u64) -> bool {
        SignatureClaim::read(scheme, &headers(&[header]))
            .is_ok_and(|claim| claim.holds(&secret(key), body.as_bytes(), now_ms).is_ok())
    }

    fn in_header(prefix: &str, encoding: SignatureEncoding) -> WebhookScheme {
        WebhookScheme::Header { name: "x-signature".into(), prefix: prefix.into(), encoding, id: None }
    }

    /// From GitHub's documentation, "Validating webhook deliveries".
    const GITHUB_SECRET: &str = "It's a Secret to Everybody";
    const GITHUB_DIGEST: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_example_of_githubs_documentation_is_believed() {
        let header = format!("sha256={GITHUB_DIGEST}");
        let check = |header: &str, key: &str, body: &str| {
            check(&WebhookScheme::GitHub, (GITHUB, header), key, body, 0)
        };
        assert!(check(&header, GITHUB_SECRET, "Hello, World!"));
        assert!(check(&format!("sha256={}", GITHUB_DIGEST.to_uppercase()), GITHUB_SECRET, "Hello, World!"));
        assert!(!check(&header, GITHUB_SECRET, "Hello, World?"));
        assert!(!check(&header, "It's a secret to Everybody", "Hello, World!"));
        for wrong in ["", "sha256=", GITHUB_DIGEST, &header[..header.len() - 2], "sha1=00", "sha256=zz"] {
            assert!(!check(wrong, GITHUB_SECRET, "Hello, World!"), "{wrong}");
        }
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_example_of_the_rfc_is_believed_in_either_encoding() {
        let digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let (key, body) = ("Jefe", "what do ya want for nothing?");
        let hex_scheme = in_header("v0=", SignatureEncoding::Hex);
        assert!(check(&hex_scheme, ("X-Signature", &format!("v0={digest}")), key, body, 0));
        assert!(!check(&hex_scheme, ("X-Signature", digest), key, body, 0));
        let text = BASE64.encode(hex(digest).unwrap());
        let base64_scheme = in_header("", SignatureEncoding::Base64);
        assert!(check(&base64_scheme, ("X-Signature", &text), key, body, 0));
        assert!(check(&base64_scheme, ("X-Signature", text.trim_end_matches('=')), key, body, 0));
        assert!(!check(&base64_scheme, ("X-Signature", &text[1..]), key, body, 0));
    }

    fn stripe(key: &str, time: &str, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(format!("{time}.{body}").as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn stripes_signatures_are_believed_for_five_minutes() {
        let (key, body, time) = ("whsec_test_secret", "{\"id\":\"evt_1\"}", "1492774577");
        // What `printf '%s.%s' "$time" "$body" | openssl dgst -sha256 -hmac "$key"` prints.
        let right = "799c4ba7bb339f3c8601adfd112f0e477c930a268be1243d341abb8286501c2f";
        let old = stripe("whsec_before", time, body);
        let at = 1_492_774_577_000;
        let check =
            |header: &str, now_ms: u64| check(&WebhookScheme::Stripe, (STRIPE, header), key, body, now_ms);
        assert!(check(&format!("t={time},v1={right}"), at));
        assert!(check(&format!("t={time},v1={old},v1={right},v0=6ffb"), at));
        assert!(check(&format!("v1={right}, t={time}"), at));
        assert!(check(&format!("t={time},v1={right}"), at + TOLERANCE_MS));
        assert!(!check(&format!("t={time},v1={right}"), at + TOLERANCE_MS + 1));
        assert!(!check(&format!("t={time},v1={right}"), at - TOLERANCE_MS - 1));
        let later = "1492774578";
        for wrong in [
            format!("t={later},v1={right}"),
            format!("t={time},v0={right}"),
            format!("t={time},v1={old}"),
            format!("v1={right}"),
            format!("t={time},t={later},v1={right}"),
            format!("t={time}"),
            format!("t={time},v1={right},v1"),
            format!("t={time}{}", format!(",v1={right}").repeat(9)),
            String::new(),
        ] {
            assert!(!check(&wrong, at), "{wrong}");
        }
        // A time that is no number is signed as it is, and is not recent.
        let signed = stripe(key, "now", body);
        assert!(!check(&format!("t=now,v1={signed}"), at));
    }

    #[test]
    fn two_headers_are_no_proof() {
        let header = format!("sha256={GITHUB_DIGEST}");
        let twice = headers(&[(GITHUB, "sha256=00"), (GITHUB, &header)]);
        assert!(SignatureClaim::read(&WebhookScheme::GitHub, &twice).is_err());
        let missing = SignatureClaim::read(&WebhookScheme::Stripe, &headers(&[(GITHUB, &header)]));
        assert_eq!(missing.unwrap_err(), "The header stripe-signature is missing.");
    }
}
