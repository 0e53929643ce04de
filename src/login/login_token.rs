//! A login token as it comes: ours, or one that an app has made.

use std::fmt;

use zeroize::Zeroizing;

use crate::token::{OpaqueToken, TokenDigest};

/// The longest token of an app's own making, in bytes: it must fit into a cookie (RFC 6265 § 6.1).
const FOREIGN_BYTES_MAX: usize = 3800;

/// A login token, of whatever making.
#[derive(Clone)]
pub struct LoginToken {
    text: Zeroizing<String>,
    kind: TokenKind,
    digest: TokenDigest,
}

/// Who has made a token, as its shape tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Made by us: the token of a link.
    Opaque,
    /// An app has signed it: a JWT in compact form (RFC 7519 § 3).
    Jwt,
    /// An app has made it, and only that app can say what it is.
    External,
}

impl LoginToken {
    /// The token that `text` spells, if it has the shape of one.
    pub fn parse(text: &str) -> Option<Self> {
        let kind = if OpaqueToken::parse(text).is_some() {
            TokenKind::Opaque
        } else if is_jwt(text) {
            TokenKind::Jwt
        } else if is_foreign(text) {
            TokenKind::External
        } else {
            return None;
        };
        let digest = TokenDigest::of(text.as_bytes());
        Some(Self { text: Zeroizing::new(text.to_owned()), kind, digest })
    }

    /// Who has made it.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// The secret itself: for the confirm page, the login-continuation cookie and the app's own service, nowhere else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What two requests with one token have in common.
    pub fn digest(&self) -> TokenDigest {
        self.digest
    }
}

impl fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginToken(redacted, {:?})", self.kind)
    }
}

/// Three parts of base64url with dots between them.
fn is_jwt(text: &str) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let part = |part: &str| !part.is_empty() && part.bytes().all(base64url);
    text.len() <= FOREIGN_BYTES_MAX && text.split('.').count() == 3 && text.split('.').all(part)
}

/// What a cookie can hold (RFC 6265 § 4.1.1), but for what begins like a token of ours.
fn is_foreign(text: &str) -> bool {
    let octet = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
    (1..=FOREIGN_BYTES_MAX).contains(&text.len()) && !text.starts_with("hl_") && text.bytes().all(octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_tells_who_has_made_a_token() {
        let kind = |text: &str| LoginToken::parse(text).map(|token| token.kind());
        assert_eq!(kind(&format!("hl_{}", "A".repeat(43))), Some(TokenKind::Opaque));
        assert_eq!(kind("eyJ.e30.c2ln"), Some(TokenKind::Jwt));
        for text in ["x", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c=", "hk_x", "{a:1}"] {
            assert_eq!(kind(text), Some(TokenKind::External), "{text}");
        }
        for text in ["", "hl_x", "hl_", "a b", "a\"", "a,b", "a;b", "a\\", "a\r", "a.b.\u{e9}"] {
            assert_eq!(kind(text), None, "{text}");
        }
        assert_eq!(kind(&format!("a.{}.c", "b".repeat(FOREIGN_BYTES_MAX))), None);
        assert!(!format!("{:?}", LoginToken::parse("eyJ.e30.c2ln")).contains("e30"));
    }
}
