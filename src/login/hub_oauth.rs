//! The provider half of the hub's own OAuth login: codes, access tokens and what the hub learns for them.
//!
//! A hub with a stock `GenericOAuthenticator` believes whoever answers at its `token_url`. hublatch answers there, and is
//! its own user agent as well: a code is made only for a login whose token was consumed (it takes the [`VerifiedUser`]),
//! works once, for ten seconds, and only for the client, the redirect URI and the PKCE challenge that the hub itself has
//! named in that login. There is no page where a browser could ask for a code.
//!
//! - Code: a random record in the token store, found by a digest over code, challenge and redirect URI, and taken by the
//!   store's one atomic take: at most one success, whatever races or replicas do (RFC 6749 § 4.1.2).
//! - Access token: a signed statement, so that no replica has to remember it. Its end is the end of the hub's session,
//!   because the hub asks userinfo again with it where it keeps auth state.
//!
//! Knows nothing of requests and responses.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SecureRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq as _;
use url::Url;
use zeroize::Zeroizing;

use super::VerifiedUser;
use super::dependencies::LoginDependencies;
use crate::clock::Clock;
use crate::config::{HubOAuth as Settings, Pkce};
use crate::store::{Consumed, Inserted, Link, LinkStatus, StoreError, TokenStore};
use crate::token::{LinkId, LoginGrant, NoRandomness, OpaqueToken, TokenDigest, Username};

/// How long a code works: the hub redeems it while its own login request is under way.
const CODE_LIFETIME: Duration = Duration::from_secs(10);
/// Under which name codes are kept: ":" is in no app's name, so the API neither shows nor revokes them.
const KEPT_BY: &str = "hub-oauth:code";
/// `aud` of an access token, which hublatch alone reads.
const ACCESS_AUDIENCE: &str = "hublatch:hub-oauth";
/// The longest nonce: it stands in the store until the code is redeemed.
const NONCE_BYTES_MAX: usize = 255;
/// What is read of an authorization request; each may be there once (RFC 6749 § 3.1).
const ASKED: [&str; 7] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "state",
    "code_challenge",
    "code_challenge_method",
    "nonce",
];
/// RFC 7636 § 4.1.
const VERIFIER_BYTES: std::ops::RangeInclusive<usize> = 43..=128;

/// Why nothing can be issued.
#[derive(Debug, thiserror::Error)]
pub enum HubOAuthError {
    /// The hub asks for something else than what is configured. Nothing was consumed.
    #[error("the hub's login does not lead to hublatch: {0}")]
    Misconfigured(&'static str),
    /// The request for a token is not one that a code was made for (`invalid_grant`).
    #[error("the code is unknown, used or over, or was made for another request")]
    InvalidGrant,
    /// The client is not the hub (`invalid_client`).
    #[error("no such client, or a wrong secret")]
    InvalidClient,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// Signing failed.
    #[error("sign a token: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// The RSA key cannot be made.
    #[error("make an RSA key")]
    Key,
}

/// What the hub has asked for at the beginning of its login: the query of `authorize_url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// Given back as it is.
    pub state: String,
    /// The PKCE challenge (S256); none only where `pkce` is optional.
    challenge: Option<String>,
    /// What the ID token repeats (`OpenID` Connect Core 1.0 § 3.1.2.1). oauthenticator sends none; other clients insist on it.
    nonce: Option<String>,
}

/// What the hub gets for a code.
#[derive(Debug, Serialize)]
pub struct IssuedTokens {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    id_token: String,
    scope: &'static str,
}

#[derive(Serialize, Deserialize)]
struct AccessClaims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    exp: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Map<String, Value>>,
}

/// Issues codes and tokens to the hub.
pub struct HubOAuth {
    settings: Settings,
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    access_key: Zeroizing<Vec<u8>>,
    id_key: Arc<IdKey>,
}

/// The key of ID tokens, made when the first one is wanted: the hub verifies no signature and nobody else gets one, so
/// it need not outlive the process.
#[derive(Default)]
struct IdKey(OnceLock<Option<RsaKey>>);

struct RsaKey {
    signing: EncodingKey,
    /// RFC 7517.
    jwk: Value,
}

impl std::fmt::Debug for HubOAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubOAuth").field("client_id", &self.settings.client_id).finish_non_exhaustive()
    }
}

