//! A request of HTTP/2 as HTTP/1.1 would have it: one Host, one Cookie, nothing that the next hop could read in two ways.

use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};

/// Makes of the request what HTTP/1.1 would have, or tells the status of its refusal.
pub fn make_as_in_http1<B: Body>(request: &mut Request<B>, head_count: usize) -> Result<(), StatusCode> {
    // Walks, which cost less than a lookup of each by name.
    if request.headers().iter().filter(|(name, _)| **name == COOKIE).count() > 1 {
        join_cookies(request.headers_mut());
    }
    if request.headers().len() > head_count {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let (mut has_length, mut names_host) = (false, false);
    let without_body = request.body().is_end_stream();
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    for (name, value) in request.headers() {
        let bytes = value.as_bytes();
        // RFC 9113 § 8.2.1: such a value is malformed, and the next hop would read another one.
        if blank(bytes.first()) || blank(bytes.last()) {
            return Err(StatusCode::BAD_REQUEST);
        }
        if *name == CONTENT_LENGTH {
            if std::mem::replace(&mut has_length, true) || !is_plain_length(bytes, without_body) {
                return Err(StatusCode::BAD_REQUEST);
            }
        } else if *name == HOST {
            names_host = true;
        }
    }
    // RFC 9113 § 8.3.1. If there are both, or neither, the service judges as it does for an absolute target.
    if let Some(authority) = request.uri().authority().filter(|_| !names_host) {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| StatusCode::BAD_REQUEST)?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(())
}

/// One Cookie for all its crumbs, before anybody looks at them (RFC 9113 § 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    // Values joined by "; " are a value again.
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Plain digits (as in `framing.rs`), and not the length of a body that is not there.
fn is_plain_length(length: &[u8], without_body: bool) -> bool {
    match length {
        b"0" => true,
        [b'1'..=b'9', rest @ ..] => !without_body && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
