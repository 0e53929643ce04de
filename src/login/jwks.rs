//! The public keys of an app that signs its own tokens: one from a file, or a JWK Set (RFC 7517 § 5) from its server.
//!
//! The set is asked for when a token names a key that is not known, and when it has grown old; in both cases at most
//! every ten seconds. A server that does not answer stops no key that is known.
//!
//! It is asked by a task of its own: anybody can come with a token of an unknown key and go away at once, and whoever comes
//! within the ten seconds after needs the answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::application_client::{ApplicationClient, ApplicationError};
use crate::config::{Jwt, JwtAlgorithm, JwtKeys};

/// The shortest time between two questions.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// The age at which the set is fetched again although it has the key: servers withdraw keys, too.
const OLD_AFTER: Duration = Duration::from_mins(10);
/// The most keys of one set that are kept.
const KEYS_MAX: usize = 64;

/// It cannot be told whether the key exists.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The server does not answer.
    #[error("ask for the keys of the app: {0}")]
    Service(#[from] ApplicationError),
    /// Its response is not a JWK set.
    #[error("the answer is no JWK Set, but {0}")]
    NoSet(String),
    /// It failed a moment ago, and is not asked again so soon.
    #[error("the keys of the app could not be had a moment ago")]
    Lately,
}

/// The keys of one app.
#[derive(Debug)]
pub enum Keys {
    /// One, for each of the app's algorithms.
    Fixed(Vec<Key>),
    /// Those of a server.
    Fetched(Arc<KeySet>),
}

/// A public key, for one algorithm.
#[derive(Debug, Clone)]
pub struct Key {
    id: Option<String>,
    algorithm: JwtAlgorithm,
    verifies: Arc<DecodingKey>,
}

/// The keys of a server.
#[derive(Debug)]
pub struct KeySet {
    url: Url,
    known: Mutex<Known>,
    /// Held while the server is asked.
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of a server, by the monotonic clock.
#[derive(Debug, Default, Clone)]
struct Known {
    keys: Arc<[Key]>,
    learnt: Option<Duration>,
    asked: Option<Duration>,
}

impl Keys {
    /// The keys of `jwt`, which validation has tried.
    pub fn new(jwt: &Jwt) -> Self {
        match &jwt.keys {
            JwtKeys::Pem(pem) => {
                let key = |algorithm: &JwtAlgorithm| {
                    let key = algorithm.public_key(pem.as_bytes()).ok()?;
                    Some(Key { id: None, algorithm: *algorithm, verifies: Arc::new(key) })
                };
                Self::Fixed(jwt.algorithms.iter().filter_map(key).collect())
            }
            JwtKeys::Url(url) => Self::Fetched(Arc::new(KeySet {
                url: url.clone(),
                known: Mutex::default(),
                asking: Arc::default(),
            })),
        }
    }

    /// Takes over the keys that `earlier` knows of the same server. They are asked for anew when one is needed: after a
    /// reload, a key that the server has taken back is honoured no more.
    pub fn carry_over(&mut self, earlier: &Self) {
        if let (Self::Fetched(new), Self::Fetched(old)) = (self, earlier)
            && new.url == old.url
        {
            *new.lock() = Known { keys: old.known().keys, ..Known::default() };
        }
    }

    /// The key `id` for `algorithm`; without an id, the only one. `now` is the monotonic clock's.
    pub async fn find(
        &self,
        client: &Arc<ApplicationClient>,
        id: Option<&str>,
        algorithm: JwtAlgorithm,
        now: Duration,
    ) -> Result<Option<Arc<DecodingKey>>, KeysError> {
        match self {
            // The file has no id: whatever a token says, there is but one key.
            Self::Fixed(keys) => Ok(pick(keys, None, algorithm)),
            Self::Fetched(set) => set.find(client, id, algorithm, now).await,
        }
    }
}

fn pick(keys: &[Key], id: Option<&str>, algorithm: JwtAlgorithm) -> Option<Arc<DecodingKey>> {
    let fits = |key: &&Key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id);
    let mut fitting = keys.iter().filter(fits);
    // Two that fit are an ambiguity, which is not ours to resolve.
    fitting.next().filter(|_| fitting.next().is_none()).map(|key| Arc::clone(&key.verifies))
}

