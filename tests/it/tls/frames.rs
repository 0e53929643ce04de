//! HTTP/2 frames as bytes: what no well-behaved client sends.

use std::time::{Duration, Instant};

use super::{H2, Secure, pump};
use crate::support::proxy::wait_until;
use crate::support::requests::holds;
use crate::support::tables::lines;
use crate::support::{FakeHub, PATIENCE, Wire};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field as a literal that is not indexed (RFC 7541 § 6.2.2), spelled as it is.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let length =
        |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// The HEADERS of a `GET` that ends there.
fn head(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    frame(HEADERS, 0x5, stream, &block)
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "hub.test"), (":path", "/x")];

/// A connection after both sides have told their settings, and the payload of ours.
fn open(secure: &Secure) -> (Wire, Vec<u8>) {
    let (mut wire, alpn) = pump::connect(secure.proxy.address(), &secure.client(H2)).expect("a handshake");
    assert_eq!(alpn.as_deref(), Some("h2"));
    wire.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
    let (kind, _, _, settings) = next(&mut wire).expect("settings");
    assert_eq!(kind, SETTINGS);
    wire.send(frame(SETTINGS, 1, 0, &[]));
    (wire, settings)
}

/// The next frame: kind, flags, stream, payload.
fn next(wire: &mut Wire) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head = wire.take(9);
    let &[a, b, c, kind, flags, ref stream @ ..] = &head[..] else { return None };
    let length = u32::from_be_bytes([0, a, b, c]);
    let stream = u32::from_be_bytes(stream.try_into().unwrap());
    Some((kind, flags, stream, wire.take(length as usize)))
}

/// What becomes of `stream`: the first byte of its answer's fields, or how it is reset; `None` if the connection ends.
fn outcome(wire: &mut Wire, stream: u32) -> Option<Result<u8, u32>> {
    loop {
        match next(wire)? {
            (HEADERS, _, of, block) if of == stream => return Some(Ok(block[0])),
            (RST_STREAM, _, of, code) if of == stream => {
                return Some(Err(u32::from_be_bytes(code.try_into().unwrap())));
            }
            (GOAWAY, ..) => return None,
            _ => {}
        }
    }
}

/// `:status: 200` and `:status: 400` in the static table of HPACK.
const STATUS_200: u8 = 0x88;
const STATUS_400: u8 = 0x8c;

#[test]
fn our_settings_offer_no_tunnels_and_bound_everything() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let (_, settings) = open(&secure);
    let setting = |wanted: u16| {
        settings.chunks(6).find_map(|setting| {
            let (id, value) = setting.split_at(2);
            (id == wanted.to_be_bytes()).then(|| u32::from_be_bytes(value.try_into().unwrap()))
        })
    };
    assert_eq!(setting(3), Some(100), "MAX_CONCURRENT_STREAMS");
    assert_eq!(setting(6), Some(32 * 1024), "MAX_HEADER_LIST_SIZE");
    assert_eq!(setting(8), None, "ENABLE_CONNECT_PROTOCOL");
}

#[test]
fn every_spelling_of_an_identity_as_it_is_written_stays_outside() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    for name in lines("identity_headers.txt") {
        let (mut wire, _) = open(&secure);
        wire.send(head(1, &[&GET[..], &[(&name, "mallory")]].concat()));
        let outcome = outcome(&mut wire, 1);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            // RFC 9113 § 8.2.1: malformed.
            assert!(!matches!(outcome, Some(Ok(STATUS_200))), "{name}: {outcome:?}");
        } else {
            assert_eq!(outcome, Some(Ok(STATUS_200)), "{name}");
        }
    }
    assert!(!hub.seen().is_empty());
    assert!(hub.received().iter().all(|bytes| !holds(bytes, "mallory")));
}

