//! Reads along with the HTTP/1.1 parser and refuses what the parser would quietly mend.
//!
//! hyper takes a bare LF for a line end, folds repeated `Content-Length` lines into one, lets `Transfer-Encoding` win
//! over `Content-Length`, and drops a fragment from the target. Each of these is a request that somebody else on the
//! path may read in another way (RFC 9112 § 11.2), and none is visible any more once it is parsed. So the bytes are
//! judged before hyper sees them. A request that is refused is spoilt with a NUL, to which hyper answers 400.

mod chunk;
mod line;

use chunk::{Chunk, NextPart};
use line::{content_length, plain_lines, spoil_target, value_of};

/// Lines that matter here are shorter; a longer one of these is refused, of which a read may have left us the head alone.
const LINE_BYTES_MAX: usize = 80;

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FramingState {
    /// Before the first byte of a head.
    Between,
    Head,
    /// That many body bytes are left.
    Sized(u64),
    Chunked(Chunk),
    /// Not HTTP any more, or about to be closed: an upgrade was asked for.
    Opaque,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    None,
    Sized(u64),
    Chunked,
}

/// Follows the requests of one connection through its bytes.
#[derive(Debug)]
pub struct Framing {
    place: FramingState,
    /// Whether the line is a request line.
    first_line: bool,
    /// The beginning of a line that a read has cut in two.
    carried: Vec<u8>,
    /// Bytes of that line so far.
    carried_length: usize,
    length: Length,
    upgrade: bool,
    /// The request whose body is being read asks for an upgrade.
    then_opaque: bool,
    /// Heads that have ended.
    heads: u64,
}

/// Where a connection stands between two reads: decides which timeout runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No byte of the next request has come.
    Idle,
    /// Within a request head.
    Head,
    /// Within a request body.
    Body,
    /// Not HTTP any more.
    Opaque,
    /// A request was refused; the parser has yet to notice.
    Refused,
}

impl Framing {
    /// Before the first request.
    pub fn new() -> Self {
        Self {
            place: FramingState::Between,
            first_line: true,
            carried: Vec::new(),
            carried_length: 0,
            length: Length::None,
            upgrade: false,
            then_opaque: false,
            heads: 0,
        }
    }

    /// How many request heads have ended.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Where the connection stands.
    pub fn phase(&self) -> Phase {
        match self.place {
            FramingState::Between => Phase::Idle,
            FramingState::Head => Phase::Head,
            FramingState::Sized(_) | FramingState::Chunked(_) => Phase::Body,
            FramingState::Opaque => Phase::Opaque,
            FramingState::Refused => Phase::Refused,
        }
    }

