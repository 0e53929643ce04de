//! The words of a login: token, digest, link id, user name, grant; rules only, no I/O.
//!
//! Knows nothing of stores, requests or the hub.

mod key;
mod server;
mod state;
mod username;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SecureRandom;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

pub use key::{AppKey, KeyDigest, KeyId};
pub use server::ServerName;
pub use state::{BrowserSecret, State};
pub use username::{NamePattern, Username, UsernameCase, UsernameError, UsernameRule};

/// The prefix of every login token, so that a secret scanner can recognise one.
const TOKEN_PREFIX: &str = "hl_";
/// 256 bits in base64url without padding.
const SECRET_CHARS: usize = 43;

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

fn secret(prefix: &str, random: &dyn SecureRandom) -> Result<Zeroizing<String>, NoRandomness> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    random.fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + SECRET_CHARS));
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
    Ok(text)
}

fn has_secret_shape(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == SECRET_CHARS
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    })
}

/// The secret in a login link: `hl_` and 43 base64url characters, 256 bits.
///
/// It has no `Display`, its `Debug` is redacted and its memory is wiped when it is dropped.
pub struct OpaqueToken(Zeroizing<String>);

impl OpaqueToken {
    /// How many bytes each has.
    pub const BYTES: usize = TOKEN_PREFIX.len() + SECRET_CHARS;

    /// A new token from `random`.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        secret(TOKEN_PREFIX, random).map(Self)
    }

    /// The token that `text` spells, if it has a token's shape.
    pub fn parse(text: &str) -> Option<Self> {
        has_secret_shape(text, TOKEN_PREFIX).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// What may be stored, compared and logged in its place.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.0.as_bytes())
    }

    /// The secret itself: for the answer to the app, the link and the confirm page, nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OpaqueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpaqueToken(redacted)")
    }
}

/// The SHA-256 of a login token: all that a store, a log or a metric may hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a text.
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(out)
    }

    /// The digest of several texts, each behind its length, so that no two lists have one digest; and none of a token's,
    /// because no length begins as a token does.
    pub fn of_parts(parts: &[&str]) -> Self {
        let mut bytes = Zeroizing::new(Vec::new());
        for part in parts {
            bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self::of(&bytes)
    }

    /// The digest of these bytes, as a store has kept them.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All of it in base64url.
    pub fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight bytes tell two tokens apart in a log and say nothing about either.
        f.write_str("TokenDigest(")?;
        for byte in &self.0[..8] {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("..)")
    }
}

/// The public name of a link in the API and in the audit log: 128 random bits, no part of the token.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct LinkId(Arc<str>);

impl LinkId {
    /// A new id from `random`.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        let mut bytes = [0_u8; 16];
        random.fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// The id that `text` spells, if it has an id's shape.
    pub fn parse(text: &str) -> Option<Self> {
        let shaped = text.len() == 22
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        shaped.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a login token is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct LoginGrant {
    /// Who is logged in.
    pub username: Username,
    /// The app that issued the link.
    pub app: Arc<str>,
    /// By which of its keys; none: by no key of the configuration (a hub token, a token of the app's own making).
    pub key: Option<KeyId>,
    /// Where the browser goes next: a path on the public origin; none: the link's own query, else the hub, decides.
    pub next: Option<String>,
    /// The path inside the server by which the app's rule judges a `path` link; none: `next` is judged itself.
    pub judged_by: Option<String>,
    /// Hub groups, for the assertion; none: the assertion does not speak of groups.
    pub groups: Option<Vec<String>>,
    /// Further claims for the hub's `auth_state`.
    pub claims: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether the link always asks "Continue as …?".
    pub confirm: bool,
    /// The browser that the link is bound to; none: it works in any.
    pub state: Option<State>,
    /// The user's server that was started for this login: the browser waits for it before it goes to `next`.
    pub launch: Option<ServerName>,
    /// How long the session at most lasts that the link begins; none: as long as the app's rules say.
    pub session: Option<std::time::Duration>,
    /// The link is kept for those who wait for their turn at the hub: they must have clicked before this time, which was
    /// its expiry.
    pub click_by: Option<Timestamp>,
}

impl LoginGrant {
    /// For `username`, by `app`, and nothing more.
    pub fn new(username: Username, app: Arc<str>) -> Self {
        Self {
            username,
            app,
            key: None,
            next: None,
            judged_by: None,
            groups: None,
            claims: None,
            confirm: false,
            state: None,
            launch: None,
            session: None,
            click_by: None,
        }
    }
}
