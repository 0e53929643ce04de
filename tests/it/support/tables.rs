//! The tables of hostile inputs in `tests/data`: one a line, `#` begins a comment line.

use std::path::Path;

/// The lines of `tests/data/{name}`, without comments and empty ones.
pub fn lines(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<String> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "{name} is empty");
    lines
}

/// The bytes that a line stands for: `\r`, `\n`, `\t`, `\\`, `\s` (a space at an end) and `\x7f` are written out.
pub fn unescaped(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let (kind, after) = rest.split_first().expect("an escape");
        rest = after;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b's' => b' ',
            b'\\' => b'\\',
            b'x' => {
                let (hex, after) = rest.split_at(2);
                rest = after;
                let hex = std::str::from_utf8(hex).expect("two digits");
                u8::from_str_radix(hex, 16).expect("two digits")
            }
            kind => panic!("an unknown escape: \\{}", char::from(*kind)),
        });
    }
    bytes
}
