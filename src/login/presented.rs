//! A login token as it comes: ours, or one that an app has made.

use std::fmt;

use zeroize::Zeroizing;

use crate::token::{LoginToken, TokenDigest};

/// The longest token of an app's own making, in bytes: it must fit into a cookie (RFC 6265 § 6.1).
const FOREIGN_BYTES_MAX: usize = 3800;

/// A login token, of whatever making.
pub struct Presented {
    text: Zeroizing<String>,
    kind: Kind,
}

/// Who has made a token, as its shape tells.
#[derive(Debug)]
pub enum Kind {
    /// We have.
    Ours(LoginToken),
    /// An app has signed it: a JWT in compact form (RFC 7519 § 3).
    Signed,
}

impl Presented {
    /// The token that `text` spells, if it has the shape of one.
    pub fn parse(text: &str) -> Option<Self> {
        let kind = match LoginToken::parse(text) {
            Some(token) => Kind::Ours(token),
            None if is_jwt(text) => Kind::Signed,
            None => return None,
        };
        Some(Self { text: Zeroizing::new(text.to_owned()), kind })
    }

    /// Who has made it.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The secret itself: for the confirm page and the hand-over cookie, nowhere else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What two requests with one token have in common.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.text.as_bytes())
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented(redacted, {:?})", self.kind)
    }
}

/// Three parts of base64url with dots between them.
fn is_jwt(text: &str) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let part = |part: &str| !part.is_empty() && part.bytes().all(base64url);
    text.len() <= FOREIGN_BYTES_MAX && text.split('.').count() == 3 && text.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_tells_who_has_made_a_token() {
        let ours = format!("hl_{}", "A".repeat(43));
        assert!(matches!(Presented::parse(&ours).unwrap().kind(), Kind::Ours(_)));
        assert!(matches!(Presented::parse("eyJ.e30.c2ln").unwrap().kind(), Kind::Signed));
        for text in
            ["", "x", "hl_x", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c=", "a.b.c d", "a.b.\u{e9}"]
        {
            assert!(Presented::parse(text).is_none(), "{text}");
        }
        assert!(Presented::parse(&format!("a.{}.c", "b".repeat(FOREIGN_BYTES_MAX))).is_none());
        assert!(!format!("{:?}", Presented::parse("eyJ.e30.c2ln").unwrap()).contains("e30"));
    }
}
