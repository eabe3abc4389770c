//! Finds secrets in texts, as they are and in the forms in which they are usually written, and takes them out.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::secret::SecretText;

/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";

/// How a text that was cut shows it, here and in the guest.
const CUTS: [&str; 2] = ["…", "..."];

/// Less of a secret than this, in bytes, can be left before a cut: to take out less would show more than it hides.
const MIN_CUT_BYTES: usize = 4;

/// So much of a secret, in bytes, is taken out also where it does not go on: errors quote parts of what they are given.
const MIN_BEGINNING_BYTES: usize = 16;

/// What is not encoded in a part of a URL: the unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// After so many bytes a search lets others have their turn.
const BREATH_BYTES: usize = 1 << 20;

/// Knows the forms of some secrets.
pub(crate) struct Redactor {
    forms: Vec<Zeroizing<String>>,
}

impl Redactor {
    /// For these secrets.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretText>) -> Self {
        let mut forms: Vec<_> = secrets.into_iter().flat_map(|secret| forms_of(secret.expose())).collect();
        forms.sort_unstable_by(|one: &Zeroizing<String>, other| one.as_str().cmp(other.as_str()));
        forms.dedup();
        Self { forms }
    }

    /// Put [`REDACTED`] in the place of each secret, and of what begins as one does: a function may have taken it apart, or
    /// cut it.
    pub(crate) fn redact(&self, text: &mut String) {
        let mut found = self.ranges(text.as_bytes());
        let was_cut = CUTS.iter().any(|cut| text.contains(cut));
        let least = if was_cut { MIN_CUT_BYTES } else { MIN_BEGINNING_BYTES };
        for form in self.forms.iter().map(|form| form.as_bytes()) {
            let may_begin =
                form.get(..least).is_some_and(|start| memmem::find(text.as_bytes(), start).is_some());
            if may_begin {
                found.extend(beginnings(text.as_bytes(), form));
            }
        }
        if found.is_empty() {
            return;
        }
        found.sort_unstable_by_key(|range| range.start);
        let (mut clean, mut at) = (String::with_capacity(text.len()), 0);
        for range in found {
            // What overlaps what was taken out before is part of it.
            if range.start >= at {
                clean.push_str(text.get(at..range.start).unwrap_or_default());
                clean.push_str(REDACTED);
            }
            at = at.max(range.end);
        }
        clean.push_str(text.get(at..).unwrap_or_default());
        *text = clean;
    }

    /// Where secrets are. All forms are UTF-8, so that no range begins or ends inside of a character.
    fn ranges(&self, text: &[u8]) -> Vec<Range<usize>> {
        let of = |form: &Zeroizing<String>| {
            let length = form.len();
            memmem::find_iter(text, form.as_bytes()).map(move |at| at..at + length).collect::<Vec<_>>()
        };
        self.forms.iter().flat_map(of).collect()
    }

    /// The same for several texts, without keeping a processor for long.
    pub(crate) async fn redact_all(&self, texts: Vec<&mut String>) {
        let mut pace = Pace::default();
        for text in texts {
            self.redact(text);
            pace.after(text.len().saturating_mul(self.forms.len())).await;
        }
    }

    /// A search through several texts that does not keep a processor for long.
    pub(crate) fn search(&self) -> Search<'_> {
        Search { redactor: self, pace: Pace::default() }
    }
}

/// Lets others have their turn now and then.
#[derive(Default)]
struct Pace {
    /// Bytes since the last breath.
    searched: usize,
}

