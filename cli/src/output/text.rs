//! Text of others, made fit to print: nothing that a script or a server says may move the cursor or ring the bell.

use std::io::Read;

/// The text in one line, with control characters made visible.
#[must_use]
pub fn clean(text: &str) -> String {
    visible(text, |_| false)
}

/// So many of something: `1 call`, `1 000 calls`.
#[must_use]
pub fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// Microseconds as milliseconds.
#[must_use]
pub fn milliseconds(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

/// The text with its line breaks and tabs, but other control characters made visible.
#[must_use]
pub fn clean_lines(text: &str) -> String {
    visible(text, |character| matches!(character, '\n' | '\t'))
}

fn visible(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        if keep(character) || !(character.is_control() || is_bidi_control(character)) {
            clean.push(character);
        } else {
            clean.extend(character.escape_default());
        }
    }
    clean
}

/// Characters that reorder what follows them, so that a line seems to say something else.
fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The start of the text in one line, at most `limit` characters, with `...` where it is cut.
#[must_use]
pub fn excerpt(text: &str, limit: usize) -> String {
    let text = text.trim();
    let start: String = text.chars().take(limit).map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let cut = if text.chars().nth(limit).is_some() { "..." } else { "" };
    format!("{}{cut}", clean(&start))
}

/// A number with spaces between its thousands.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes in the unit that suits it.
#[must_use]
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Read to the end, `limit` bytes at most.
///
/// # Errors
///
/// Says why it cannot be read, or that it is longer.
pub fn read_bounded(source: &mut impl Read, limit: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut content).map_err(|error| error.to_string())?;
    if content.len() > limit {
        return Err(format!("it is longer than {limit} bytes"));
    }
    Ok(content)
}

/// Read one line, without reading what comes after it; a longer one than anybody answers with is cut.
///
/// # Errors
///
/// Says why it cannot be read.
pub fn read_line(source: &mut impl Read) -> Result<String, String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < 1000
        && source.read(&mut byte).map_err(|error| error.to_string())? > 0
        && byte[0] != b'\n'
    {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc\td\u{9b}\u{7f}"), "a\\u{1b}[2Jb\\r\\nc\\td\\u{9b}\\u{7f}");
        assert_eq!(clean_lines("a\n\tb\r\u{1b}]0;x\u{7}"), "a\n\tb\\r\\u{1b}]0;x\\u{7}");
        assert_eq!(clean("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(clean("grün ✓"), "grün ✓");
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt("  a\n b ", 10), "a  b");
        assert_eq!(excerpt("abcdef", 3), "abc...");
        assert_eq!(excerpt("äöü", 3), "äöü");
        assert_eq!(excerpt("\u{1b}[0m", 10), "\\u{1b}[0m");
    }

    #[test]
    fn numbers_are_readable() {
        let check = |number, expect: &str| assert_eq!(thousands(number), expect);
        check(0, "0");
        check(999, "999");
        check(1000, "1 000");
        check(u64::MAX, "18 446 744 073 709 551 615");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }

    #[test]
    fn a_line_ends_where_it_ends() {
        let mut source = &b"yes\nno"[..];
        assert_eq!(read_line(&mut source).unwrap(), "yes");
        assert_eq!(read_line(&mut source).unwrap(), "no");
        assert_eq!(read_line(&mut source).unwrap(), "");
        assert_eq!(read_line(&mut std::io::repeat(b'x')).unwrap().len(), 1000);
    }

    #[test]
    fn reading_ends_at_the_limit() {
        assert_eq!(read_bounded(&mut &b"abc"[..], 3).unwrap(), b"abc");
        assert_eq!(read_bounded(&mut std::io::repeat(0), 3).unwrap_err(), "it is longer than 3 bytes");
    }
}
