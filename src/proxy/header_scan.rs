//! What one walk past a request's headers finds: a lookup of each by name would cost more, and mostly there is nothing.

use hyper::HeaderMap;
use hyper::header::{CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, REFERER, UPGRADE};

use super::accept::AcceptHeaders;
use super::header_names::{is_forwarding, is_hop_by_hop};
use super::identity::IdentityHeaders;

/// What a request's headers hold.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a header of its own")]
pub struct HeaderScan {
    /// There is an `Upgrade`.
    pub upgrade: bool,
    /// There is a `Cookie`.
    pub cookies: bool,
    /// The `Host`.
    pub host: Host,
    pub(super) connection: bool,
    pub(super) referer: bool,
    /// Names that must not go upstream, besides `Connection`.
    pub(super) unwanted: Vec<HeaderName>,
    pub(super) wishes: AcceptHeaders,
}

/// Of what kind the `Host` headers are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Host {
    /// There is none.
    #[default]
    Missing,
    /// There is one that a host can be.
    Readable,
    /// There are several, or it is no host.
    Odd,
}

impl HeaderScan {
    /// Walks past `headers`.
    pub fn among(headers: &HeaderMap, identity: &IdentityHeaders) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            let text = name.as_str().as_bytes();
            // Nearly every header is told apart by its first byte and its length.
            let unwanted = match text.first() {
                Some(b'a' | b's') => {
                    found.wishes.note(text, value);
                    false
                }
                Some(b'c') => {
                    found.cookies |= *name == COOKIE;
                    found.connection |= *name == CONNECTION;
                    false
                }
                Some(b'h') => {
                    if *name == HOST {
                        let readable = found.host == Host::Missing && is_readable_host(value);
                        found.host = if readable { Host::Readable } else { Host::Odd };
                    }
                    false
                }
                Some(b'r') => {
                    found.referer |= *name == REFERER;
                    false
                }
                Some(b'k' | b'p' | b't' | b'u') => {
                    found.upgrade |= *name == UPGRADE;
                    is_hop_by_hop(name)
                }
                Some(b'x') => {
                    found.wishes.note(text, value);
                    is_forwarding(text)
                }
                Some(b'f') => is_forwarding(text),
                _ => false,
            };
            if unwanted || identity.is_reserved(text) {
                found.unwanted.push(name.clone());
            }
        }
        found
    }
}

/// Whether `host` consists of what hosts and ports consist of.
pub(super) fn is_readable_host(host: &HeaderValue) -> bool {
    let fits = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']' | b'~' | b'%')
    };
    !host.is_empty() && host.as_bytes().iter().all(fits)
}
