//! HTTP/1.1 as it comes over the wire: the verdict does not depend on how the bytes are cut, what passes is untouched,
//! what is refused is an error for the parser behind, and in what passes a second parser sees the same requests.

#![no_main]

use hublatch::server::framing::{Framing, Phase};
use libfuzzer_sys::fuzz_target;

fn judged(bytes: &[u8], step: usize) -> (Phase, u64, Vec<u8>) {
    let mut framing = Framing::new();
    let mut bytes = bytes.to_vec();
    for piece in bytes.chunks_mut(step) {
        framing.judge(piece);
    }
    (framing.phase(), framing.heads(), bytes)
}

/// What another parser makes of the bytes.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    /// That many whole heads, and nothing wrong so far.
    Heads(u64),
    /// So many, and then something that it refuses.
    Broken(u64),
}

fn read(mut bytes: &[u8]) -> Reading {
    let mut heads = 0;
    loop {
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            bytes = rest;
        }
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Reading::Heads(heads),
            Err(_) => return Reading::Broken(heads),
        };
        heads += 1;
        let head = &bytes[..length];
        assert!(!head.contains(&b'#') || request.path.is_some_and(|path| !path.contains('#')), "a fragment");
        let lone =
            head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'));
        assert!(!lone, "a bare LF in {:?}", String::from_utf8_lossy(head));
        let values = |name: &str| {
            let found = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| header.value.trim_ascii().to_vec()).collect::<Vec<_>>()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        assert!(lengths.len() + codings.len() <= 1, "two framings in {:?}", String::from_utf8_lossy(head));
        bytes = &bytes[length..];
        if let Some(text) = lengths.first() {
            let text = std::str::from_utf8(text).expect("digits");
            let length: u64 = text.parse().expect("digits");
            assert_eq!(length.to_string(), text, "plain digits");
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            match bytes.get(length..) {
                Some(rest) => bytes = rest,
                None => return Reading::Heads(heads),
            }
        } else if let Some(coding) = codings.first() {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            match end_of_chunks(bytes) {
                Ok(Some(rest)) => bytes = rest,
                Ok(None) => return Reading::Heads(heads),
                Err(Malformed) => return Reading::Broken(heads),
            }
        }
        if !values("upgrade").is_empty() {
            return Reading::Heads(heads);
        }
    }
}

/// No chunked body.
struct Malformed;

/// What follows a chunked body, if it is all there.
fn end_of_chunks(mut bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    loop {
        let (skip, size) = match httparse::parse_chunk_size(bytes) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => (bytes.len(), u64::MAX),
            Err(_) => return Err(Malformed),
        };
        // As hyper does, and httparse does not.
        let line = bytes[..skip].strip_suffix(b"\r\n").unwrap_or(&bytes[..skip]);
        if line.contains(&b'\n') {
            return Err(Malformed);
        }
        bytes = &bytes[skip..];
        if size == 0 {
            break;
        }
        let Some(rest) = bytes.get(usize::try_from(size).unwrap_or(usize::MAX)..) else { return Ok(None) };
        bytes = match rest {
            [b'\r', b'\n', rest @ ..] => rest,
            [] | [b'\r'] => return Ok(None),
            _ => return Err(Malformed),
        };
    }
    loop {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = bytes[..end].strip_suffix(b"\r").ok_or(Malformed)?;
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\0')) {
            return Err(Malformed);
        }
        bytes = &bytes[end + 1..];
        if line.is_empty() {
            return Ok(Some(bytes));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((first, bytes)) = input.split_first() else { return };
    let (phase, heads, passed) = judged(bytes, usize::MAX);
    for step in [1, usize::from(*first) + 1] {
        let (other_phase, other_heads, other_passed) = judged(bytes, step);
        assert_eq!((phase, heads), (other_phase, other_heads), "in pieces of {step}");
        if phase != Phase::Refused {
            assert_eq!(passed, other_passed, "in pieces of {step}");
        }
    }
    if phase == Phase::Refused {
        // The parser gets the end of a head behind it, and must not take any of it for one more request.
        let ended = [&passed[..], b"\r\n\r\n"].concat();
        match read(&ended) {
            Reading::Broken(seen) => assert!(seen <= heads),
            Reading::Heads(seen) => {
                panic!("{seen} of {heads} heads pass: {:?}", String::from_utf8_lossy(&ended))
            }
        }
        return;
    }
    assert_eq!(passed, bytes, "what passes is untouched");
    match read(bytes) {
        Reading::Heads(seen) => assert_eq!(seen, heads),
        // Neither a request more than hyper answers before it gives up.
        Reading::Broken(seen) => assert!(seen <= heads),
    }
});
