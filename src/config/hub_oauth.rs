//! `[hub_oauth]`: hublatch as the provider of the hub's own OAuth login.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::kind::{duration, flag, text, words};
use super::origin::web_url;
use super::parse::plain_text;
use super::secret::{self, Secret};
use super::table::section;

/// How long a session may be. Clocks differ, so client libraries (Authlib) take an access token for expired a minute before
/// its time: one of a minute or less would never be used.
const SESSION: RangeInclusive<Duration> = Duration::from_mins(2)..=Duration::from_hours(24 * 30);
/// The shortest `client_secret`, in bytes: whoever guesses it can act as the hub.
const SECRET_BYTES_MIN: usize = 32;

const PKCE: [(&str, Pkce); 2] = [("required", Pkce::Required), ("optional", Pkce::Optional)];

/// Whether the hub must prove that a code is its own (RFC 7636).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pkce {
    /// Every login names a challenge: oauthenticator 17.
    Required,
    /// One that names none is served as well: oauthenticator 15 and 16.
    Optional,
}

section! {
    /// hublatch as the provider of the hub's own OAuth login, for a hub with a stock GenericOAuthenticator on which nothing
    /// can be installed; in place of [assertion]. No browser comes here: hublatch goes the way through the hub's OAuth
    /// itself. docs/install.md has the hub's side.
    #[derive(Debug, Clone)]
    pub struct HubOAuth {
        /// The hub's client_id.
        client_id: String, text(client_id), default "hublatch";
        /// The hub's client_secret: at least 32 letters, digits, "-", "_", "." and "~".
        client_secret: Secret, secret::secret(client_secret), required "/etc/hublatch/hub-oauth.secret";
        /// The hub's oauth_callback_url, exactly as the hub sends it.
        redirect_uri: String, text(url_of_hub), required "https://hub.example.org/hub/oauth_callback";
        /// The base of the hub's token_url (…/hub-oauth/token) and userdata_url (…/hub-oauth/userinfo): the management
        /// listener as the hub reaches it. Must be https, because whoever answers there is the identity.
        issuer: String, text(issuer), required "https://hublatch.internal:8443";
        /// "optional" for oauthenticator 15 and 16, which send no PKCE challenge.
        pkce: Pkce, words(&PKCE), default "required";
        /// Life of an access token, from "2m" to "720h". Where the hub keeps auth state it asks again with it, so that this
        /// is the life of its session.
        session: Duration, duration(SESSION), default "12h";
        /// Admits an issuer of plain http on this machine: any program here that takes the port while hublatch restarts can
        /// then be anybody at the hub.
        insecure: bool, flag(), default false;
    }
}

fn client_id(text: &str) -> Result<String, String> {
    let wrong = "is no client id; write letters, digits, \"-\", \"_\", \".\" and \"~\"";
    plain_text(text, usize::MAX, is_unreserved, wrong)
}

/// Of characters that no part of OAuth has to encode: clients differ in whether they do (RFC 6749 § 2.3.1).
fn client_secret(text: &str) -> Result<(), &'static str> {
    if text.len() >= SECRET_BYTES_MIN && text.bytes().all(is_unreserved) {
        return Ok(());
    }
    Err(
        "is no client secret; write at least 32 letters, digits, \"-\", \"_\", \".\" and \"~\", such as openssl rand -hex 32 makes",
    )
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

fn url_of_hub(text: &str) -> Result<String, String> {
    match web_url(text) {
        Some(url) if url.query().is_none() && url.fragment().is_none() => Ok(text.to_owned()),
        _ => Err("is no http or https URL; write the hub's oauth_callback_url".to_owned()),
    }
}

fn issuer(text: &str) -> Result<String, String> {
    match web_url(text) {
        Some(url) if url.path() == "/" && url.query().is_none() && url.fragment().is_none() => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(
            "is no http or https address without a path; write such as \"https://hublatch.internal:8443\""
                .to_owned(),
        ),
    }
}
