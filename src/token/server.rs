//! The name of one of a user's servers, by the hub's own rule.

use std::fmt;
use std::sync::Arc;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 30;

/// A server's name: empty for the default one, or a slug as the hub takes it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// The name that `text` spells: the hub's `is_valid_safe_slug` (JupyterHub 5 and 6); empty is the default server.
    pub fn parse(text: &str) -> Option<Self> {
        (text.is_empty() || is_slug(text)).then(|| Self(text.into()))
    }

    /// The text; empty for the default server.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the user's default server.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

fn is_slug(name: &str) -> bool {
    let bytes = name.as_bytes();
    (1..=NAME_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
        && bytes[0].is_ascii_lowercase()
        && !name.ends_with('-')
        && !name.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_no_name_or_one_that_the_hub_takes() {
        for name in ["", "a", "lab-2", "a23456789012345678901234567890"] {
            assert_eq!(ServerName::parse(name).unwrap().as_str(), name);
        }
        for name in ["Named", "1a", "a--b", "a-", "a/b", "..", "a b", "é", "a234567890123456789012345678901"]
        {
            assert!(ServerName::parse(name).is_none(), "{name}");
        }
        assert!(ServerName::default().is_default());
    }
}
