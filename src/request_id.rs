//! `X-Request-Id`: one name for a request in the logs of everybody whom it passes.
//!
//! One that a trusted proxy has given stays; anybody else's would let a client choose what an operator finds in the logs.

use std::cell::Cell;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// The header.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest that is passed on.
const BYTES_MAX: usize = 128;
/// The length of one that we give.
const ID_CHARS: usize = 32;

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

/// The name of one request.
#[derive(Debug)]
pub enum RequestId {
    /// We have given it. Kept as its characters: a second handle on a header value costs an allocation.
    Made([u8; ID_CHARS]),
    /// A trusted proxy has given it.
    Given(HeaderValue),
}

impl RequestId {
    /// Its text.
    pub fn as_str(&self) -> &str {
        let text = match self {
            Self::Made(characters) => std::str::from_utf8(characters).ok(),
            Self::Given(value) => value.to_str().ok(),
        };
        text.unwrap_or_default()
    }

    /// The value of the header.
    pub fn to_value(&self) -> HeaderValue {
        match self {
            // Digits are always a header value.
            Self::Made(characters) => {
                HeaderValue::from_bytes(characters).unwrap_or_else(|_| HeaderValue::from_static("-"))
            }
            Self::Given(value) => value.clone(),
        }
    }
}

/// Names the request with `headers`: by what it bears already, if that is believed and well-formed.
pub fn set(headers: &mut HeaderMap, believed: bool) -> RequestId {
    if believed {
        let mut given = headers.get_all(&X_REQUEST_ID).iter();
        if let (Some(given), None) = (given.next(), given.next())
            && is_well_formed(given.as_bytes())
        {
            return RequestId::Given(given.clone());
        }
    }
    let made = RequestId::Made(make());
    headers.insert(X_REQUEST_ID, made.to_value());
    made
}

/// Visible ASCII that needs no quoting anywhere.
fn is_well_formed(given: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    !given.is_empty() && given.len() <= BYTES_MAX && given.iter().all(plain)
}

/// Hexadecimal digits.
fn make() -> [u8; ID_CHARS] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (beginning, number) = NEXT.get();
    NEXT.set((beginning, number.wrapping_add(1)));
    let bytes = (u128::from(beginning) << 64 | u128::from(number)).to_be_bytes();
    let mut text = [0; ID_CHARS];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same_whatever_the_thread() {
        let many = || (0..1000).map(|_| make()).collect::<Vec<_>>();
        let other = std::thread::spawn(many).join().unwrap();
        let all: std::collections::HashSet<[u8; ID_CHARS]> = many().into_iter().chain(other).collect();
        assert_eq!(all.len(), 2000);
        assert!(all.iter().all(|id| is_well_formed(id)));
    }
}
