//! The names of the hub's users, and the rule that they pass.

use std::fmt;
use std::sync::Arc;

use regex::Regex;
use serde::Serialize;

/// The longest user name that any rule can admit, in bytes: the hub's own column.
const USERNAME_BYTES_MAX: usize = 255;

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
