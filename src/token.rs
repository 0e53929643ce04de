//! The words of a login: token, digest, link id, user name, grant; rules only, no I/O.
//!
//! Knows nothing of stores, requests or the hub.

mod server;
mod state;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SecureRandom;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regex::Regex;
use serde::Serialize;
use zeroize::Zeroizing;

pub use server::ServerName;
pub use state::{BrowserSecret, State};

/// The prefix of every login token, so that a secret scanner can recognise one.
const TOKEN_PREFIX: &str = "hl_";
/// The prefix of every app key.
const KEY_PREFIX: &str = "hk_";
/// 256 bits in base64url without padding.
const SECRET_CHARS: usize = 43;
/// The longest user name that any rule can admit, in bytes: the hub's own column.
const USERNAME_BYTES_MAX: usize = 255;

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
pub struct LoginToken(Zeroizing<String>);

impl LoginToken {
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

impl fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginToken(redacted)")
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
        Self(TokenDigest::of(key).0)
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

/// A hub user's name that passed a [`UsernameRule`]: the same bytes in the header and at the hub.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Username(Arc<str>);

impl Username {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a store has kept it. It passed the rule when the link was issued; here only the floor of all rules
    /// is held to, so whoever redeems asks today's rule again.
    pub fn from_store(text: &str) -> Option<Self> {
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        (lower && is_above_floor(text)).then(|| Self(text.into()))
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What to do with a name that has upper-case letters (the hub folds names to lower case).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsernameCase {
    /// Refuse it.
    Refuse,
    /// Fold it, as the hub does, before the rule is applied.
    Lower,
}

/// Why a text is not a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// It has no character.
    #[error("the user name is empty")]
    Empty,
    /// It is longer than the hub can store.
    #[error("the user name is longer than {USERNAME_BYTES_MAX} bytes")]
    TooLong,
    /// It holds a character that no rule can admit.
    #[error("the user name holds a character that cannot be sent in a header or used in a path")]
    Character,
    /// It has upper-case letters and they are not folded.
    #[error("the user name has upper-case letters (see login.username_case)")]
    UpperCase,
    /// The configured pattern does not match.
    #[error("the user name does not match login.usernames")]
    Pattern,
}

/// A pattern that must match a whole name.
#[derive(Debug, Clone)]
pub struct NamePattern(Regex);

impl NamePattern {
    /// Compiles `pattern`; it is anchored at both ends, whatever it says.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        // Compiled alone first: "a)(b" must be an error and not a way out of the group.
        Regex::new(pattern)?;
        Regex::new(&format!(r"\A(?:{pattern})\z")).map(Self)
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// Whether `text` can be sent in a header and used in a path as it is.
fn is_above_floor(text: &str) -> bool {
    let separates = |byte: u8| matches!(byte, b'/' | b'\\' | b'%' | b',' | b';' | b'"' | b'?' | b'#');
    let plain = |byte: u8| byte.is_ascii_graphic() && !separates(byte);
    (1..=USERNAME_BYTES_MAX).contains(&text.len()) && text != "." && text != ".." && text.bytes().all(plain)
}

/// What may be a user name: the configured pattern, above a floor that no configuration can lower.
#[derive(Debug, Clone)]
pub struct UsernameRule {
    pattern: NamePattern,
    case: UsernameCase,
}

impl UsernameRule {
    /// The rule of `login.usernames` and `login.username_case`.
    pub fn new(pattern: NamePattern, case: UsernameCase) -> Self {
        Self { pattern, case }
    }

    /// The name that `text` spells.
    ///
    /// The floor: visible ASCII without what a header list, a path or a query would take apart, and no upper
    /// case, because the hub would log in the lower-case user.
    pub fn parse(&self, text: &str) -> Result<Username, UsernameError> {
        if text.is_empty() {
            return Err(UsernameError::Empty);
        }
        if text.len() > USERNAME_BYTES_MAX {
            return Err(UsernameError::TooLong);
        }
        if !is_above_floor(text) {
            return Err(UsernameError::Character);
        }
        let name = match self.case {
            UsernameCase::Lower => text.to_ascii_lowercase(),
            UsernameCase::Refuse if text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                return Err(UsernameError::UpperCase);
            }
            UsernameCase::Refuse => text.to_owned(),
        };
        if !self.pattern.matches(&name) {
            return Err(UsernameError::Pattern);
        }
        Ok(Username(name.into()))
    }
}

/// What a login token is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct LoginGrant {
    /// Who is logged in.
    pub username: Username,
    /// The app that issued the link.
    pub app: Arc<str>,
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
}
