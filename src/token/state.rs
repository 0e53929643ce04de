//! What binds a link to a browser: a secret in the browser's cookie, and its digest, which everybody may know.

use std::fmt;

use aws_lc_rs::rand::SecureRandom;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::{NoRandomness, TokenDigest, has_secret_shape, secret};

/// The secret by which a browser is known again: 43 base64url characters, 256 bits.
pub struct BrowserSecret(Zeroizing<String>);

impl BrowserSecret {
    /// A new secret from `random`.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        secret("", random).map(Self)
    }

    /// The secret that `text` spells, if it has a secret's shape.
    pub fn parse(text: &str) -> Option<Self> {
        has_secret_shape(text, "").then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself: for the browser's cookie, nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the app, the link and the store know of it.
    pub fn state(&self) -> State {
        State(*TokenDigest::of(self.0.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for BrowserSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserSecret(redacted)")
    }
}

/// The SHA-256 of a [`BrowserSecret`], in base64url where it is written: the `state` of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State([u8; 32]);

impl State {
    /// The state that `text` spells.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The state of these bytes, as a store has kept them.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_and_its_state_are_read_as_they_are_written_and_one_does_not_tell_the_other() {
        let secret = BrowserSecret::generate(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let state = secret.state();
        assert_eq!(BrowserSecret::parse(secret.expose()).unwrap().state(), state);
        assert_eq!(State::parse(&state.to_string()), Some(state));
        assert_eq!(State::from_bytes(*state.as_bytes()), state);
        assert_ne!(state.to_string(), secret.expose());
        assert_eq!(format!("{secret:?}"), "BrowserSecret(redacted)");
        for text in ["", "x", &"A".repeat(42), &"A".repeat(44), &format!("{}=", "A".repeat(42))] {
            assert!(State::parse(text).is_none() && BrowserSecret::parse(text).is_none(), "{text}");
        }
    }
}