impl HubOAuth {
    /// The provider of `[hub_oauth]`.
    pub(super) fn new(settings: Settings, dependencies: &LoginDependencies) -> Self {
        let LoginDependencies { store, clock, random, .. } = dependencies.clone();
        // Replicas share the secret, and so the key; each knows the other's tokens.
        let key = hmac::Key::new(hmac::HMAC_SHA256, settings.client_secret.text.as_bytes());
        let access_key = Zeroizing::new(hmac::sign(&key, ACCESS_AUDIENCE.as_bytes()).as_ref().to_vec());
        Self { settings, store, clock, random, access_key, id_key: Arc::default() }
    }

    /// The same with the ID token key of `old`: who has its JWK need not ask again.
    #[must_use]
    pub(super) fn carry_over(&self, old: &Self) -> Self {
        let id_key = Arc::clone(&old.id_key);
        let (settings, access_key) = (self.settings.clone(), self.access_key.clone());
        let Self { store, clock, random, .. } = self;
        Self {
            settings,
            access_key,
            id_key,
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            random: Arc::clone(random),
        }
    }

    /// The path and query of the hub's callback with `code` and `state`.
    pub fn callback(&self, request: &AuthorizeRequest, code: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("code", code)
            .append_pair("state", &request.state)
            .finish();
        let path = Url::parse(&self.settings.redirect_uri).map(|url| url.path().to_owned());
        format!("{}?{query}", path.unwrap_or_default())
    }

    /// Reads where the hub sends a browser that begins to log in. Anything but what is configured is refused, before a
    /// token is consumed for it.
    pub fn read_authorize(&self, location: &str) -> Result<AuthorizeRequest, HubOAuthError> {
        let wrong = HubOAuthError::Misconfigured;
        let url = Url::parse(location).map_err(|_| wrong("its authorize_url is no URL"))?;
        let all = |name: &str| {
            let named: Vec<Cow<'_, str>> =
                url.query_pairs().filter(|(other, _)| other == name).map(|(_, value)| value).collect();
            named
        };
        if ASKED.iter().any(|name| all(name).len() > 1) {
            return Err(wrong("a parameter of its authorize_url is there twice"));
        }
        let one = |name: &str| all(name).pop().map(Cow::into_owned);
        if one("client_id").as_deref() != Some(self.settings.client_id.as_str()) {
            return Err(wrong("its client_id is not that of [hub_oauth]"));
        }
        if one("redirect_uri").as_deref() != Some(self.settings.redirect_uri.as_str()) {
            return Err(wrong("its redirect_uri (oauth_callback_url) is not that of [hub_oauth]"));
        }
        if one("response_type").as_deref() != Some("code") {
            return Err(wrong("its response_type is not code"));
        }
        let state = one("state").filter(|state| !state.is_empty()).ok_or(wrong("it sends no state"))?;
        let challenge = one("code_challenge");
        if challenge.is_some() && one("code_challenge_method").as_deref() != Some("S256") {
            return Err(wrong("its code_challenge_method is not S256"));
        }
        if challenge.is_none() && self.settings.pkce == Pkce::Required {
            return Err(wrong(
                "it sends no code_challenge; oauthenticator before 17 needs pkce = \"optional\"",
            ));
        }
        let nonce = one("nonce").filter(|nonce| !nonce.is_empty());
        if nonce.as_ref().is_some_and(|nonce| nonce.len() > NONCE_BYTES_MAX) {
            return Err(wrong("its nonce is too long"));
        }
        Ok(AuthorizeRequest { state, challenge, nonce })
    }

    /// A code by which the hub learns of `user`, once.
    pub async fn mint_code(
        &self,
        user: VerifiedUser,
        request: &AuthorizeRequest,
    ) -> Result<Zeroizing<String>, HubOAuthError> {
        let code = OpaqueToken::generate(&*self.random)?;
        let now = self.clock.now();
        let grant = LoginGrant {
            groups: user.groups().map(<[String]>::to_vec),
            claims: user.claims().cloned(),
            ..LoginGrant::new(user.username().clone(), KEPT_BY.into())
        };
        let record = Link {
            id: LinkId::generate(&*self.random)?,
            digest: self.digest(code.expose(), request.challenge.as_deref()),
            grant,
            status: LinkStatus::Pending,
            issued: now,
            expires: now.plus(CODE_LIFETIME),
            used_at: None,
            note: request.nonce.clone(),
        };
        match self.store.insert(vec![record], None, now).await? {
            Inserted::New => Ok(Zeroizing::new(code.expose().to_owned())),
            Inserted::Full | Inserted::Again(_) | Inserted::Ended | Inserted::OtherBody => {
                Err(StoreError::Unavailable("the store has no room for a code".into()).into())
            }
        }
    }

