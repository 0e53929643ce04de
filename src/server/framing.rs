//! Reads along with the HTTP/1.1 parser and refuses what the parser would quietly mend.
//!
//! hyper takes a bare LF for a line end, folds repeated `Content-Length` lines into one, lets `Transfer-Encoding` win
//! over `Content-Length`, and drops a fragment from the target. Each of these is a request that somebody else on the
//! path may read in another way (RFC 9112 § 11.2), and none is visible any more once it is parsed. So the bytes are
//! judged before hyper sees them. A request that is refused is spoilt with a NUL, to which hyper answers 400.

/// Lines that matter here are shorter; a longer one of these is refused, of which a read may have left us the head alone.
const LINE_BYTES_MAX: usize = 80;

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
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
enum Chunk {
    /// The size read so far, and whether it has a digit.
    Size(u64, bool),
    /// After the size, which is kept.
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// A trailer line; whether it has a byte.
    Trailer(bool),
    TrailerLf(bool),
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
    place: Place,
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
            place: Place::Between,
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
            Place::Between => Phase::Idle,
            Place::Head => Phase::Head,
            Place::Sized(_) | Place::Chunked(_) => Phase::Body,
            Place::Opaque => Phase::Opaque,
            Place::Refused => Phase::Refused,
        }
    }

    /// Judges the bytes that have just been read, and spoils what must not pass.
    pub fn judge(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            at += match self.place {
                Place::Opaque => return,
                // Nothing behind it may be taken for a request.
                Place::Refused => {
                    rest.fill(0);
                    return;
                }
                Place::Between | Place::Head => self.judge_line(rest),
                Place::Sized(left) => {
                    let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.enter_sized(left - taken as u64);
                    taken
                }
                Place::Chunked(Chunk::Data(left)) => {
                    let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let left = left - taken as u64;
                    let chunk = if left == 0 { Chunk::DataCr } else { Chunk::Data(left) };
                    self.place = Place::Chunked(chunk);
                    taken
                }
                Place::Chunked(chunk) => {
                    self.place = next_in_chunk(chunk, rest[0]);
                    if self.place == Place::Between {
                        self.end_body();
                    }
                    if self.place == Place::Refused {
                        // In an extension hyper takes any byte but a bare LF.
                        rest[0] = if matches!(chunk, Chunk::Extension(_)) { b'\n' } else { 0 };
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
            self.place = Place::Refused;
            return bytes.len();
        }
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.place = Place::Head;
            if self.first_line && spoil_target(bytes) {
                self.place = Place::Refused;
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
            self.place = Place::Refused;
        } else if !empty {
            self.place = Place::Head;
            self.first_line = false;
        } else if self.first_line {
            // An empty line before a request is passed over (RFC 9112 § 2.2).
            self.place = Place::Between;
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
            Length::Chunked => self.place = Place::Chunked(Chunk::Size(0, false)),
        }
    }

    fn enter_sized(&mut self, left: u64) {
        self.place = Place::Sized(left);
        if left == 0 {
            self.end_body();
        }
    }

    /// What follows an upgrade may be another protocol. If it does not come about, `Server` closes the connection.
    fn end_body(&mut self) {
        self.place = if self.then_opaque { Place::Opaque } else { Place::Between };
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

/// Spoils a request line with a `#` or a control byte: what hyper would cut off, or another parser stumble over.
fn spoil_target(line: &mut [u8]) -> bool {
    let length = line.len() - usize::from(line.last() == Some(&b'\r'));
    let is_odd = |byte: u8| byte == b'#' || byte.is_ascii_control();
    // Nearly no line has one. Without a way out the loop takes many bytes at once.
    if !line[..length].iter().fold(false, |odd, byte| odd | is_odd(*byte)) {
        return false;
    }
    if let Some(byte) = line[..length].iter_mut().find(|byte| is_odd(**byte)) {
        *byte = 0;
    }
    true
}

/// The value of `line` without the whitespace around it, if it is the header `name`.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, tail) = line.split_at_checked(name.len())?;
    let value = tail.strip_prefix(b":").filter(|_| head.eq_ignore_ascii_case(name))?;
    Some(value.trim_ascii())
}

/// Plain digits without leading zeros (RFC 9110 § 8.6 allows more; nobody needs it).
fn content_length(value: &[u8]) -> Option<u64> {
    let plain = match value {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !plain {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// RFC 9112 § 7.1, without leniency.
fn next_in_chunk(chunk: Chunk, byte: u8) -> Place {
    let digit = char::from(byte).to_digit(16).map(u64::from);
    Place::Chunked(match (chunk, byte, digit) {
        (Chunk::Size(size, _), _, Some(digit)) if size < 1 << 58 => Chunk::Size(size * 16 + digit, true),
        (Chunk::Size(size, true) | Chunk::Extension(size), b'\r', _) => Chunk::SizeLf(size),
        (Chunk::Size(size, true), b';' | b' ' | b'\t', _) => Chunk::Extension(size),
        (Chunk::Extension(size), _, _) if !byte.is_ascii_control() || byte == b'\t' => Chunk::Extension(size),
        (Chunk::SizeLf(0) | Chunk::TrailerLf(true), b'\n', _) => Chunk::Trailer(false),
        (Chunk::SizeLf(size), b'\n', _) => Chunk::Data(size),
        (Chunk::DataCr, b'\r', _) => Chunk::DataLf,
        (Chunk::DataLf, b'\n', _) => Chunk::Size(0, false),
        (Chunk::Trailer(begun), b'\r', _) => Chunk::TrailerLf(begun),
        (Chunk::Trailer(_), _, _) if byte != b'\n' => Chunk::Trailer(true),
        (Chunk::TrailerLf(false), b'\n', _) => return Place::Between,
        _ => return Place::Refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `bytes` in pieces of `step` and tells where the connection stands then.
    fn phase_after(bytes: &[u8], step: usize) -> Phase {
        let mut framing = Framing::new();
        let mut bytes = bytes.to_vec();
        for piece in bytes.chunks_mut(step) {
            framing.judge(piece);
        }
        framing.phase()
    }

    const GOOD: &[&str] = &[
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel\no",
        "POST / HTTP/1.1\r\nContent-Length:0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n5;a=b\r\nhel\no\r\n0\r\nX: y\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "GET /user/a%2Fb/\u{e9}?x=;//&y HTTP/1.1\r\nCookie: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nTest: t\r\n\r\n",
    ];

    const BAD: &[&str] = &[
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\n\r\n",
        "GET /a#b HTTP/1.1\r\n\r\n",
        "GET /a\tb HTTP/1.1\r\n\r\n",
        "GET /a\x7fb HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 01\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: ,chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\n",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\n",
    ];

    #[test]
    fn a_sound_request_passes_untouched_however_it_is_cut() {
        for text in GOOD {
            for step in 1..text.len() {
                let mut framing = Framing::new();
                let mut bytes = text.as_bytes().to_vec();
                for piece in bytes.chunks_mut(step) {
                    framing.judge(piece);
                }
                assert_eq!(framing.phase(), Phase::Idle, "{text:?} in pieces of {step}");
                assert_eq!(bytes, text.as_bytes(), "{text:?} in pieces of {step}");
            }
        }
    }

    #[test]
    fn an_ambiguous_request_is_refused_however_it_is_cut() {
        for text in BAD {
            for step in 1..=text.len() {
                assert_eq!(
                    phase_after(text.as_bytes(), step),
                    Phase::Refused,
                    "{text:?} in pieces of {step}"
                );
            }
        }
    }

    #[test]
    fn a_long_line_is_judged_by_its_last_bytes_too() {
        for length in 60..120 {
            let value = "v".repeat(length);
            for step in [1, 7, 79, 80, 81, 500] {
                let good = format!("GET / HTTP/1.1\r\nLong: {value}\r\n\r\n");
                assert_eq!(phase_after(good.as_bytes(), step), Phase::Idle, "{length} {step}");
                let bad = format!("GET / HTTP/1.1\r\nLong: {value}\n\r\n");
                assert_eq!(phase_after(bad.as_bytes(), step), Phase::Refused, "{length} {step}");
            }
        }
    }

    #[test]
    fn a_framing_line_that_does_not_fit_is_refused_however_it_is_cut() {
        let space = " ".repeat(LINE_BYTES_MAX);
        for line in [
            format!("Transfer-Encoding: chunked{space},chunked"),
            format!("Transfer-Encoding:{space}chunked"),
            format!("Content-Length: 5{space}5"),
            format!("Content-Length:{space}5"),
        ] {
            let text = format!("POST / HTTP/1.1\r\n{line}\r\n\r\n");
            for step in 1..=text.len() {
                assert_eq!(
                    phase_after(text.as_bytes(), step),
                    Phase::Refused,
                    "{text:?} in pieces of {step}"
                );
            }
        }
    }

    #[test]
    fn an_upgrade_makes_what_follows_opaque() {
        let text = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\n\n\n";
        let mut bytes = text.to_vec();
        let mut framing = Framing::new();
        framing.judge(&mut bytes);
        assert_eq!((framing.phase(), bytes.as_slice()), (Phase::Opaque, text.as_slice()));
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_how_the_bytes_are_cut(
            parts in proptest::collection::vec(prop_oneof![
                Just("GET / HTTP/1.1\r\n"), Just("\r\n"), Just("\n"), Just("\r"), Just("Content-Length: 3\r\n"),
                Just("Transfer-Encoding: chunked\r\n"), Just("3\r\nabc\r\n"), Just("0\r\n"), Just("abc"), Just(" x"),
                Just("Upgrade: x\r\n"), Just("Host: a\r\n"), Just("#"),
            ], 0..12),
            step in 1_usize..40,
        ) {
            let text = parts.concat();
            prop_assert_eq!(phase_after(text.as_bytes(), step), phase_after(text.as_bytes(), usize::MAX), "{:?}", text);
        }
    }
}