impl KeySet {
    async fn find(
        self: &Arc<Self>,
        client: &Arc<ApplicationClient>,
        id: Option<&str>,
        algorithm: JwtAlgorithm,
        now: Duration,
    ) -> Result<Option<Arc<DecodingKey>>, KeysError> {
        let known = self.known();
        let found = pick(&known.keys, id, algorithm);
        if found.is_some() && !known.is_old(now) {
            return Ok(found);
        }
        let asking = Arc::clone(&self.asking);
        let asking = if found.is_some() && known.learnt.is_some() {
            // Somebody is asking whether the key still counts. Until that is answered, which takes a few seconds at most, it
            // does: a server that hangs need not keep everybody waiting. After a reload nobody has heard of the key yet.
            let Ok(asking) = asking.try_lock_owned() else { return Ok(found) };
            asking
        } else {
            asking.lock_owned().await
        };
        // Somebody else may have asked meanwhile.
        let known = self.known();
        let found = pick(&known.keys, id, algorithm);
        if found.is_some() && !known.is_old(now) {
            return Ok(found);
        }
        if known.asked.is_some_and(|asked| now.saturating_sub(asked) < ASK_EVERY) {
            let answered = known.learnt.is_some() && known.learnt == known.asked;
            return if found.is_some() || answered { Ok(found) } else { Err(KeysError::Lately) };
        }
        self.lock().asked = Some(now);
        let (set, client) = (Arc::clone(self), Arc::clone(client));
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends in seconds, and a drain waits for whoever needs it"
        )]
        let answer = tokio::spawn(async move {
            let _asking = asking;
            let keys = set.ask(&client).await?;
            *set.lock() = Known { keys: Arc::clone(&keys), learnt: Some(now), asked: Some(now) };
            Ok(keys)
        });
        // A task is broken off only when its thread ends.
        match answer.await.unwrap_or(Err(KeysError::Lately)) {
            Ok(keys) => Ok(pick(&keys, id, algorithm)),
            Err(error) if found.is_some() => {
                tracing::warn!(%error, "login: the keys of an app are old, and cannot be had anew");
                Ok(found)
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, client: &ApplicationClient) -> Result<Arc<[Key]>, KeysError> {
        let (status, body) = client.get(&self.url).await?;
        if status != reqwest::StatusCode::OK {
            return Err(KeysError::NoSet(format!("status {status}")));
        }
        let set: PublishedSet = serde_json::from_slice(&body)
            .map_err(|error| KeysError::NoSet(format!("something else: {error}")))?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Ok(keys.filter_map(|key| Key::of(&key)).take(KEYS_MAX).collect())
    }

    fn known(&self) -> Known {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_old(&self, now: Duration) -> bool {
        self.learnt.is_none_or(|learnt| now.saturating_sub(learnt) >= OLD_AFTER)
    }
}

/// A JWK Set as it is published. A key of a kind that is not known, or that lacks something, is passed over and spoils no
/// other (RFC 7517 § 5).
#[derive(Deserialize)]
struct PublishedSet {
    keys: Vec<Value>,
}

impl Key {
    /// The key of `jwk`, if it is one that signs and that we take. What it is for is told by its kind, and must not be
    /// contradicted by what it says of itself (RFC 7517 § 4.2, § 4.4).
    fn of(jwk: &Jwk) -> Option<Self> {
        let kind = &jwk.algorithm;
        let algorithm = if let AlgorithmParameters::RSA(_) = kind {
            JwtAlgorithm::Rs256
        } else if matches!(kind, AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519)
        {
            JwtAlgorithm::EdDsa
        } else if matches!(kind, AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256)
        {
            JwtAlgorithm::Es256
        } else {
            return None;
        };
        let said = match algorithm {
            JwtAlgorithm::EdDsa => KeyAlgorithm::EdDSA,
            JwtAlgorithm::Es256 => KeyAlgorithm::ES256,
            JwtAlgorithm::Rs256 => KeyAlgorithm::RS256,
        };
        let common = &jwk.common;
        let fits = common.key_algorithm.as_ref().is_none_or(|algorithm| *algorithm == said)
            && common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| fits)?;
        Some(Self { id: common.key_id.clone(), algorithm, verifies: Arc::new(key) })
    }
}

/// The name of `algorithm` in a token's header.
pub fn as_written(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
    }
}
