//! The bounds of a range of keys, and filling one page from it.

use std::borrow::Cow;
use std::ops::Bound;
use std::sync::Arc;

use crate::ports::{KeyRange, KvEntry, KvPage, Page};

/// Where a range starts and ends in the byte order of keys.
pub type Bounds<'a> = (Bound<Cow<'a, str>>, Bound<Cow<'a, str>>);

/// The tightest bounds around a range; none when no key can be in it. Every key within them is in the range.
#[must_use]
pub fn bounds(range: &KeyRange) -> Option<Bounds<'_>> {
    let (low, low_is_in) = match range.after.as_deref() {
        Some(after) if after >= &*range.prefix => (after, false),
        _ => (&*range.prefix, true),
    };
    let end = prefix_end(&range.prefix);
    let upper = match (range.until.as_deref(), end) {
        (Some(until), Some(end)) if until >= end.as_str() => Bound::Excluded(Cow::Owned(end)),
        (Some(until), _) => Bound::Included(Cow::Borrowed(until)),
        (None, Some(end)) => Bound::Excluded(Cow::Owned(end)),
        (None, None) => Bound::Unbounded,
    };
    let possible = match &upper {
        Bound::Included(high) => low < &**high || (low_is_in && low == &**high),
        Bound::Excluded(high) => low < &**high,
        Bound::Unbounded => true,
    };
    let low = Cow::Borrowed(low);
    possible.then_some((if low_is_in { Bound::Included(low) } else { Bound::Excluded(low) }, upper))
}

/// [`Bounds`] as `BTreeMap::range` takes them.
#[must_use]
pub fn as_strs<'a>(bounds: &'a Bounds<'_>) -> (Bound<&'a str>, Bound<&'a str>) {
    (bounds.0.as_ref().map(|low| &**low), bounds.1.as_ref().map(|high| &**high))
}

/// The first key after all those that start with `prefix`; none when there is no such key. UTF-8 orders texts as their
/// characters, so it is the prefix with its last character replaced by the next one, characters without a next one
/// left out.
fn prefix_end(prefix: &str) -> Option<String> {
    let mut end = String::from(prefix);
    while let Some(last) = end.pop() {
        // The range knows that nothing lies between U+D7FF and U+E000.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// Collects entries until the page is full.
#[derive(Debug)]
pub struct Filling {
    entries: Vec<(Arc<str>, KvEntry)>,
    bytes: usize,
    page: Page,
}

impl Filling {
    /// An empty page with these bounds.
    #[must_use]
    pub fn new(page: Page) -> Self {
        Self { entries: Vec::new(), bytes: 0, page }
    }

    /// Whether nothing more belongs on the page.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.page.entries.max(1) || self.bytes > self.page.bytes
    }

    /// Add the next entry, unless the page is full.
    pub fn push(&mut self, key: Arc<str>, entry: KvEntry) {
        if !self.is_full() {
            self.bytes += key.len() + entry.value.len();
            self.entries.push((key, entry));
        }
    }

    /// What still fits.
    #[must_use]
    pub fn rest(&self) -> Page {
        Page {
            entries: self.page.entries.max(1).saturating_sub(self.entries.len()),
            bytes: self.page.bytes.saturating_sub(self.bytes),
        }
    }

    /// The page, with the word on whether there is more.
    #[must_use]
    pub fn finish(self, more: bool) -> KvPage {
        KvPage { entries: self.entries, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(prefix: &str, after: Option<&str>, until: Option<&str>) -> KeyRange {
        KeyRange { prefix: prefix.into(), after: after.map(Into::into), until: until.map(Into::into) }
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_text_in_byte_order() {
        let cases = [
            ("", None),
            ("a", Some("b")),
            ("a\u{7f}", Some("a\u{80}")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
        ];
        for (prefix, end) in cases {
            assert_eq!(prefix_end(prefix).as_deref(), end, "{prefix:?}");
        }
    }

    #[test]
    fn bounds_hold_exactly_what_the_range_contains() {
        let keys = [
            "",
            "a",
            "a\0",
            "aa",
            "ab",
            "b",
            "\u{d7ff}",
            "\u{d7ff}z",
            "\u{e000}",
            "\u{10ffff}",
            "\u{10ffff}x",
        ];
        let options: Vec<Option<&str>> = std::iter::once(None).chain(keys.map(Some)).collect();
        for prefix in keys {
            for after in &options {
                for until in &options {
                    let range = range(prefix, *after, *until);
                    let bounds = bounds(&range);
                    for key in keys {
                        let within = bounds
                            .as_ref()
                            .is_some_and(|b| std::ops::RangeBounds::<str>::contains(&as_strs(b), key));
                        assert_eq!(within, range.contains(key), "{key:?} in {range:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_bounds_make_a_map_panic() {
        let map = std::collections::BTreeMap::from([(Arc::<str>::from("a"), ())]);
        for (after, until) in
            [(Some("a"), Some("a")), (Some("b"), Some("a")), (Some("a"), None), (None, Some("a"))]
        {
            if let Some(bounds) = bounds(&range("a", after, until)) {
                let _ = map.range::<str, _>(as_strs(&bounds)).count();
            }
        }
    }
}