#[test]
fn what_is_malformed_never_reaches_the_hub() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let without = |left_out: &str| GET.into_iter().filter(|(name, _)| *name != left_out).collect::<Vec<_>>();
    let with = |name, value| [&GET[..], &[(name, value)]].concat();
    for fields in [
        without(":path"),
        without(":method"),
        without(":authority"),
        with("connection", "close"),
        with("transfer-encoding", "chunked"),
        with("upgrade", "websocket"),
        with("keep-alive", "1"),
        with("proxy-connection", "close"),
        with("te", "gzip"),
        with(":path", "/y"),
        with(":protocol", "websocket"),
        with("x-a", "b\r\nremote_user: mallory"),
        with("x-a", "b\0"),
        with("x a", "b"),
        with("x:a", "b"),
        with("", "b"),
        [&[("x-early", "1")][..], &GET].concat(),
        [&without(":path")[..], &[(":path", "")]].concat(),
        [&without(":path")[..], &[(":path", "x")]].concat(),
        [&without(":path")[..], &[(":path", "/a b")]].concat(),
        [&without(":path")[..], &[(":path", "/a\r\nb")]].concat(),
        [&without(":authority")[..], &[(":authority", "hub.test, evil.test")]].concat(),
        [&without(":authority")[..], &[(":authority", "user@hub.test")]].concat(),
    ] {
        let (mut wire, _) = open(&secure);
        wire.send(head(1, &fields));
        let outcome = outcome(&mut wire, 1);
        assert!(matches!(outcome, None | Some(Err(_) | Ok(STATUS_400))), "{fields:?}: {outcome:?}");
    }
    assert_eq!(hub.seen().len(), 0);
}

#[test]
fn a_host_without_an_authority_will_do() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let (mut wire, _) = open(&secure);
    wire.send(head(1, &[GET[0], GET[1], GET[3], ("host", "hub.test")]));
    assert_eq!(outcome(&mut wire, 1), Some(Ok(STATUS_200)));
    assert_eq!(hub.only("/x").headers.all("host"), ["hub.test"]);
}