    /// Tokens for `code`, which works once. `redirect_uri` and `verifier` as the token request names them.
    pub async fn redeem_code(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: Option<&str>,
    ) -> Result<IssuedTokens, HubOAuthError> {
        if redirect_uri != self.settings.redirect_uri {
            return Err(HubOAuthError::InvalidGrant);
        }
        let challenge = match verifier {
            Some(text) if !VERIFIER_BYTES.contains(&text.len()) => return Err(HubOAuthError::InvalidGrant),
            Some(text) => {
                let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
                Some(URL_SAFE_NO_PAD.encode(sum.as_ref()))
            }
            None => None,
        };
        let now = self.clock.now();
        match self.store.consume(self.digest(code, challenge.as_deref()), now).await? {
            Consumed::Granted(record) => self.tokens(&record.grant, record.note),
            Consumed::Unknown | Consumed::Ended(_) => Err(HubOAuthError::InvalidGrant),
        }
    }

    /// Whether `id` and `secret` are the hub's.
    pub fn authenticate(&self, id: &str, secret: &str) -> Result<(), HubOAuthError> {
        let same = self.settings.client_secret.text.as_bytes().ct_eq(secret.as_bytes());
        if id == self.settings.client_id && bool::from(same) {
            Ok(())
        } else {
            Err(HubOAuthError::InvalidClient)
        }
    }

    /// What the hub may know of the user of `access_token`; none if the token is over or not ours.
    pub fn userinfo(&self, access_token: &str) -> Option<Value> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[ACCESS_AUDIENCE]);
        rules.set_issuer(&[&self.settings.issuer]);
        // Judged by our own clock below.
        rules.validate_exp = false;
        let key = DecodingKey::from_secret(&self.access_key);
        let claims = jsonwebtoken::decode::<AccessClaims>(access_token, &key, &rules).ok()?.claims;
        let now = self.clock.wall().as_second();
        (claims.iat - 2..claims.exp).contains(&now).then(|| {
            let mut info = names(&claims.sub);
            info.extend(claims.groups.map(|groups| ("groups".to_owned(), json!(groups))));
            info.extend(claims.claims.map(|claims| ("claims".to_owned(), Value::Object(claims))));
            Value::Object(info)
        })
    }

    /// The keys by which ID tokens can be verified (RFC 7517).
    pub fn jwks(&self) -> Result<Value, HubOAuthError> {
        Ok(json!({ "keys": [self.id_key.get()?.jwk] }))
    }

    /// `OpenID` Connect Discovery 1.0 § 3, as far as there is something to discover.
    pub fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}/hub-oauth/{path}", self.settings.issuer);
        json!({
            "issuer": self.settings.issuer,
            // The authorization endpoint. The metadata must name one (§ 3), though no browser ever comes there.
            "authorization_endpoint": at("authorize"),
            "token_endpoint": at("token"),
            "userinfo_endpoint": at("userinfo"),
            "jwks_uri": at("jwks"),
            "scopes_supported": ["openid"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        })
    }

    fn tokens(&self, grant: &LoginGrant, nonce: Option<String>) -> Result<IssuedTokens, HubOAuthError> {
        let (now, life) = (self.clock.wall().as_second(), self.settings.session.as_secs());
        let until = now.saturating_add(i64::try_from(life).unwrap_or(i64::MAX));
        let claims = AccessClaims {
            iss: self.settings.issuer.clone(),
            aud: ACCESS_AUDIENCE.to_owned(),
            sub: grant.username.as_str().to_owned(),
            iat: now,
            exp: until,
            jti: LinkId::generate(&*self.random)?.as_str().to_owned(),
            groups: grant.groups.clone(),
            claims: grant.claims.clone(),
        };
        let key = EncodingKey::from_secret(&self.access_key);
        let access_token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?;
        let id_token = self.id_token(&grant.username, (claims.groups, nonce), now, until)?;
        Ok(IssuedTokens { access_token, token_type: "Bearer", expires_in: life, id_token, scope: "openid" })
    }

    fn id_token(
        &self,
        username: &Username,
        (groups, nonce): (Option<Vec<String>>, Option<String>),
        now: i64,
        until: i64,
    ) -> Result<String, HubOAuthError> {
        let mut claims = names(username.as_str());
        let more = [
            ("iss", json!(self.settings.issuer)),
            ("aud", json!(self.settings.client_id)),
            ("iat", json!(now)),
            ("auth_time", json!(now)),
            ("exp", json!(until)),
        ];
        claims.extend(more.map(|(name, value)| (name.to_owned(), value)));
        claims.extend(groups.map(|groups| ("groups".to_owned(), json!(groups))));
        claims.extend(nonce.map(|nonce| ("nonce".to_owned(), json!(nonce))));
        let header = Header { kid: Some(IdKey::ID.to_owned()), ..Header::new(Algorithm::RS256) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.id_key.get()?.signing)?)
    }

    /// The digest under which a code is kept: with a wrong verifier or redirect URI nothing is found, and so nothing is
    /// consumed.
    fn digest(&self, code: &str, challenge: Option<&str>) -> TokenDigest {
        let Settings { client_id, redirect_uri, .. } = &self.settings;
        TokenDigest::of_parts(&[
            "hub-oauth-code",
            code,
            client_id,
            redirect_uri,
            challenge.unwrap_or_default(),
        ])
    }
}

