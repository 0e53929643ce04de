//! One event as one line: JSON with the fields beside `timestamp`, `level` and `target`, or text for people.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::Metadata;
use tracing::field::{Field, Visit};

/// The most that is written of one field's value. A client chooses some of them, and could fill the disk.
const FIELD_BYTES_MAX: usize = 512;

/// A line that is being put together.
pub(super) struct LogLine {
    text: Vec<u8>,
    /// JSON; else text.
    json: bool,
    target: &'static str,
}

impl LogLine {
    /// The beginning of an event's line, in `text`, which is empty.
    pub(super) fn new(mut text: Vec<u8>, json: bool, of: &Metadata<'static>) -> Self {
        // The log tells when it was written; no rule goes by it.
        #[expect(clippy::disallowed_methods)]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let level = of.level().as_str();
        if json {
            text.extend_from_slice(b"{\"timestamp\":\"");
            write_time(&mut text, now);
            text.extend_from_slice(b"\",\"level\":\"");
            text.extend_from_slice(level.as_bytes());
            text.push(b'"');
        } else {
            write_time(&mut text, now);
            // Writing to a Vec does not fail, here and below.
            let _written = write!(text, " {level:>5} {}:", of.target());
        }
        Self { text, json, target: of.target() }
    }

    /// The whole line, with its line end.
    pub(super) fn end(self) -> Vec<u8> {
        let Self { mut text, json, target } = self;
        if json {
            text.extend_from_slice(b",\"target\":");
            quote(&mut text, target);
            text.push(b'}');
        }
        text.push(b'\n');
        text
    }

    fn name(&mut self, field: &Field) {
        if self.json {
            self.text.extend_from_slice(b",\"");
            self.text.extend_from_slice(field.name().as_bytes());
            self.text.extend_from_slice(b"\":");
        } else {
            self.text.push(b' ');
            if field.name() != "message" {
                self.text.extend_from_slice(field.name().as_bytes());
                self.text.push(b'=');
            }
        }
    }

    /// A number or a boolean: the same in both formats.
    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        let _written = write!(self.text, "{value}");
    }
}

impl Visit for LogLine {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.text.push(b'"');
        let _written = Escaped::field(&mut self.text).write_str(value);
        self.text.push(b'"');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        if self.json {
            self.text.push(b'"');
        }
        // A value that is cut has been written as far as it goes.
        let _written = write!(Escaped::field(&mut self.text), "{value:?}");
        if self.json {
            self.text.push(b'"');
        }
    }
}

fn quote(text: &mut Vec<u8>, value: &str) {
    text.push(b'"');
    let _written = Escaped { text, left: usize::MAX }.write_str(value);
    text.push(b'"');
}

/// What is written to it is the content of a JSON string (RFC 8259 § 7). In text as well: a line must stay one line,
/// and must not speak to a terminal.
struct Escaped<'a> {
    text: &'a mut Vec<u8>,
    /// Bytes of the value that may yet be written.
    left: usize,
}

impl<'a> Escaped<'a> {
    /// The value of a field, as far as it is written.
    fn field(text: &'a mut Vec<u8>) -> Self {
        Self { text, left: FIELD_BYTES_MAX }
    }
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, value: &str) -> fmt::Result {
        let whole = value.len() <= self.left;
        let value = if whole { value } else { &value[..value.floor_char_boundary(self.left)] };
        self.left -= value.len();
        self.escape(value.as_bytes());
        if whole {
            return Ok(());
        }
        self.text.extend_from_slice("…".as_bytes());
        self.left = 0;
        // Whoever formats the value need not go on.
        Err(fmt::Error)
    }
}

impl Escaped<'_> {
    fn escape(&mut self, mut rest: &[u8]) {
        while let Some(at) = rest.iter().position(|byte| matches!(byte, ..b' ' | b'"' | b'\\' | 0x7f)) {
            self.text.extend_from_slice(&rest[..at]);
            match rest[at] {
                byte @ (b'"' | b'\\') => self.text.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.text.extend_from_slice(b"\\n"),
                byte => {
                    let _written = write!(self.text, "\\u{byte:04x}");
                }
            }
            rest = &rest[at + 1..];
        }
        self.text.extend_from_slice(rest);
    }
}

/// The seconds that were written last, and how they read: `2026-11-22T00:00:00`.
type Second = (u64, String);

thread_local! {
    static SECOND: RefCell<Second> = const { RefCell::new((u64::MAX, String::new())) };
}

/// A time since 1970 by RFC 3339, in UTC, to the microsecond. The calendar is asked once a second.
fn write_time(text: &mut Vec<u8>, now: Duration) {
    SECOND.with_borrow_mut(|(second, calendar)| {
        if *second != now.as_secs() {
            let stamp = i64::try_from(now.as_secs()).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
            *second = now.as_secs();
            stamp.unwrap_or_default().to_string().trim_end_matches('Z').clone_into(calendar);
        }
        text.extend_from_slice(calendar.as_bytes());
    });
    let mut digits = *b".000000Z";
    let mut rest = now.subsec_micros();
    for digit in digits[1..7].iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    text.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(value: &str) -> String {
        let mut text = Vec::new();
        quote(&mut text, value);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_time_is_written_to_the_microsecond_whatever_was_written_before() {
        for (seconds, micros, written) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (1_795_312_800, 1, "2026-11-22T02:00:00.000001Z"),
            (1_795_312_800, 123_456, "2026-11-22T02:00:00.123456Z"),
            (1_795_312_799, 999_999, "2026-11-22T01:59:59.999999Z"),
        ] {
            let mut text = Vec::new();
            write_time(&mut text, Duration::new(seconds, micros * 1000 + 999));
            assert_eq!(String::from_utf8(text).unwrap(), written);
        }
    }

    #[test]
    fn a_value_is_written_as_far_as_its_bound_and_says_that_it_went_on() {
        let field = |value: &str| {
            let mut text = Vec::new();
            let _written = write!(Escaped::field(&mut text), "{value}");
            String::from_utf8(text).unwrap()
        };
        let exact = "p".repeat(FIELD_BYTES_MAX);
        assert_eq!(field(&exact), exact);
        assert_eq!(field(&format!("{exact}q")), format!("{exact}…"));
        assert_eq!(field(&"p".repeat(36_000)), format!("{exact}…"));
        // In pieces, as a `Debug` writes them; and no character is cut in two.
        let mut text = Vec::new();
        let (first, last) = ("a".repeat(511), "b".repeat(9));
        let _written = write!(Escaped::field(&mut text), "{first}é{last}");
        assert_eq!(String::from_utf8(text).unwrap(), format!("{}…", "a".repeat(511)));
    }

    proptest! {
        #[test]
        fn any_text_is_a_json_string_without_control_characters(value: String) {
            let line = escaped(&value);
            prop_assert!(!line.bytes().any(|byte| byte.is_ascii_control()), "{:?}", line);
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), value);
        }
    }
}
