//! The PROXY protocol, versions 1 and 2: what a proxy before us says, ahead of the first byte, of who has connected to it.
//!
//! <https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>. Whether it is spoken is configured and never guessed, as
//! the specification demands: a client that could choose would choose its own address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
/// The most that may follow the fixed part of version 2: addresses, and extensions (TLVs) that we pass over.
const REST_BYTES_MAX: usize = 4096;

/// What the bytes so far come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// That many more are certain to belong to the header.
    More(usize),
    /// It is complete, and says who has connected; none: the proxy itself, or nobody with an address.
    Complete(Option<IpAddr>),
    /// It is no header.
    Malformed(&'static str),
}

/// Judges the first bytes of a connection. It never asks for a byte behind the header.
pub fn judge(bytes: &[u8]) -> Judged {
    let begins = |with: &[u8]| with.starts_with(&bytes[..bytes.len().min(with.len())]);
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(b"PROXY ") {
        line(bytes)
    } else {
        Judged::Malformed("none")
    }
}

/// Version 2.
fn binary(bytes: &[u8]) -> Judged {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
        // The shortest header of version 1 is 15 bytes long, so what it would be is read before it is known.
        return Judged::More(if bytes.len() < SIGNATURE.len() { SIGNATURE.len() } else { 16 } - bytes.len());
    };
    let &[.., version, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    // Version 2; the proxy speaks for itself (LOCAL), or for a client (PROXY).
    let is_local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Judged::Malformed("of no version or command that there is"),
    };
    if length > REST_BYTES_MAX {
        return Judged::Malformed("too long");
    }
    if rest.len() < length {
        return Judged::More(length - rest.len());
    }
    let source = match family {
        _ if is_local => Some(None),
        // TCP over IPv4, over IPv6, a unix stream; and of no family.
        0x11 if length >= 12 => rest.first_chunk().map(|ip: &[u8; 4]| Some(IpAddr::V4(Ipv4Addr::from(*ip)))),
        0x21 if length >= 36 => rest.first_chunk().map(|ip: &[u8; 16]| Some(IpAddr::V6(Ipv6Addr::from(*ip)))),
        0x31 if length >= 216 => Some(None),
        0x00 => Some(None),
        _ => None,
    };
    match source {
        Some(source) => Judged::Complete(source.map(|ip| ip.to_canonical())),
        None => Judged::Malformed("without the addresses of a TCP connection"),
    }
}

/// Version 1.
fn line(bytes: &[u8]) -> Judged {
    if bytes.last() != Some(&b'\n') {
        return if bytes.len() < LINE_BYTES_MAX { Judged::More(1) } else { Judged::Malformed("too long") };
    }
    let text = bytes.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let Some(text) = text else { return Judged::Malformed("not a line") };
    let mut words = text.split(' ').skip(1);
    let (protocol, words) = (words.next(), words.collect::<Vec<_>>());
    let source = match (protocol, &words[..]) {
        // What follows it has no meaning.
        (Some("UNKNOWN"), _) => return Judged::Complete(None),
        (Some("TCP4"), [from, to, from_port, to_port]) if is_port(from_port) && is_port(to_port) => {
            from.parse().ok().filter(|_| to.parse::<Ipv4Addr>().is_ok()).map(IpAddr::V4)
        }
        (Some("TCP6"), [from, to, from_port, to_port]) if is_port(from_port) && is_port(to_port) => {
            from.parse().ok().filter(|_| to.parse::<Ipv6Addr>().is_ok()).map(IpAddr::V6)
        }
        _ => None,
    };
    match source {
        Some(source) => Judged::Complete(Some(source.to_canonical())),
        None => Judged::Malformed("without the addresses of a TCP connection"),
    }
}

/// Decimal, without a sign or leading zeros.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port.to_string() == text)
}

/// Reads the header from the beginning of `stream`, and not a byte more.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut bytes = Vec::new();
    loop {
        match judge(&bytes) {
            Judged::More(count) => {
                let begin = bytes.len();
                bytes.resize(begin + count, 0);
                stream.read_exact(&mut bytes[begin..]).await?;
            }
            Judged::Complete(source) => return Ok(source),
            Judged::Malformed(what) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the PROXY header is {what}"),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a whole header comes to, read as `read` does: only as far as the judge asks.
    fn read_all(bytes: &[u8]) -> (Judged, usize) {
        let mut taken = 0;
        loop {
            match judge(&bytes[..taken]) {
                Judged::More(count) if taken + count <= bytes.len() => taken += count,
                judged @ (Judged::More(_) | Judged::Complete(_) | Judged::Malformed(_)) => {
                    return (judged, taken);
                }
            }
        }
    }

    #[test]
    fn what_follows_a_header_is_never_asked_for() {
        for header in [
            &b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n"[..],
            b"PROXY UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\0\x01\0\x02",
        ] {
            let followed = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
            let (judged, taken) = read_all(&followed);
            assert!(matches!(judged, Judged::Complete(_)), "{judged:?}");
            assert_eq!(taken, header.len());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_read_without_end(bytes: Vec<u8>, like in 0..3_usize) {
            let start: &[u8] = [&b""[..], b"PROXY TCP6 ", SIGNATURE][like];
            let bytes = [start, &bytes].concat();
            let (judged, taken) = read_all(&bytes);
            prop_assert!(taken <= bytes.len());
            if let Judged::More(count) = judged {
                prop_assert!(count > 0 && taken + count <= 16 + REST_BYTES_MAX);
            }
        }

        #[test]
        fn every_address_is_read_as_it_was_written(v4: [u8; 4], v6: [u8; 16], port: u16) {
            let (four, six) = (Ipv4Addr::from(v4), Ipv6Addr::from(v6));
            let said = |text: String| read_all(text.as_bytes()).0;
            prop_assert_eq!(
                said(format!("PROXY TCP4 {four} {four} {port} 1\r\n")),
                Judged::Complete(Some(four.into()))
            );
            prop_assert_eq!(
                said(format!("PROXY TCP6 {six} {six} {port} 65535\r\n")),
                Judged::Complete(Some(IpAddr::from(six).to_canonical()))
            );
            let binary = [&SIGNATURE[..], &[0x21, 0x21, 0, 36], &v6, &[0; 20]].concat();
            prop_assert_eq!(read_all(&binary).0, Judged::Complete(Some(IpAddr::from(six).to_canonical())));
        }
    }
}
