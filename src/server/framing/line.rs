//! The lines of a head: what of them is odd, and what they say of the body.

/// Spoils a request line with a `#` or a control byte: what hyper would cut off, or another parser stumble over.
pub fn spoil_target(line: &mut [u8]) -> bool {
    let length = line.len() - usize::from(line.last() == Some(&b'\r'));
    let is_odd = |byte: u8| byte == b'#' || byte.is_ascii_control();
    // Nearly no line has one. Without a way out the loop takes many bytes at once.
    if !line[..length].iter().fold(false, |odd, byte| odd | is_odd(*byte)) {
        return false;
    }
    if let Some(byte) = line[..length].iter_mut().find(|byte| is_odd(**byte)) {
        *byte = 0;
    }
    true
}

/// How many bytes at the beginning of `bytes`, which is the beginning of a header line, are whole lines that end as they
/// must and say nothing of the body: nearly all are.
pub fn plain_lines(bytes: &[u8]) -> usize {
    let mut passed = 0;
    while let Some(length) = memchr::memchr(b'\n', &bytes[passed..]) {
        let line = &bytes[passed..passed + length];
        if line.last() != Some(&b'\r') || may_matter(line) {
            break;
        }
        passed += length + 1;
    }
    passed
}

/// Whether a line may be one that `judge_whole` looks at: by its first byte, and where that is not rare by one more.
fn may_matter(line: &[u8]) -> bool {
    match line.first() {
        None | Some(b' ' | b'\t' | b'\r') => true,
        Some(b'c' | b'C') => line.get(b"content".len()) == Some(&b'-'),
        Some(b't' | b'T') => line.get(b"transfer".len()) == Some(&b'-'),
        Some(b'u' | b'U') => line.get(b"upgrade".len()) == Some(&b':'),
        Some(_) => false,
    }
}

/// The value of `line` without the whitespace around it, if it is the header `name`.
pub fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, tail) = line.split_at_checked(name.len())?;
    let value = tail.strip_prefix(b":").filter(|_| head.eq_ignore_ascii_case(name))?;
    Some(value.trim_ascii())
}

/// Plain digits without leading zeros (RFC 9110 § 8.6 allows more; nobody needs it).
pub fn content_length(value: &[u8]) -> Option<u64> {
    let plain = match value {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !plain {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
