//! Tokens that an app has signed itself (JWT, RFC 7519): from a text to what it claims, once all of it is checked.
//!
//! Which key and which algorithms count is the app's configuration alone: of the header, `alg` and `kid` are looked at to
//! choose among them (RFC 8725 § 3.1), and `typ` to refuse what is another sort of token.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::application_client::ApplicationClient;
use super::jwks::{Keys, KeysError, as_written};
use crate::clock::Moment;
use crate::config::{App, Jwt, Scope};

/// The longest life of a token: `exp - iat`.
pub const LIFETIME_MAX: Duration = Duration::from_mins(2);
/// By how much the clocks of the app and of hublatch may differ.
pub const LEEWAY: Duration = Duration::from_secs(5);
/// The event of which a logout token tells.
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The types of tokens that an identity provider signs by the same key, and that are no login tokens: what `typ` says of
/// them (RFC 8725 § 3.11; `OpenID` Connect Back-Channel Logout § 2.4; RFC 9068 § 2.1).
const OTHER_TYPES: [&str; 2] = ["logout+jwt", "at+jwt"];
/// The longest `jti`, in bytes.
const ID_BYTES_MAX: usize = 255;

/// One app that signs its own tokens.
#[derive(Debug)]
pub struct JwtIssuer {
    /// The app.
    pub app: Arc<App>,
    jwt: Jwt,
    keys: Keys,
}

/// What a token says, its signature verified.
#[derive(Debug, Deserialize)]
pub struct Claims {
    /// Who has signed it.
    pub iss: String,
    aud: Audience,
    /// Who is to be logged in.
    pub sub: String,
    /// When it was signed, in seconds of Unix time.
    pub iat: f64,
    exp: f64,
    nbf: Option<f64>,
    /// Its own name: no two tokens of an app have the same.
    pub jti: String,
    /// Where the browser goes.
    pub next: Option<String>,
    /// Hub groups of the user.
    pub groups: Option<Vec<String>>,
    /// When the session is over that it begins, in seconds of Unix time.
    pub session_exp: Option<f64>,
    /// The browser that it is bound to.
    pub state: Option<String>,
    /// What has happened at the app's identity provider: of logout tokens alone (`OpenID` Connect Back-Channel Logout § 2.4).
    events: Option<Map<String, Value>>,
    /// Of ID tokens alone: none of them is taken for a logout token or a login token.
    nonce: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct IssuerClaim {
    iss: String,
}

/// Why a token counts for nothing.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// It is malformed, of no known app, badly signed, or says what it may not.
    #[error("{0}")]
    Bad(&'static str),
    /// This app has signed it, and yet it says what it may not.
    #[error("{why}")]
    Signed {
        /// Which one.
        app: Arc<str>,
        /// One of few sentences: nothing of the token.
        why: &'static str,
    },
    /// It cannot be judged: the app's keys cannot be had.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// The apps that sign their own tokens.
#[derive(Debug)]
pub struct JwtIssuers {
    apps: Vec<JwtIssuer>,
    client: Arc<ApplicationClient>,
}

impl JwtIssuers {
    /// The signers among `apps`.
    pub fn new(apps: &[Arc<App>], client: Arc<ApplicationClient>) -> Self {
        let issuer = |app: &Arc<App>| {
            let jwt = app.jwt.clone()?;
            Some(JwtIssuer { app: Arc::clone(app), keys: Keys::new(&jwt), jwt })
        };
        Self { apps: apps.iter().filter_map(issuer).collect(), client }
    }

    /// The same apps, with the keys that `old` has learnt from the same servers.
    #[must_use]
    pub fn carry_over(mut self, old: &Self) -> Self {
        for issuer in &mut self.apps {
            if let Some(before) = old.apps.iter().find(|before| before.app.name == issuer.app.name) {
                issuer.keys.carry_over(&before.keys);
            }
        }
        self
    }

    /// Whether `app` signs by the same keys and rules here as in `other`.
    pub fn has_same(&self, other: &Self, app: &str) -> bool {
        let rules = |issuers: &Self| {
            let issuer = issuers.apps.iter().find(|issuer| *issuer.app.name == *app)?;
            let may_issue = issuer.app.may(Scope::Issue);
            may_issue.then(|| (issuer.jwt.clone(), issuer.app.max_lifetime))
        };
        rules(self).is_some_and(|ours| rules(other).as_ref() == Some(&ours))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.apps.is_empty()
    }

    /// The claims of `token`, which is to log somebody in, and the app that has signed it. Its times are for the caller to
    /// judge.
    pub async fn verify(&self, token: &str, now: Moment) -> Result<(&JwtIssuer, Claims), Unverified> {
        let (issuer, claims) = self.verify_signed(token, now).await?;
        let signed = |why| Unverified::Signed { app: Arc::clone(&issuer.app.name), why };
        if claims.events.is_some() {
            return Err(signed("it tells of an event: a logout token is no login"));
        }
        if claims.nonce.is_some() {
            return Err(signed("it has a nonce: an ID token is no login"));
        }
        if is_of_other_type(token) {
            return Err(signed("its typ is that of a logout token or an access token, which is no login"));
        }
        if claims.life() > issuer.app.max_lifetime.as_secs_f64() {
            return Err(signed("exp - iat is longer than allowed, or nothing"));
        }
        Ok((issuer, claims))
    }

    /// The same for a logout token (`OpenID` Connect Back-Channel Logout 1.0 § 2.6), its times judged by `now`.
    pub async fn verify_logout(&self, token: &str, now: Moment) -> Result<(&JwtIssuer, Claims), Unverified> {
        let (issuer, claims) = self.verify_signed(token, now).await?;
        let signed = |why| Unverified::Signed { app: Arc::clone(&issuer.app.name), why };
        if !claims
            .events
            .as_ref()
            .is_some_and(|events| events.get(LOGOUT_EVENT).is_some_and(Value::is_object))
        {
            return Err(signed("its events do not tell of a logout"));
        }
        if claims.nonce.is_some() {
            return Err(signed("it has a nonce, which no logout token may have"));
        }
        if claims.is_over(now.wall) || claims.is_early(now.wall) {
            return Err(signed("its time is over, or has not come"));
        }
        Ok((issuer, claims))
    }

    async fn verify_signed(&self, token: &str, now: Moment) -> Result<(&JwtIssuer, Claims), Unverified> {
        // The header says which key to try; it is believed only if that key has signed it.
        let claimed = jsonwebtoken::dangerous::insecure_decode_claims::<IssuerClaim>(token)
            .map_err(|_| Unverified::Bad("no JWT"))?;
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| Unverified::Bad("no header that we understand"))?;
        if header.crit.is_some() {
            // RFC 7515 § 4.1.11: we understand no extension.
            return Err(Unverified::Bad("a critical extension"));
        }
        let issuer = self.apps.iter().find(|issuer| issuer.jwt.issuer == claimed.iss);
        let issuer = issuer.ok_or(Unverified::Bad("the issuer of no app"))?;
        let jwt = &issuer.jwt;
        let signed = |why| Unverified::Signed { app: Arc::clone(&issuer.app.name), why };
        let algorithm = jwt.algorithms.iter().copied().find(|algorithm| as_written(*algorithm) == header.alg);
        let algorithm = algorithm.ok_or(Unverified::Bad("not an algorithm of the app"))?;
        let found = issuer.keys.find(&self.client, header.kid.as_deref(), algorithm, now.monotonic).await?;
        let key = found.ok_or(Unverified::Bad("not a key of the app"))?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &signature_only(header.alg))
            .map_err(|error| {
                // The header was read before, and the claims are read only when the signature is good.
                if matches!(error.kind(), ErrorKind::Json(_)) {
                    signed("a claim is missing, or of the wrong type")
                } else {
                    Unverified::Bad("not the app's signature")
                }
            })?
            .claims;
        let audience = match &claims.aud {
            Audience::One(audience) => *audience == jwt.audience,
            Audience::Several(several) => several.contains(&jwt.audience),
        };
        if claims.iss != jwt.issuer || !audience {
            return Err(signed("the aud is not ours"));
        }
        if claims.jti.is_empty() || claims.jti.len() > ID_BYTES_MAX {
            return Err(signed("the jti is empty or too long"));
        }
        if !(claims.life() > 0.0 && claims.life() <= LIFETIME_MAX.as_secs_f64()) {
            return Err(signed("exp - iat is longer than allowed, or nothing"));
        }
        Ok((issuer, claims))
    }
}

