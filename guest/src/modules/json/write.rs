//! Rhai values into JSON text.
//!
//! Not by serde_json: its way to write floating-point numbers would add 17 KiB of tables to every image.

use std::fmt::Write as _;

use rhai::{Array, Blob, Dynamic, ImmutableString, Map};

use super::MAX_DEPTH;
use crate::modules::{base64, kind};

/// The text of a value, on one line, or on many with `indent` for each level.
pub(super) fn write(value: &Dynamic, indent: Option<&'static str>) -> Result<String, String> {
    let mut writer = Writer { out: String::with_capacity(128), indent, depth: 0 };
    writer.value(value)?;
    Ok(writer.out)
}

struct Writer {
    out: String,
    indent: Option<&'static str>,
    /// How many arrays and maps are open.
    depth: u32,
}

impl Writer {
    /// The common kinds of values come first. Locking looks through values that closures share.
    fn value(&mut self, value: &Dynamic) -> Result<(), String> {
        if let Some(text) = value.read_lock::<ImmutableString>() {
            self.string(&text);
        } else if let Ok(number) = value.as_int() {
            self.out.push_str(itoa::Buffer::new().format(number));
        } else if let Some(map) = value.read_lock::<Map>() {
            self.map(&map)?;
        } else if let Some(array) = value.read_lock::<Array>() {
            self.array(&array)?;
        } else if let Ok(truth) = value.as_bool() {
            self.out.push_str(if truth { "true" } else { "false" });
        } else if value.is_unit() {
            self.out.push_str("null");
        } else if let Ok(number) = value.as_float() {
            self.float(number)?;
        } else if let Some(blob) = value.read_lock::<Blob>() {
            self.string(&base64::to_text(&blob));
        } else if let Ok(character) = value.as_char() {
            self.string(character.encode_utf8(&mut [0; 4]));
        } else {
            return Err(refusal(value));
        }
        Ok(())
    }

    fn map(&mut self, map: &Map) -> Result<(), String> {
        self.open('{')?;
        for (index, (key, value)) in map.iter().enumerate() {
            self.separate(index);
            self.string(key);
            self.out.push_str(if self.indent.is_some() { ": " } else { ":" });
            self.value(value)?;
        }
        self.close('}', map.is_empty());
        Ok(())
    }

    fn array(&mut self, array: &Array) -> Result<(), String> {
        self.open('[')?;
        for (index, value) in array.iter().enumerate() {
            self.separate(index);
            self.value(value)?;
        }
        self.close(']', array.is_empty());
        Ok(())
    }

    fn open(&mut self, bracket: char) -> Result<(), String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("the value is nested more than {MAX_DEPTH} levels deep, or contains itself"));
        }
        self.depth += 1;
        self.out.push(bracket);
        Ok(())
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.out.push(',');
        }
        self.new_line();
    }

    fn close(&mut self, bracket: char, is_empty: bool) {
        self.depth -= 1;
        if !is_empty {
            self.new_line();
        }
        self.out.push(bracket);
    }

    fn new_line(&mut self) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            self.out.extend((0..self.depth).map(|_| indent));
        }
    }

    /// The shortest digits that read back as the same number, always with a point or an exponent.
    fn float(&mut self, number: f64) -> Result<(), String> {
        if !number.is_finite() {
            return Err(format!("{number} cannot be written as JSON"));
        }
        write!(self.out, "{number:?}").map_err(|error| error.to_string())
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        let mut written = 0;
        // Everything that is escaped is one byte of ASCII, so the cuts are between characters.
        for (at, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.out.push_str(&text[written..at]);
            written = at + 1;
            match byte {
                b'"' => self.out.push_str("\\\""),
                b'\\' => self.out.push_str("\\\\"),
                b'\n' => self.out.push_str("\\n"),
                b'\r' => self.out.push_str("\\r"),
                b'\t' => self.out.push_str("\\t"),
                _ => {
                    self.out.push_str("\\u00");
                    self.out.extend(
                        [byte >> 4, byte & 15]
                            .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])),
                    );
                }
            }
        }
        self.out.push_str(&text[written..]);
        self.out.push('"');
    }
}

fn refusal(value: &Dynamic) -> String {
    if value.is_locked() {
        return "a value cannot be written as JSON while it is being changed".to_owned();
    }
    format!("{} cannot be written as JSON", kind(value))
}
