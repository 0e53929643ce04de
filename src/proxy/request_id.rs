//! `X-Request-Id`: one name for a request in the logs of everybody whom it passes.
//!
//! One that a trusted proxy has given stays; anybody else's would let a client choose what an operator finds in her logs.

use std::cell::Cell;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// The header.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest that is passed on.
const BYTES_MAX: usize = 128;

thread_local! {
    /// A random beginning for each thread, and a number that counts: unique without a system call for each request.
    static NEXT: Cell<(u64, u64)> = Cell::new((beginning(), 0));
}

fn beginning() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the names are only less unique.
    let _filled = SystemRandom::new().fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Names the request with `headers`: by what it bears already, if that is believed and well-formed. Answers the name if it
/// is `logged`; a second handle on it costs an allocation.
pub fn set(headers: &mut HeaderMap, believed: bool, logged: bool) -> Option<HeaderValue> {
    if believed {
        let mut given = headers.get_all(&X_REQUEST_ID).iter();
        if let (Some(given), None) = (given.next(), given.next())
            && is_well_formed(given.as_bytes())
        {
            return logged.then(|| given.clone());
        }
    }
    let made = make();
    let kept = logged.then(|| made.clone());
    headers.insert(X_REQUEST_ID, made);
    kept
}

/// Visible ASCII that needs no quoting anywhere.
fn is_well_formed(given: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    !given.is_empty() && given.len() <= BYTES_MAX && given.iter().all(plain)
}

/// 32 hexadecimal digits.
fn make() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (beginning, number) = NEXT.get();
    NEXT.set((beginning, number.wrapping_add(1)));
    let bytes = (u128::from(beginning) << 64 | u128::from(number)).to_be_bytes();
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    // Digits are always a header value.
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same_whatever_the_thread() {
        let many = || (0..1000).map(|_| make()).collect::<Vec<_>>();
        let other = std::thread::spawn(many).join().unwrap();
        let all: std::collections::HashSet<HeaderValue> = many().into_iter().chain(other).collect();
        assert_eq!(all.len(), 2000);
        assert!(all.iter().all(|id| id.len() == 32 && is_well_formed(id.as_bytes())));
    }
}
