//! What a proxy says of its client: nothing behind the header is asked for, the verdict on a header is final, and an
//! address is the one that a second reading finds.

#![no_main]

use std::net::IpAddr;

use hublatch::server::proxy_protocol::{Judged, judge};
use libfuzzer_sys::fuzz_target;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// A line of version 1, or the fixed part of version 2 and what may follow it.
const HEADER_BYTES_MAX: usize = 16 + 4096;

/// Reads as the server does, only as far as it is asked to: the verdict, and how many bytes it took.
fn read(bytes: &[u8]) -> (Judged, usize) {
    let mut taken = 0;
    loop {
        match judge(&bytes[..taken]) {
            Judged::More(count) => {
                assert!(count > 0 && taken + count <= HEADER_BYTES_MAX, "{count} more after {taken}");
                if taken + count > bytes.len() {
                    return (Judged::More(count), taken);
                }
                taken += count;
            }
            verdict => return (verdict, taken),
        }
    }
}

/// The client by another reading of a whole header.
fn client(header: &[u8]) -> Option<IpAddr> {
    if let Some(rest) = header.strip_prefix(SIGNATURE) {
        let is_local = rest[0] == 0x20;
        return match rest[1] {
            _ if is_local => None,
            0x11 => Some(IpAddr::from(<[u8; 4]>::try_from(&rest[4..8]).expect("four bytes"))),
            0x21 => Some(IpAddr::from(<[u8; 16]>::try_from(&rest[4..20]).expect("sixteen bytes"))),
            _ => None,
        };
    }
    let text = std::str::from_utf8(header).expect("a line of text");
    let words: Vec<&str> = text.trim_end_matches("\r\n").split(' ').collect();
    match words[..] {
        ["PROXY", "TCP4" | "TCP6", from, _, _, _] => Some(from.parse().expect("an address")),
        ["PROXY", "UNKNOWN", ..] => None,
        _ => panic!("accepted: {text:?}"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (verdict, taken) = read(bytes);
    if let Judged::Complete(source) = verdict {
        let header = &bytes[..taken];
        assert_eq!(source, client(header).map(|ip| ip.to_canonical()), "{header:?}");
        assert!(header.starts_with(SIGNATURE) || header.ends_with(b"\r\n"), "{header:?}");
        // Whatever follows changes nothing.
        let followed = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(read(&followed), (verdict, taken));
    }
});