impl Pace {
    async fn after(&mut self, bytes: usize) {
        self.searched = self.searched.saturating_add(bytes);
        if self.searched > BREATH_BYTES {
            self.searched = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Looks for secrets in one text after the other.
pub(crate) struct Search<'a> {
    redactor: &'a Redactor,
    pace: Pace,
}

impl Search<'_> {
    /// Whether there is a secret in it.
    pub(crate) async fn finds(&mut self, text: impl AsRef<[u8]>) -> bool {
        for form in &self.redactor.forms {
            if memmem::find(text.as_ref(), form.as_bytes()).is_some() {
                return true;
            }
            self.pace.after(text.as_ref().len()).await;
        }
        false
    }
}

/// The beginnings of a form that are long, or right before a cut, each as long as it can be: Knuth, Morris and Pratt's
/// search, since what is searched is a script's, and there may be many in it.
fn beginnings(text: &[u8], form: &[u8]) -> Vec<Range<usize>> {
    // No beginning is longer than the text.
    let form = &form[..form.len().min(text.len())];
    let mut borders = vec![0; form.len()];
    for at in 1..form.len() {
        borders[at] = longer(form, &borders, borders[at - 1], form[at]);
    }
    let (mut found, mut length) = (Vec::new(), 0);
    for (at, byte) in text.iter().enumerate() {
        if length == form.len() {
            length = border(&borders, length);
        }
        length = longer(form, &borders, length, *byte);
        let rest = &text[at + 1..];
        let goes_on = form.get(length).is_some_and(|next| rest.first() == Some(next));
        let cut = CUTS.iter().any(|cut| rest.starts_with(cut.as_bytes()));
        if !goes_on && (length >= MIN_BEGINNING_BYTES || (cut && length >= MIN_CUT_BYTES)) {
            let (start, mut end) = (at + 1 - length, at + 1);
            // A character of more than one byte may differ in the middle.
            while text.get(end).is_some_and(|next| next & 0xc0 == 0x80) {
                end -= 1;
            }
            found.push(start..end);
        }
    }
    found
}

/// The length of the longest beginning of the form that a text ends in, when it was `length` before this byte.
fn longer(form: &[u8], borders: &[usize], mut length: usize, byte: u8) -> usize {
    while length > 0 && form[length] != byte {
        length = border(borders, length);
    }
    length + usize::from(form.get(length) == Some(&byte))
}

/// The longest beginning of the form that is shorter than this one and that this one ends in.
fn border(borders: &[usize], length: usize) -> usize {
    length.checked_sub(1).map_or(0, |last| borders[last])
}

/// A secret as it is; in JSON, and in JSON in JSON; as Rust's errors and `debug` show a text; in a URL and in a form; in
/// base64 of any text that it is in; in hexadecimal digits.
fn forms_of(secret: &str) -> Vec<Zeroizing<String>> {
    let json = |text: &str| inside(serde_json::to_string(text).unwrap_or_default());
    let in_json = json(secret);
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let in_form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![
        secret.to_owned(),
        json(&in_json),
        in_json,
        inside(format!("{secret:?}")),
        utf8_percent_encode(secret, COMPONENT).to_string(),
        in_form,
        hex.to_uppercase(),
        hex,
    ];
    for before in 0..3 {
        forms.push(in_base64(&STANDARD_NO_PAD, secret, before));
        forms.push(in_base64(&URL_SAFE_NO_PAD, secret, before));
    }
    forms.into_iter().map(Zeroizing::new).collect()
}

/// Without the quotes around it.
fn inside(quoted: String) -> String {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    inner.to_owned()
}

/// The digits in base64 that depend on the secret alone, when so many bytes (modulo 3) come before it.
fn in_base64(engine: &impl Engine, secret: &str, before: usize) -> String {
    let bytes = Zeroizing::new([&[0, 0][..before], secret.as_bytes()].concat());
    let digits = engine.encode(&*bytes);
    // Six bits a digit: the first that has no bit of what is before, and the last that has none of what follows.
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    digits.get(first..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let secrets: Vec<_> =
            secrets.iter().map(|text| SecretText::new(Zeroizing::new((*text).to_owned()))).collect();
        Redactor::new(&secrets)
    }

    fn redacted(secrets: &[&str], text: &str) -> String {
        let mut text = text.to_owned();
        redactor(secrets).redact(&mut text);
        text
    }

    #[test]
    fn a_secret_goes_however_it_is_written() {
        const SECRET: &str = "pä\"ss\\ word/+\n1";
        for form in [
            SECRET.to_owned(),
            serde_json::to_string(SECRET).unwrap(),
            serde_json::json!({ "a": serde_json::json!([SECRET]).to_string() }).to_string(),
            format!("{SECRET:?}"),
            utf8_percent_encode(SECRET, COMPONENT).to_string(),
            form_urlencoded::Serializer::new(String::new()).append_pair("a", SECRET).finish(),
            STANDARD.encode(SECRET),
            SECRET.bytes().map(|byte| format!("{byte:02X}")).collect(),
        ] {
            let clean = redacted(&[SECRET], &format!("before {form} after"));
            assert!(clean.starts_with("before ") && clean.ends_with(" after"), "{clean}");
            assert!(clean.contains(REDACTED), "{clean}");
            assert!(!clean.contains("ss") && !clean.contains("word"), "{clean}");
        }
    }

    #[test]
    fn base64_of_a_text_around_a_secret_is_found() {
        for user in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "!", "!!", " and more"] {
                let whole = format!("{user}correct-horse{after}");
                for text in [STANDARD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                    let clean = redacted(&["correct-horse"], &text);
                    assert!(clean.contains(REDACTED), "{whole}: {clean}");
                }
            }
        }
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_behind() {
        assert_eq!(redacted(&["abcdefgh", "efghijkl"], "-abcdefghijkl-"), "-[redacted]-");
        assert_eq!(
            redacted(&["abcdefgh", "abcdefghijkl"], "-abcdefghijkl-abcdefgh"),
            "-[redacted]-[redacted]"
        );
        assert_eq!(redacted(&["redacted"], "-redacted-"), "-[redacted]-");
    }

