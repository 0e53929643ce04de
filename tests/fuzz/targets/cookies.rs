//! Cookies on their way to the hub: those that must not arrive do not, whatever they stand among, and the others arrive
//! in order and byte for byte. The `cookie` crate reads them as well.

#![no_main]

use cookie::Cookie;
use hublatch::proxy::cookies::{CookieNames, OurCookies, session_ids, strip_hub_login, strip_ours};
use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};
use libfuzzer_sys::fuzz_target;

/// All cookies of hublatch begin like this, some of them after `__Host-`.
const OURS: &str = "hublatch-";
const LOGIN: [&str; 6] = [
    "jupyterhub-hub-login",
    "jupyterhub-session-id",
    "_xsrf",
    "__Host-jupyterhub-hub-login",
    "__Host-jupyterhub-session-id",
    "__Host-_xsrf",
];

/// A name as Python reads it: a text of Latin-1, stripped.
fn stripped(name: &[u8]) -> String {
    let text: String = name.iter().map(|byte| char::from(*byte)).collect();
    text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)).to_owned()
}

/// The pairs of all lines: names as they stand there.
fn pairs(headers: &HeaderMap) -> Vec<(Vec<u8>, Vec<u8>)> {
    let lines = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let pair = |pair: &[u8]| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        (halves.next().unwrap_or_default().to_vec(), pair.trim_ascii_start().to_vec())
    };
    lines.flat_map(|line| line.split(|byte| *byte == b';')).map(pair).collect()
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix("__Host-").unwrap_or(name).starts_with(OURS)
}

fn check(before: &HeaderMap, strip: impl Fn(&mut HeaderMap), is_unwanted: impl Fn(&str) -> bool) {
    let mut after = before.clone();
    strip(&mut after);
    for line in after.get_all(COOKIE) {
        let text: String = line.as_bytes().iter().map(|byte| char::from(*byte)).collect();
        for cookie in Cookie::split_parse(text).flatten() {
            assert!(!is_unwanted(cookie.name()), "{cookie}");
        }
    }
    let is_gone = |name: &[u8]| is_unwanted(&stripped(name));
    // Byte for byte, but for the whitespace that may stand before a pair.
    let texts = |pairs: Vec<(Vec<u8>, Vec<u8>)>| {
        pairs.into_iter().map(|(_, pair)| pair).filter(|pair| !pair.is_empty()).collect::<Vec<_>>()
    };
    let kept = texts(pairs(before).into_iter().filter(|(name, _)| !is_gone(name)).collect());
    let left = texts(pairs(&after));
    assert_eq!(kept, left, "{before:?}");
}

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n').take(16);
    let before: HeaderMap =
        lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).map(|line| (COOKIE, line)).collect();
    check(&before, strip_ours, is_ours);
    check(&before, strip_hub_login, |name| LOGIN.contains(&name));
    let count = |name: &str, exact: bool| {
        let is_it = |(other, _): &&(Vec<u8>, Vec<u8>)| {
            if exact { other.trim_ascii() == name.as_bytes() } else { stripped(other) == name }
        };
        pairs(&before).iter().filter(is_it).count()
    };
    let sessions = count("jupyterhub-session-id", false) + count("__Host-jupyterhub-session-id", false);
    assert_eq!(session_ids(&before).len(), sessions);
    for origin in ["https://hub.test", "http://hub.test"] {
        let names = CookieNames::new(origin, "/");
        let ours = OurCookies::read(&before, &names);
        // Two values of one name count as none.
        let values = count(&names.continuation(), true);
        assert!(ours.continuation.is_none() || values == 1, "{before:?}");
        for secret in &ours.secrets {
            assert_eq!(count(&names.state(secret.state()), true), 1, "{before:?}");
        }
        assert!(ours.spoilt.iter().all(|name| count(name, true) > 0), "{before:?}");
    }
});
