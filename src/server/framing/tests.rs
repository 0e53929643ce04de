//! What passes and what is refused, however the bytes are cut.

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
        for step in 1..=text.len() {
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
fn a_malformed_request_is_refused_however_it_is_cut() {
    for text in BAD {
        for step in 1..=text.len() {
            assert_eq!(phase_after(text.as_bytes(), step), Phase::Refused, "{text:?} in pieces of {step}");
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
            assert_eq!(phase_after(text.as_bytes(), step), Phase::Refused, "{text:?} in pieces of {step}");
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
