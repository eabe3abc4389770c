//! The interface `log`: lines kept with the record of the execution, within bounds.

use picloud_sdk_wit::picloud::sdk::log::{Host, Level};

use crate::call::{LogLevel, LogLine};
use crate::limits::Limits;
use crate::sandbox::CallState;

/// A longer line is cut, in bytes.
const MAX_LINE: usize = 8 << 10;

/// The log of one execution.
pub(crate) struct LogBuffer {
    pub(crate) lines: Vec<LogLine>,
    /// Lines that came after the bounds were reached.
    pub(crate) dropped: u32,
    lines_left: u64,
    bytes_left: u64,
}

impl LogBuffer {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { lines: Vec::new(), dropped: 0, lines_left: limits.log_lines, bytes_left: limits.log_bytes }
    }

    fn push(&mut self, at_ms: u64, level: LogLevel, mut message: String) {
        if message.len() > MAX_LINE {
            message.truncate(message.floor_char_boundary(MAX_LINE));
            message.push('…');
            // Lines wait for a while to be written; the room that the guest's text took must not wait with them.
            message.shrink_to_fit();
        }
        let bytes = message.len() as u64;
        if self.lines_left == 0 || self.bytes_left < bytes {
            self.dropped = self.dropped.saturating_add(1);
            // A short line after a long one that did not fit would leave a hole nobody sees.
            self.lines_left = 0;
            return;
        }
        self.lines_left -= 1;
        self.bytes_left -= bytes;
        self.lines.push(LogLine { at_ms, level, message });
    }
}

impl Host for CallState {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.log.push(self.clock.now_ms(), level, message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(lines: u64, bytes: u64) -> LogBuffer {
        LogBuffer::new(&Limits { log_lines: lines, log_bytes: bytes, ..Limits::default() })
    }

    #[test]
    fn lines_over_the_bound_are_counted() {
        let mut log = buffer(2, 100);
        (0..5).for_each(|i| log.push(0, LogLevel::Info, i.to_string()));
        assert_eq!((log.lines.len(), log.dropped), (2, 3));
    }

    #[test]
    fn bytes_over_the_bound_are_counted() {
        let mut log = buffer(100, 10);
        for text in ["12345", "123456", "1"] {
            log.push(0, LogLevel::Info, text.to_owned());
        }
        assert_eq!((log.lines.len(), log.dropped), (1, 2));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut log = buffer(10, 1 << 20);
        log.push(0, LogLevel::Info, "ä".repeat(MAX_LINE));
        assert!(log.lines[0].message.len() <= MAX_LINE + '…'.len_utf8());
        assert!(log.lines[0].message.ends_with("ä…"));
        assert!(log.lines[0].message.capacity() < 2 * MAX_LINE, "the rest of the text is still held");
    }
}
