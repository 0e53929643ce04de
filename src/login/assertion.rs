//! The proof to the hub: a short-lived JWT (RFC 7519), signed with Ed25519 (RFC 8037), that no client can make.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Moment;
use crate::config::Assertion;
use crate::token::{LinkId, Username};

/// `iss` of every assertion.
const ISSUER: &str = "hublatch";

/// `{"typ":"JWT","alg":"EdDSA"}` in base64url.
const HEADER_CHARS: usize = 36;
/// The 64 bytes of a signature in base64url.
const SIGNATURE_CHARS: usize = 86;

/// The assertion cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    /// The key is no Ed25519 private key.
    #[error("read the Ed25519 private key of [assertion]: {0}")]
    Key(#[source] jsonwebtoken::errors::Error),
    /// Signing failed.
    #[error("sign the assertion: {0}")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The text is no header value; base64url always is.
    #[error("the assertion is no header value")]
    Value(#[from] hyper::header::InvalidHeaderValue),
}

/// What an assertion states of a user who logs in.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// Who.
    pub username: &'a Username,
    /// By which link.
    pub id: &'a LinkId,
    /// The hub groups of the user, if anything is said of them.
    pub groups: Option<&'a [String]>,
    /// Further claims.
    pub claims: Option<&'a Map<String, Value>>,
}

/// Signs assertions.
pub struct Signer {
    header: HeaderName,
    key: EncodingKey,
    lifetime: Duration,
    audience: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("header", &self.header).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'static str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    exp: i64,
    /// The link's id: a link is redeemed at most once, so it is unique, and the hub's log can be laid beside ours.
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a Map<String, Value>>,
}

impl Signer {
    /// A signer with the key of `[assertion]`.
    pub fn new(config: &Assertion) -> Result<Self, AssertionError> {
        Ok(Self {
            header: config.header.clone(),
            key: EncodingKey::from_ed_pem(config.key.text.as_bytes()).map_err(AssertionError::Key)?,
            lifetime: config.lifetime,
            audience: config.audience.clone(),
        })
    }

    /// The header in which the assertion travels.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// How long an assertion lives.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The assertion that says `user` is logged in at `now`.
    pub fn sign<'a>(
        &'a self,
        user: impl Into<Statement<'a>>,
        now: Moment,
    ) -> Result<HeaderValue, AssertionError> {
        self.signed(&self.stated(user.into(), now))
    }

    /// How many bytes the assertion of `statement` has.
    pub fn length(&self, statement: Statement<'_>, now: Moment) -> usize {
        // A length is all that can come of it: what cannot be written fails when it is signed.
        let payload = serde_json::to_vec(&self.stated(statement, now)).unwrap_or_default();
        // Base64url without padding: four characters for three bytes (RFC 4648 § 5).
        HEADER_CHARS + ".".len() + (4 * payload.len()).div_ceil(3) + ".".len() + SIGNATURE_CHARS
    }

    fn stated<'a>(&'a self, statement: Statement<'a>, now: Moment) -> Payload<'a> {
        let Statement { username, id, groups, claims } = statement;
        Payload { groups, claims, ..self.payload(&self.audience, username.as_str(), id.as_str(), now) }
    }

    /// The assertion that the sessions of `username` are to be ended, good for one call; `id` is its `jti`.
    pub fn sign_end(
        &self,
        username: &Username,
        id: &LinkId,
        now: Moment,
    ) -> Result<HeaderValue, AssertionError> {
        let audience = format!("{}:sessions", self.audience);
        self.signed(&self.payload(&audience, username.as_str(), id.as_str(), now))
    }

    fn payload<'a>(&self, audience: &'a str, subject: &'a str, id: &'a str, now: Moment) -> Payload<'a> {
        let issued = now.wall.as_second();
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(0);
        let (groups, claims) = (None, None);
        Payload {
            iss: ISSUER,
            aud: audience,
            sub: subject,
            iat: issued,
            exp: issued + lifetime,
            jti: id,
            groups,
            claims,
        }
    }

    fn signed(&self, payload: &Payload<'_>) -> Result<HeaderValue, AssertionError> {
        let token = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), payload, &self.key)
            .map_err(AssertionError::Sign)?;
        let mut value = HeaderValue::try_from(token)?;
        value.set_sensitive(true);
        Ok(value)
    }
}