/// The user's name under every name by which oauthenticators look for it (15: `username`; 16 and 17 by configuration).
fn names(username: &str) -> Map<String, Value> {
    ["sub", "username", "preferred_username", "name"]
        .map(|name| (name.to_owned(), Value::String(username.to_owned())))
        .into_iter()
        .collect()
}

impl IdKey {
    /// There is one key at a time, so it always has the same name.
    const ID: &str = "hublatch-1";

    fn get(&self) -> Result<&RsaKey, HubOAuthError> {
        self.0.get_or_init(|| Self::generate().ok()).as_ref().ok_or(HubOAuthError::Key)
    }

    fn generate() -> Result<RsaKey, HubOAuthError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| HubOAuthError::Key)?;
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
            aws_lc_rs::encoding::AsDer::as_der(&pair).map_err(|_| HubOAuthError::Key)?;
        let text = Zeroizing::new(STANDARD.encode(der.as_ref()));
        let pem =
            Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *text));
        let public = pair.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": Self::ID,
            "n": number(public.modulus().big_endian_without_leading_zero()),
            "e": number(public.exponent().big_endian_without_leading_zero()),
        });
        Ok(RsaKey { signing: EncodingKey::from_rsa_pem(pem.as_bytes())?, jwk })
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use jiff::Timestamp;

    use super::*;
    use crate::audit::Audit;
    use crate::clock::{ManualClock, Moment};
    use crate::metrics::Metrics;
    use crate::store::RedbStore;
    use crate::token::{NamePattern, UsernameCase, UsernameRule};

    const REDIRECT: &str = "https://hub.example.org/hub/oauth_callback";
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    /// Of that verifier: RFC 7636, appendix B.
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn settings(pkce: Pkce) -> Settings {
        Settings {
            client_id: "hublatch".to_owned(),
            client_secret: "0123456789abcdef0123456789abcdef".to_owned().into(),
            redirect_uri: REDIRECT.to_owned(),
            issuer: "https://hublatch.internal:8443".to_owned(),
            pkce,
            session: Duration::from_hours(12),
            insecure: false,
        }
    }

    /// A real one; the memory store's locks run under a model checker in these tests.
    fn store(clock: &Arc<ManualClock>) -> Arc<dyn TokenStore> {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("tokens.redb");
        Arc::new(RedbStore::open(&file, 100, Arc::clone(clock) as _).unwrap())
    }

    fn dependencies(store: Arc<dyn TokenStore>, clock: &Arc<ManualClock>) -> LoginDependencies {
        let (random, metrics) = (Arc::new(SystemRandom::new()), Arc::new(Metrics::new()));
        let audit =
            Arc::new(Audit::new(Box::new(std::io::sink()), false, Metrics::new().audit_records_lost.clone()));
        LoginDependencies::new(store, Arc::clone(clock) as _, random, audit, metrics)
    }

    fn provider(pkce: Pkce) -> (HubOAuth, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at("2026-11-28T09:00:00Z".parse().unwrap()));
        (HubOAuth::new(settings(pkce), &dependencies(store(&clock), &clock)), clock)
    }

    fn authorize(pairs: &[(&str, &str)]) -> String {
        let mut url = Url::parse("https://hublatch.internal:8443/hub-oauth/authorize").unwrap();
        url.query_pairs_mut().extend_pairs(pairs);
        url.into()
    }

    fn good() -> Vec<(&'static str, &'static str)> {
        vec![
            ("response_type", "code"),
            ("client_id", "hublatch"),
            ("redirect_uri", REDIRECT),
            ("state", "s1"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]
    }

    fn alice() -> VerifiedUser {
        let pattern = NamePattern::new("^[a-z]+$").unwrap();
        let username = UsernameRule::new(pattern, UsernameCase::Refuse).parse("alice").unwrap();
        let grant =
            LoginGrant { groups: Some(vec!["course".to_owned()]), ..LoginGrant::new(username, "lms".into()) };
        let now = Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Duration::ZERO };
        VerifiedUser::for_test(Link {
            id: LinkId::parse("7rU1cG0m6j1q0QfZ8pQ2Xw").unwrap(),
            digest: TokenDigest::of(b"a token"),
            grant,
            status: LinkStatus::Used,
            issued: now,
            expires: now,
            used_at: Some(now.wall),
            note: None,
        })
    }

    async fn code(provider: &HubOAuth) -> Zeroizing<String> {
        let request = provider.read_authorize(&authorize(&good())).unwrap();
        provider.mint_code(alice(), &request).await.unwrap()
    }

    #[tokio::test]
    async fn a_code_is_worth_one_access_token_that_tells_the_user() {
        let (provider, _) = provider(Pkce::Required);
        let code = code(&provider).await;
        let tokens = provider.redeem_code(&code, REDIRECT, Some(VERIFIER)).await.unwrap();
        let info = provider.userinfo(&tokens.access_token).unwrap();
        for name in ["sub", "username", "preferred_username", "name"] {
            assert_eq!(info[name], "alice", "{name}");
        }
        assert_eq!(info["groups"], json!(["course"]));
        assert_eq!(tokens.expires_in, 12 * 60 * 60);
        let again = provider.redeem_code(&code, REDIRECT, Some(VERIFIER)).await;
        assert!(matches!(again, Err(HubOAuthError::InvalidGrant)), "a code works once");
    }

    #[tokio::test]
    async fn a_code_is_bound_to_redirect_uri_and_verifier_and_is_not_lost_by_a_wrong_one() {
        let (provider, _) = provider(Pkce::Required);
        let code = code(&provider).await;
        let other = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX";
        for (redirect, verifier) in [
            ("https://evil.example/hub/oauth_callback", Some(VERIFIER)),
            (REDIRECT, Some(other)),
            (REDIRECT, Some("short")),
            (REDIRECT, None),
        ] {
            let refused = provider.redeem_code(&code, redirect, verifier).await;
            assert!(matches!(refused, Err(HubOAuthError::InvalidGrant)), "{redirect} {verifier:?}");
        }
        assert!(provider.redeem_code(&code, REDIRECT, Some(VERIFIER)).await.is_ok());
    }

    #[tokio::test]
    async fn a_code_is_over_after_ten_seconds_and_an_access_token_after_the_session() {
        let (provider, clock) = provider(Pkce::Required);
        let late = code(&provider).await;
        clock.advance(CODE_LIFETIME);
        let refused = provider.redeem_code(&late, REDIRECT, Some(VERIFIER)).await;
        assert!(matches!(refused, Err(HubOAuthError::InvalidGrant)));
        let code = code(&provider).await;
        let tokens = provider.redeem_code(&code, REDIRECT, Some(VERIFIER)).await.unwrap();
        clock.advance(Duration::from_hours(12) - Duration::from_secs(1));
        assert!(provider.userinfo(&tokens.access_token).is_some());
        clock.advance(Duration::from_secs(1));
        assert!(provider.userinfo(&tokens.access_token).is_none());
    }

    #[tokio::test]
    async fn an_access_token_of_another_secret_or_an_id_token_tells_nobody() {
        let (ours, clock) = provider(Pkce::Required);
        let (theirs, _) = provider(Pkce::Required);
        let code = code(&theirs).await;
        let tokens = theirs.redeem_code(&code, REDIRECT, Some(VERIFIER)).await.unwrap();
        assert!(ours.userinfo(&tokens.access_token).is_some(), "a replica with the same secret knows it");
        assert!(ours.userinfo(&tokens.id_token).is_none());
        let mut settings = settings(Pkce::Required);
        settings.client_secret = "another-secret-another-secret-xx".to_owned().into();
        let other = HubOAuth::new(settings, &dependencies(Arc::clone(&ours.store), &clock));
        assert!(other.userinfo(&tokens.access_token).is_none());
        assert!(ours.userinfo("").is_none());
    }

    #[test]
    fn a_hub_that_asks_for_something_else_is_told_before_anything_is_consumed() {
        let (provider, _) = provider(Pkce::Required);
        assert!(provider.read_authorize(&authorize(&good())).is_ok());
        let with = |name: &str, value: Option<&'static str>| {
            let mut pairs = good();
            pairs.retain(|(other, _)| *other != name);
            let name = good().into_iter().map(|(name, _)| name).find(|other| *other == name).unwrap();
            pairs.extend(value.map(|value| (name, value)));
            authorize(&pairs)
        };
        for location in [
            with("client_id", Some("other")),
            with("redirect_uri", Some("https://hub.example.org/hub/oauth_callback/")),
            with("response_type", Some("token")),
            with("state", None),
            with("state", Some("")),
            with("code_challenge", None),
            with("code_challenge_method", Some("plain")),
            format!("{}&state=s2", authorize(&good())),
            format!("{}&code_challenge={CHALLENGE}", authorize(&good())),
            format!("{}&nonce={}", authorize(&good()), "n".repeat(256)),
            format!("{}&nonce=one&nonce=two", authorize(&good())),
            "/hub/home".to_owned(),
        ] {
            assert!(
                matches!(provider.read_authorize(&location), Err(HubOAuthError::Misconfigured(_))),
                "{location}"
            );
        }
    }

    #[tokio::test]
    async fn an_older_oauthenticator_is_served_without_a_challenge_if_that_is_allowed() {
        let (provider, _) = provider(Pkce::Optional);
        let location = authorize(&good()[..4]);
        let request = provider.read_authorize(&location).unwrap();
        let code = provider.mint_code(alice(), &request).await.unwrap();
        let stolen = provider.redeem_code(&code, REDIRECT, Some(VERIFIER)).await;
        assert!(stolen.is_err(), "a verifier for a code that has no challenge");
        assert!(provider.redeem_code(&code, REDIRECT, None).await.is_ok());
    }

    #[tokio::test]
    async fn the_id_token_repeats_the_nonce_that_was_sent_and_no_other() {
        let (provider, _) = provider(Pkce::Required);
        for (nonce, expected) in [(Some("n-0S6_WzA2Mj"), json!("n-0S6_WzA2Mj")), (None, Value::Null)] {
            let pairs: Vec<_> = good().into_iter().chain(nonce.map(|nonce| ("nonce", nonce))).collect();
            let request = provider.read_authorize(&authorize(&pairs)).unwrap();
            let code = provider.mint_code(alice(), &request).await.unwrap();
            let tokens = provider.redeem_code(&code, REDIRECT, Some(VERIFIER)).await.unwrap();
            let payload = tokens.id_token.split('.').nth(1).unwrap();
            let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
            assert_eq!((&claims["nonce"], &claims["sub"]), (&expected, &json!("alice")));
        }
    }

    #[test]
    fn the_callback_is_the_hubs_own_with_code_and_state() {
        let (provider, _) = provider(Pkce::Required);
        let request = AuthorizeRequest { state: "a b&c".to_owned(), challenge: None, nonce: None };
        assert_eq!(provider.callback(&request, "hl_x"), "/hub/oauth_callback?code=hl_x&state=a+b%26c");
    }

    #[test]
    fn only_the_hub_is_the_client() {
        let (provider, _) = provider(Pkce::Required);
        let secret = "0123456789abcdef0123456789abcdef";
        assert!(provider.authenticate("hublatch", secret).is_ok());
        for (id, secret) in
            [("hublatch", ""), ("hublatch", "0123456789abcdef0123456789abcdeF"), ("other", secret), ("", "")]
        {
            assert!(provider.authenticate(id, secret).is_err(), "{id} {secret}");
        }
    }
}