    /// Judges the bytes that have just been read, and spoils what must not pass.
    pub fn judge(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            at += match self.place {
                FramingState::Opaque => return,
                // Nothing behind it may be taken for a request.
                FramingState::Refused => {
                    rest.fill(0);
                    return;
                }
                FramingState::Between | FramingState::Head => {
                    let plain =
                        if self.first_line || self.carried_length > 0 { 0 } else { plain_lines(rest) };
                    if plain > 0 { plain } else { self.judge_line(rest) }
                }
                FramingState::Sized(left) => {
                    let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.enter_sized(left - taken as u64);
                    taken
                }
                FramingState::Chunked(Chunk::Data(left)) => {
                    let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - taken as u64;
                    let chunk = if left == 0 { Chunk::DataCr } else { Chunk::Data(left) };
                    self.place = FramingState::Chunked(chunk);
                    taken
                }
                FramingState::Chunked(chunk) => {
                    match chunk.behind(rest[0]) {
                        NextPart::In(chunk) => self.place = FramingState::Chunked(chunk),
                        NextPart::End => self.end_body(),
                        NextPart::Refused => {
                            self.place = FramingState::Refused;
                            // In an extension hyper takes any byte but a bare LF.
                            rest[0] = if matches!(chunk, Chunk::Extension(_)) { b'\n' } else { 0 };
                        }
                    }
                    1
                }
            };
        }
    }

    /// Judges one line of a head, or the part of it that is there.
    fn judge_line(&mut self, bytes: &mut [u8]) -> usize {
        if self.first_line && self.carried.last() == Some(&b'\r') && bytes[0] != b'\n' {
            bytes[0] = 0;
            self.place = FramingState::Refused;
            return bytes.len();
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.place = FramingState::Head;
            if self.first_line && spoil_target(bytes) {
                self.place = FramingState::Refused;
            }
            let room = LINE_BYTES_MAX.saturating_sub(self.carried.len()).min(bytes.len());
            self.carried.extend_from_slice(&bytes[..room]);
            self.carried_length += bytes.len();
            // The last byte decides whether the line ends as it must.
            if room < bytes.len()
                && let (Some(kept), Some(last)) = (self.carried.last_mut(), bytes.last())
            {
                *kept = *last;
            }
            return bytes.len();
        };
        let (verdict, empty) = if self.carried_length == 0 {
            (self.judge_whole(&bytes[..end], end), end <= 1)
        } else {
            let mut line = std::mem::take(&mut self.carried);
            let length = self.carried_length + end;
            line.extend_from_slice(&bytes[..end.min(LINE_BYTES_MAX)]);
            if end > LINE_BYTES_MAX {
                line.push(bytes[end - 1]);
            }
            self.carried_length = 0;
            let verdict = self.judge_whole(&line, length);
            line.clear();
            self.carried = line;
            (verdict, length <= 1)
        };
        if !verdict || (self.first_line && spoil_target(&mut bytes[..end])) {
            bytes[end] = 0;
            self.place = FramingState::Refused;
        } else if !empty {
            self.place = FramingState::Head;
            self.first_line = false;
        } else if self.first_line {
            // An empty line before a request is passed over (RFC 9112 § 2.2).
            self.place = FramingState::Between;
        } else {
            self.end_head();
        }
        end + 1
    }

    /// Whether the line (without its LF) may pass: its head and its last byte, and its whole length. Takes down what it
    /// says of the body.
    fn judge_whole(&mut self, line: &[u8], length: usize) -> bool {
        let Some((b'\r', line)) = line.split_last() else { return false };
        if self.first_line {
            return true;
        }
        match line.first() {
            Some(b' ' | b'\t') => false, // obs-fold, RFC 9112 § 5.2
            Some(b'c' | b'C') => match value_of(line, b"content-length") {
                Some(_) if length > LINE_BYTES_MAX => false,
                Some(value) => match (self.length, content_length(value)) {
                    (Length::None, Some(length)) => {
                        self.length = Length::Sized(length);
                        true
                    }
                    _ => false,
                },
                None => true,
            },
            Some(b't' | b'T') => match value_of(line, b"transfer-encoding") {
                Some(_) if length > LINE_BYTES_MAX => false,
                Some(value) => {
                    let only = self.length == Length::None && value.eq_ignore_ascii_case(b"chunked");
                    self.length = Length::Chunked;
                    only
                }
                None => true,
            },
            Some(b'u' | b'U') => {
                self.upgrade |= value_of(line, b"upgrade").is_some();
                true
            }
            _ => true,
        }
    }

    fn end_head(&mut self) {
        let length = std::mem::replace(&mut self.length, Length::None);
        let upgrade = std::mem::take(&mut self.upgrade);
        self.first_line = true;
        self.heads += 1;
        self.then_opaque = upgrade;
        match length {
            Length::None => self.end_body(),
            Length::Sized(length) => self.enter_sized(length),
            Length::Chunked => self.place = FramingState::Chunked(Chunk::FIRST),
        }
    }

    fn enter_sized(&mut self, left: u64) {
        self.place = FramingState::Sized(left);
        if left == 0 {
            self.end_body();
        }
    }

    /// What follows an upgrade may be another protocol. If it does not come about, `Server` closes the connection.
    fn end_body(&mut self) {
        self.place = if self.then_opaque { FramingState::Opaque } else { FramingState::Between };
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