/// Whether the header says that it is another sort of token, in either spelling of a media type (RFC 7515 § 4.1.9).
fn is_of_other_type(token: &str) -> bool {
    let Some(kind) = jsonwebtoken::decode_header(token).ok().and_then(|header| header.typ) else {
        return false;
    };
    let kind = kind.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    OTHER_TYPES.contains(&kind)
}

/// All claims are judged here, by our clock: `jsonwebtoken` checks the signature alone.
fn signature_only(algorithm: jsonwebtoken::Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

impl Claims {
    fn life(&self) -> f64 {
        self.exp - self.iat
    }

    /// Whether the token's time has not come yet: issued in the future, or to be used later.
    pub fn is_early(&self, now: Timestamp) -> bool {
        let latest = seconds(now) + LEEWAY.as_secs_f64();
        self.iat > latest || self.nbf.is_some_and(|nbf| nbf > latest)
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.time_left(now).is_zero()
    }

    /// What is left of its time, the leeway included.
    pub fn time_left(&self, now: Timestamp) -> Duration {
        let left = self.exp + LEEWAY.as_secs_f64() - seconds(now);
        Duration::try_from_secs_f64(left).unwrap_or(Duration::ZERO)
    }

    /// Whether it may have been issued before `moment`, by clocks that differ by as much as they may.
    pub fn may_precede(&self, moment: Timestamp) -> bool {
        self.iat <= seconds(moment) + LEEWAY.as_secs_f64()
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}
