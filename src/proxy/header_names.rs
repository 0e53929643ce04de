//! Header names that a proxy must know: those that end at each hop, and those that say where a request came from.

use hyper::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use crate::request_id::X_REQUEST_ID;

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
    // The names of `HOP_BY_HOP`, for the compiler to tell apart: to compare each header with all nine costs more.
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_here_is_known_by_its_name_and_nothing_else_is() {
        assert!(HOP_BY_HOP.iter().all(is_hop_by_hop));
        for name in
            ["cookie", "te2", "trailers", "upgrade-insecure-requests", "keep-alives", "content-length"]
        {
            assert!(!is_hop_by_hop(&HeaderName::from_static(name)), "{name}");
        }
    }
}