    #[test]
    fn where_a_text_was_cut_the_beginning_of_a_secret_goes() {
        assert_eq!(redacted(&["geheimnis"], "it is geheim…"), "it is [redacted]…");
        assert_eq!(redacted(&["geheimnis"], "it is geheimnis…"), "it is [redacted]…");
        assert_eq!(redacted(&["geheimnis"], "geheimnis is geheim"), "[redacted] is geheim");
        assert_eq!(
            redacted(&["geheimnis"], "no \"geheim...\" (gehei...)"),
            "no \"[redacted]...\" ([redacted]...)"
        );
        assert_eq!(redacted(&["gehäimnis"], "gehäimnisgehä…"), "[redacted][redacted]…");
        assert_eq!(redacted(&["abababac"], "abababababac ababab…"), "abab[redacted] [redacted]…");
        assert_eq!(redacted(&["geheimnis"], "loading… geh…"), "loading… geh…");
        let many = "geheim...".repeat(10_000);
        assert!(!redacted(&["geheimnis"], &many).contains("geheim"));
        assert_eq!(redacted(&["geheimnis"], "nothing of it…"), "nothing of it…");
    }

    #[test]
    fn a_long_beginning_of_a_secret_goes_wherever_it_ends() {
        let secret = "0123456789abcdef/ghijklmn";
        assert_eq!(redacted(&[secret], "no grant `0123456789abcdef`"), "no grant `[redacted]`");
        assert_eq!(
            redacted(&[secret], "0123456789abcdef/ghX 0123456789abcde"),
            "[redacted]X 0123456789abcde"
        );
        assert_eq!(redacted(&[secret], "0123456789abcdef"), "[redacted]");
        // `ä` and `ö` begin with the same byte.
        assert_eq!(redacted(&["0123456789abcdefä-and-more"], "0123456789abcdefö"), "[redacted]ö");
    }

    #[tokio::test]
    async fn a_search_finds_what_redacting_takes_out() {
        let redactor = redactor(&["correct-horse"]);
        let mut search = redactor.search();
        assert!(search.finds("x correct-horse y").await);
        assert!(search.finds(STANDARD.encode("me:correct-horse")).await);
        assert!(search.finds(b"\xff\x00correct-horse".as_slice()).await);
        assert!(!search.finds(vec![b'x'; 3 << 20]).await);
        assert!(!search.finds("correct-hors").await);
    }
}
