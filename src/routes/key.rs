//! How paths become keys: decoded, with one `/` before and none behind.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// A path whose escapes are broken, or are no UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path has an escape that cannot be decoded")]
pub struct BadEscape;

/// The path without its escapes.
pub fn decoded(path: &str) -> Result<Cow<'_, str>, BadEscape> {
    // Nearly no path has one.
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(path));
    }
    if !has_whole_escapes(path) {
        return Err(BadEscape);
    }
    percent_decode(path.as_bytes()).decode_utf8().map_err(|_| BadEscape)
}

/// The same for a path that is only looked up: what is no UTF-8 is no key's.
pub fn readable(path: &str) -> Result<Cow<'_, str>, BadEscape> {
    match decoded(path) {
        Err(BadEscape) if has_whole_escapes(path) => Ok(percent_decode(path.as_bytes()).decode_utf8_lossy()),
        read => read,
    }
}

fn has_whole_escapes(path: &str) -> bool {
    let bytes = path.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    memchr::memchr_iter(b'%', bytes).all(|at| is_hex(at + 1) && is_hex(at + 2))
}

/// The key of a path as it stands in a request for the API.
pub fn of_path(path: &str) -> Result<String, BadEscape> {
    let path = decoded(path)?;
    Ok(format!("/{}", path.trim_matches('/')))
}

/// A host as the first segment of a key: in lower case, without port and trailing dot.
pub fn host(host: &str) -> Cow<'_, str> {
    let bare = if host.starts_with('[') {
        host.find(']').map_or(host, |end| &host[..=end])
    } else {
        host.split(':').next().unwrap_or(host)
    };
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    if bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(bare.to_ascii_lowercase())
    } else {
        Cow::Borrowed(bare)
    }
}

/// What is left of the raw `path` behind the decoded `key`; it begins with `/`.
pub fn behind<'p>(path: &'p str, key: &str) -> &'p str {
    let bytes = path.as_bytes();
    let (mut at, mut read) = (0, 0);
    while read < key.len() && at < bytes.len() {
        at += if bytes[at] == b'%' { 3 } else { 1 };
        read += 1;
    }
    path.get(at.min(path.len())..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_decoded_and_has_one_slash_before_and_none_behind() {
        for (path, key) in [
            ("", "/"),
            ("/", "/"),
            ("/user/alice", "/user/alice"),
            ("user/alice/", "/user/alice"),
            ("/user/%C3%A9/", "/user/é"),
            ("/a%2Fb", "/a/b"),
            ("/@/space%20word", "/@/space word"),
        ] {
            assert_eq!(of_path(path).as_deref(), Ok(key), "{path}");
        }
        for path in ["/%", "/%zz", "/%e9", "/a%2"] {
            assert_eq!(of_path(path), Err(BadEscape), "{path}");
        }
    }

    #[test]
    fn a_host_has_no_port_and_no_case() {
        for (written, key) in [
            ("Hub.Test:8000", "hub.test"),
            ("hub.test.", "hub.test"),
            ("[::1]:80", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(host(written), key);
        }
    }

    #[test]
    fn what_is_behind_a_key_keeps_its_spelling() {
        for (path, key, rest) in [
            ("/a%20b/r%65st", "/a b", "/r%65st"),
            ("/user/alice/lab", "/user/alice", "/lab"),
            ("/user/alice", "/user/alice", ""),
            ("/%C3%A9/x", "/é", "/x"),
        ] {
            assert_eq!(behind(path, key), rest);
        }
    }
}
