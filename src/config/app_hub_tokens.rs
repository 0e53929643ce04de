//! `[apps.hub_tokens]`: hub API tokens that an app may have in exchange for its own.

use std::time::Duration;

use super::file::ConfigFile;
use super::kind::{duration, list};
use super::parse::plain_text;
use super::table::section;

/// The longest life of an app's hub tokens.
const TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(30 * 24);
/// The longest name or scope in a list, in bytes: the hub's own column.
pub(super) const NAME_BYTES_MAX: usize = 255;

section! {
    /// Hub API tokens that an app may have in exchange for its own.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AppHubTokens {
        /// Their scopes at most. "!user" stands for the user whose token it is.
        scopes: Vec<String>, list(scope), default [];
        /// Their life at most, from "1s" to "720h".
        max_lifetime: Duration, duration(Duration::from_secs(1)..=TOKEN_LIFETIME_MAX), default "1h";
    }
}

/// `[apps.hub_tokens]` of the app in `section`: a token that is asked for without scopes has all that its user has.
pub(super) fn demand_scopes(file: &mut ConfigFile, section: &str, tokens: &AppHubTokens) {
    if tokens.scopes.is_empty() {
        let message =
            "has no scope: which ones may the tokens have? Write for example [\"access:servers!user\"]";
        file.conflict(&format!("{section}.hub_tokens.scopes"), &[], message);
    }
}

/// A scope (RFC 6749 § 3.3), such as `access:servers!user`.
pub(super) fn scope(text: &str) -> Result<String, String> {
    let token = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    let wrong = "is not a scope of the hub; write for example \"access:servers!user\"";
    plain_text(text, NAME_BYTES_MAX, token, wrong)
}