#[test]
fn a_peer_that_sends_hardly_anything_but_control_frames_is_cut_off() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let flood = |what: &str, piece: &dyn Fn(u32) -> Vec<u8>| {
        let (mut wire, _) = open(&secure);
        let mut sent = 0;
        for n in 0..200_u32 {
            let burst: Vec<u8> = (0..100).flat_map(|k| piece(n * 100 + k)).collect();
            if wire.try_send(burst).is_err() {
                break;
            }
            sent += 100;
        }
        // It fails here, for want of patience, if the connection is kept.
        println!("{what}: {sent} frames went out");
        wire.rest();
    };
    let reset =
        |n: u32| [head(2 * n + 1, &GET), frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat();
    flood("rapid reset", &reset);
    flood("ping", &|_| frame(PING, 0, 0, &[0; 8]));
    flood("settings", &|_| frame(SETTINGS, 0, 0, &[]));
    flood("window updates", &|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    flood("unknown frames", &|_| frame(0x4c, 0, 0, &[]));
    flood("priority", &|_| frame(2, 0, 3, &[0, 0, 0, 0, 1]));
    flood("empty data", &|n| {
        let open = frame(
            HEADERS,
            0x4,
            1,
            &GET.iter().flat_map(|(name, value)| literal(name, value)).collect::<Vec<_>>(),
        );
        if n == 0 { open } else { frame(DATA, 0, 1, &[]) }
    });
    wait_until("the end of all of them", || secure.proxy.metric("hublatch_connections") == 0);
    assert_eq!(secure.http2().ask(super::http2::get("/x", &[])).status, 200);
}

/// Reads up to a GOAWAY: its last stream and its code.
fn goaway(wire: &mut Wire) -> Option<(u32, u32)> {
    loop {
        match next(wire)? {
            (GOAWAY, _, _, payload) => {
                let (last, code) = payload.split_at(4);
                return Some((
                    u32::from_be_bytes(last.try_into().unwrap()),
                    u32::from_be_bytes(code.try_into().unwrap()),
                ));
            }
            (PING, 0, _, payload) => wire.send(frame(PING, 1, 0, &payload)),
            _ => {}
        }
    }
}

#[test]
fn an_idle_connection_is_told_to_go_and_then_closed() {
    let hub = FakeHub::start();
    let secure = Secure::with(&hub, |builder| builder.set("limits", "idle_timeout = \"1s\""));
    let (mut wire, _) = open(&secure);
    let begun = Instant::now();
    wire.send(head(1, &GET));
    assert_eq!(outcome(&mut wire, 1), Some(Ok(STATUS_200)));
    // First a warning, so that a request under way is still taken; then the last stream that was (RFC 9113 § 6.8).
    assert_eq!(goaway(&mut wire), Some((0x7fff_ffff, 0)));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(goaway(&mut wire), Some((1, 0)));
    wire.rest();
}

#[test]
fn a_peer_that_says_nothing_after_the_handshake_is_closed_too() {
    let hub = FakeHub::start();
    let secure = Secure::with(&hub, |builder| builder.set("limits", "idle_timeout = \"1s\""));
    let (mut wire, _) = pump::connect(secure.proxy.address(), &secure.client(H2)).expect("a handshake");
    wire.rest();
    // Nor may it stop in the middle of a head, or never agree to the end.
    let (mut wire, _) = open(&secure);
    wire.send(&head(1, &GET)[..20]);
    wire.rest();
    wait_until("the end of both", || secure.proxy.metric("hublatch_connections") == 0);
    assert_eq!(hub.seen().len(), 0);
}

#[test]
fn a_drain_says_goaway() {
    let hub = FakeHub::start();
    let secure = Secure::with(&hub, |builder| builder.set("limits", "drain_timeout = \"10m\""));
    let (mut wire, _) = open(&secure);
    wire.send(head(1, &GET));
    assert_eq!(outcome(&mut wire, 1), Some(Ok(STATUS_200)));
    secure.proxy.drain();
    assert_eq!(goaway(&mut wire), Some((0x7fff_ffff, 0)));
    assert_eq!(goaway(&mut wire), Some((1, 0)));
    wire.rest();
    secure.proxy.join_within(PATIENCE);
}

#[test]
fn a_head_in_endless_pieces_is_cut_off() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let (mut wire, _) = open(&secure);
    let block: Vec<u8> = GET.iter().flat_map(|(name, value)| literal(name, value)).collect();
    wire.send(frame(HEADERS, 0x1, 1, &block));
    let mut pieces = 0;
    while pieces < 20_000 && wire.try_send(frame(9, 0, 1, &literal("x-more", "1")).repeat(10)).is_ok() {
        pieces += 10;
    }
    wire.rest();
    assert_eq!(hub.seen().len(), 0);
}

#[test]
fn a_head_that_unpacks_to_megabytes_is_refused() {
    let hub = FakeHub::start();
    let secure = Secure::start(&hub);
    let (mut wire, _) = open(&secure);
    let mut block: Vec<u8> = GET.iter().flat_map(|(name, value)| literal(name, value)).collect();
    // A field that goes into the dynamic table (RFC 7541 § 6.2.1), and 12,000 references to it, a byte each.
    block.extend([0x40, 6]);
    block.extend(b"x-bomb");
    block.extend([0x7f, 0x81, 0x1d]); // 127 + 1 + 29 * 128 = 3840 bytes
    block.extend([b'x'; 3840]);
    block.extend([0x80 | 62; 12_000]);
    wire.send(frame(HEADERS, 0x5, 1, &block));
    let outcome = outcome(&mut wire, 1);
    assert!(!matches!(outcome, Some(Ok(STATUS_200))), "{outcome:?}");
    assert_eq!(hub.seen().len(), 0);
    assert_eq!(secure.http2().ask(super::http2::get("/x", &[])).status, 200);
}
