//! The keys of apps: the secret, what the configuration holds in its place, and what a link remembers of it.

use std::fmt;
use std::num::NonZeroU64;

use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use super::{NoRandomness, TokenDigest, secret};

/// The prefix of every app key.
const KEY_PREFIX: &str = "hk_";

/// A secret by which an app calls the management API: `hk_` and 43 base64url characters.
pub struct AppKey(Zeroizing<String>);

impl AppKey {
    /// A new key from `random`.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        secret(KEY_PREFIX, random).map(Self)
    }

    /// The secret itself: printed once by `keygen` and `init`.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the configuration holds in its place.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppKey(redacted)")
    }
}

/// The SHA-256 of an app key's text, written `sha256:` and 64 hex digits in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key's text, whatever its shape: old keys need not be ours.
    pub fn of(key: &[u8]) -> Self {
        Self(*TokenDigest::of(key).as_bytes())
    }

    /// Reads `sha256:` and 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?.as_bytes();
        if hex.len() != 64 {
            return None;
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(out))
    }

    /// What a link remembers of the key that has issued it.
    pub fn id(&self) -> KeyId {
        let digest = TokenDigest::of_parts(&["key id", &self.to_string()]);
        let (first, _) = digest.as_bytes().split_first_chunk().unwrap_or((&[0; 8], &[]));
        KeyId(NonZeroU64::new(u64::from_be_bytes(*first)).unwrap_or(NonZeroU64::MIN))
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which key of an app a link was issued by: eight bytes of a digest of the key's digest. It tells an app's keys apart, and
/// neither the key nor the digest in the configuration can be made from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId(NonZeroU64);

impl KeyId {
    /// Reads 16 hex digits, as a store has kept them.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()?;
        NonZeroU64::new(number).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_keys_apart_and_holds_nothing_of_them() {
        let (one, two) = (KeyDigest::of(b"one"), KeyDigest::of(b"two"));
        assert_eq!(one.id(), KeyDigest::of(b"one").id());
        assert_ne!(one.id(), two.id());
        assert!(!one.to_string().contains(&one.id().to_string()));
    }

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is() {
        let id = KeyDigest::of(b"one").id();
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
        for text in ["", "0", "0000000000000000", "+00000000000000f", "00000000000000fg", "000000000000000ff"]
        {
            assert_eq!(KeyId::parse(text), None, "{text}");
        }
    }
}
