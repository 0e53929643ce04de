//! The name of one of a user's servers, by the hub's own rules.

use std::fmt;
use std::sync::Arc;

/// The longest name, in characters: what the hub's database holds.
const NAME_CHARS_MAX: usize = 255;
/// The longest slug, in bytes.
const SLUG_BYTES_MAX: usize = 30;

/// A server's name: empty for the default one, or what some hub takes.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// The name that `text` spells, if any hub has such names; empty is the default server. Up to `JupyterHub` 5 nearly all
    /// will do that can be one segment of a path; from 6 on see [`Self::is_slug`].
    pub fn parse(text: &str) -> Option<Self> {
        let is_segment = !text.contains(['/', '\\']) && !matches!(text, "." | "..");
        let is_name =
            is_segment && !text.chars().any(char::is_control) && text.chars().count() <= NAME_CHARS_MAX;
        is_name.then(|| Self(text.into()))
    }

    /// The text; empty for the default server.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the user's default server.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every hub takes it: `is_valid_safe_slug` of `JupyterHub` 6, or the default server.
    pub fn is_slug(&self) -> bool {
        self.is_default() || is_slug(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn is_slug(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=SLUG_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
        && bytes[0].is_ascii_lowercase()
        && !name.ends_with('-')
        && !name.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_no_name_or_one_that_some_hub_takes() {
        for name in ["", "a", "lab-2", "a23456789012345678901234567890"] {
            assert_eq!(ServerName::parse(name).map(|name| name.is_slug()), Some(true), "{name}");
        }
        for name in
            ["GPU", "my_server", "1a", "a--b", "a-", "a b", "é", "a.b", "a234567890123456789012345678901"]
        {
            let server = ServerName::parse(name);
            assert_eq!(server.as_ref().map(ServerName::as_str), Some(name));
            assert_eq!(server.map(|name| name.is_slug()), Some(false), "{name}");
        }
        for name in ["a/b", "..", ".", "a\\b", "a\nb", "\u{85}", &"x".repeat(256)] {
            assert!(ServerName::parse(name).is_none(), "{name}");
        }
        assert!(ServerName::default().is_default());
    }
}
