//! Header names that a proxy must know: those that end at each hop, and those that say where a request came from.

use hyper::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::request_id::X_REQUEST_ID;

/// RFC 9110 § 7.6.1, and the older names that are still sent. `Trailer` goes because trailers are dropped.
pub(super) const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What says where a request came from, folded (`-` for `_`): the hub believes it, so only ours may arrive.
const FORWARDING: [&str; 7] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "x-scheme",
    "forwarded",
];

/// Whether a header of this name concerns one connection only, and so goes no further.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    // Nearly every other header is told apart by its first byte.
    matches!(name.as_str().as_bytes().first(), Some(b'c' | b'k' | b'p' | b't' | b'u'))
        && HOP_BY_HOP.contains(name)
}

/// Whether the header `name` says where a request came from, in any spelling; or names the request, in any but ours.
pub(super) fn is_forwarding(name: &[u8]) -> bool {
    FORWARDING.iter().any(|forwarding| spells(name, forwarding))
        || (spells(name, X_REQUEST_ID.as_str()) && name != X_REQUEST_ID.as_str().as_bytes())
}

/// Whether `name` is `wanted` with `-` or `_`.
fn spells(name: &[u8], wanted: &str) -> bool {
    wanted.len() == name.len()
        && wanted.bytes().zip(name).all(|(want, have)| want == if *have == b'_' { b'-' } else { *have })
}
