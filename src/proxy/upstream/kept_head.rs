//! The head of the request that is under way on a connection, as hyper wrote it: what a request is made of again whose
//! connection turned out to be dead.
//!
//! hyper takes a request's headers and does not give them back. To copy them for every request that may be repeated
//! would cost each of them ten times as much as to copy the bytes.

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};

use crate::body::RequestBody;

/// The most bytes that an unused connection keeps room for.
const ROOM_BYTES_MAX: usize = 4096;

/// The head of the request that is under way. Both ends of a connection have it.
#[derive(Debug, Clone, Default)]
pub struct KeptHead(Arc<HeadInBytes>);

#[derive(Debug, Default)]
struct HeadInBytes {
    /// What is written next is a head to be kept.
    wanted: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl KeptHead {
    /// A request without body is about to be written, and may have to be written again.
    pub fn begin(&self) {
        self.lock().clear();
        self.0.wanted.store(true, Ordering::Relaxed);
    }

    /// `parts` are about to be written: a whole head, unless there are bytes before it that are not written yet
    /// (`after_others`); with these nothing is kept.
    #[inline]
    pub fn note(&self, parts: &[IoSlice<'_>], after_others: bool) {
        if self.0.wanted.load(Ordering::Relaxed) {
            self.keep(parts, after_others);
        }
    }

    fn keep(&self, parts: &[IoSlice<'_>], after_others: bool) {
        self.0.wanted.store(false, Ordering::Relaxed);
        if !after_others {
            let mut bytes = self.lock();
            for part in parts {
                bytes.extend_from_slice(part);
            }
        }
    }

    /// The request will not be written again.
    pub fn end(&self) {
        self.0.wanted.store(false, Ordering::Relaxed);
        let mut bytes = self.lock();
        bytes.clear();
        bytes.shrink_to(ROOM_BYTES_MAX);
    }

    /// The request with the head that was kept.
    pub fn to_request(&self) -> Option<Request<RequestBody>> {
        parse(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request of `head`, which is all of one head and nothing else.
fn parse(head: &[u8]) -> Option<Request<RequestBody>> {
    let mut lines = head.strip_suffix(b"\r\n")?.split_inclusive(|byte| *byte == b'\n');
    let mut request = Request::new(RequestBody::Empty);
    let mut words = lines.next()?.strip_suffix(b" HTTP/1.1\r\n")?.split(|byte| *byte == b' ');
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(words.next()?).ok()?;
    if words.next().is_some() {
        return None;
    }
    for line in lines {
        let line = line.strip_suffix(b"\r\n")?;
        let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_bytes(value.strip_prefix(b": ")?).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] =
        b"GET /hub/home?a=b%20c HTTP/1.1\r\nhost: hub\r\ncookie: a=1\r\ncookie: b=\xff:\r\nempty: \r\n\r\n";

    #[test]
    fn a_request_is_made_again_of_what_was_written() {
        let head = KeptHead::default();
        head.begin();
        head.note(&[IoSlice::new(&HEAD[..9]), IoSlice::new(&HEAD[9..])], false);
        head.note(&[IoSlice::new(b"more")], false);
        let request = head.to_request().unwrap();
        assert_eq!(
            (request.method(), request.uri().to_string().as_str()),
            (&Method::GET, "/hub/home?a=b%20c")
        );
        let lines: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 4] =
            [("host", b"hub"), ("cookie", b"a=1"), ("cookie", b"b=\xff:"), ("empty", b"")];
        assert_eq!(lines, expected);
        head.end();
        assert!(head.to_request().is_none());
    }

    #[test]
    fn nothing_is_made_of_what_is_not_one_head_or_was_not_asked_for() {
        let doubled = [HEAD, HEAD].concat();
        let with_rest = [b"rest\r\n", HEAD].concat();
        for bytes in [&HEAD[..HEAD.len() - 2], &doubled, &with_rest, b"", b"\r\n", b"GET / HTTP/1.0\r\n\r\n"]
        {
            assert!(parse(bytes).is_none(), "{}", bytes.escape_ascii());
        }
        let head = KeptHead::default();
        head.note(&[IoSlice::new(HEAD)], false);
        assert!(head.to_request().is_none());
        head.begin();
        head.note(&[IoSlice::new(HEAD)], true);
        assert!(head.to_request().is_none(), "bytes before it were not written yet");
        head.note(&[IoSlice::new(HEAD)], false);
        assert!(head.to_request().is_none());
    }
}
