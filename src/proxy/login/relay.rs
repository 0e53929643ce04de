//! A login whose browser has given its request up, and sent it again to another replica: the answer reaches it there.
//!
//! 1. This replica consumes the token and tells the store that its login is under way.
//! 2. The other one finds the link used, sees that, and asks for the answer, again and again until its click's deadline.
//! 3. When the hub has answered, and nobody here takes it within two seconds, this replica looks who asks. If it is a
//!    request of the same [`RequestFingerprint`], the answer goes into the store; if not, it is dropped. The login has ended.
//! 4. The other one takes it out.
//!
//! The answer is sealed with what the store never sees: the token, the likeness, and the key of the assertion if there is
//! one. Like `turns`, this is comfort and no defence.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Click;
use super::single_flight::RequestFingerprint;
use crate::body::collect;
use crate::config::Config;
use crate::proxy::Proxy;
use crate::proxy::upstream::ResponseBody;
use crate::store::{Link, SealedAnswer, StoreError};
use crate::token::{OpaqueToken, TokenDigest};

/// What the keys are for: no other use of a token makes the same ones.
const PURPOSE: &[u8] = b"hublatch: an answer that was not taken, 1";
/// The largest body that is kept; the hub answers a login with none.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long an answer lies in the store, and how long asking for it counts.
const LIFE: Duration = Duration::from_secs(2);
/// A login of which nothing is known after this time is over, or was none: the token went to the API.
const FIRST_WORD: Duration = Duration::from_millis(50);
/// The pauses between two looks: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(200)];

/// What the replicas know and the store does not.
#[derive(Debug)]
pub struct RelaySecret(Option<Salt>);

impl RelaySecret {
    /// The key of the assertion, if there is one.
    pub fn of(config: &Config) -> Self {
        Self(config.assertion.as_ref().map(|assertion| Salt::new(HKDF_SHA256, &assertion.key_pem)))
    }
}

/// By what requests of one likeness with one token find an answer, and read it; and no others.
pub struct RelayKey {
    digest: TokenDigest,
    /// Under which the answer lies.
    name: [u8; 32],
    /// With which it is sealed.
    key: Zeroizing<[u8; 32]>,
}

/// An answer as it lies in the store.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

struct TwoKeys;

impl KeyType for TwoKeys {
    fn len(&self) -> usize {
        64
    }
}

impl RelayKey {
    /// Of the token `text` in a request of this `likeness`; none where no other replica shares the store.
    pub fn of(proxy: &Proxy, text: &str, digest: TokenDigest, likeness: &RequestFingerprint) -> Option<Self> {
        proxy.shared.login.store().relay()?;
        let none = Salt::new(HKDF_SHA256, &[]);
        let salt = match &proxy.shared.relay_secret.0 {
            Some(secret) => secret,
            // Whoever reads the store may guess a token that is not random.
            None => OpaqueToken::parse(text).map(|_| &none)?,
        };
        let mut keys = Zeroizing::new([0_u8; 64]);
        let (token, info) = (salt.extract(text.as_bytes()), [PURPOSE, &likeness.spelled()]);
        token.expand(&info, TwoKeys).and_then(|derived| derived.fill(&mut *keys)).ok()?;
        let (mut name, mut key) = ([0; 32], Zeroizing::new([0; 32]));
        name.copy_from_slice(&keys[..32]);
        key.copy_from_slice(&keys[32..]);
        Some(Self { digest, name, key })
    }

    /// Tells the other replicas that the token is consumed and its login under way.
    pub async fn begin(&self, proxy: &Proxy) {
        if let Some(relay) = proxy.shared.login.store().relay() {
            told(relay.begin(self.digest, longest(proxy)).await);
        }
    }

    /// Whether the answer is asked for at another replica; `None` if that cannot be known.
    pub async fn is_asked_for(&self, proxy: &Proxy) -> Option<bool> {
        told(proxy.shared.login.store().relay()?.is_asked_for(self.name).await)
    }

    /// Tells the other replicas that the login is over, and leaves the `answer` there.
    pub async fn end(&self, proxy: &Proxy, answer: Option<Response<ResponseBody>>) {
        let Some(relay) = proxy.shared.login.store().relay() else { return };
        let sealed = match answer {
            Some(answer) => tokio::time::timeout(LIFE, self.seal(answer)).await.ok().flatten(),
            None => None,
        };
        let left = sealed.map(|sealed| SealedAnswer { name: self.name, sealed, life: LIFE });
        told(relay.end(self.digest, left).await);
    }

    async fn seal(&self, answer: Response<ResponseBody>) -> Option<Vec<u8>> {
        let (head, body) = answer.into_parts();
        let headers = head.headers.iter();
        let kept = Kept {
            status: head.status.as_u16(),
            headers: headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
            body: collect(body, BODY_BYTES_MAX, LIFE).await.ok()?.to_vec(),
        };
        let mut text = serde_json::to_vec(&kept).ok()?;
        let nonce = self.cipher()?.seal_in_place_append_tag(Aad::empty(), &mut text).ok()?;
        Some([nonce.as_ref().as_slice(), &text].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Response<ResponseBody>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = Zeroizing::new(text.to_vec());
        let text = self.cipher()?.open_in_place(Nonce::from(nonce), Aad::empty(), &mut text).ok()?;
        let kept: Kept = serde_json::from_slice(text).ok()?;
        let mut answer = Response::new(ResponseBody::Whole(kept.body.into()));
        *answer.status_mut() = StatusCode::from_u16(kept.status).ok()?;
        for (name, value) in kept.headers {
            let (name, value) = (HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
            answer.headers_mut().append(name, value);
        }
        Some(answer)
    }

    fn cipher(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.key).ok()
    }
}

/// The answer to a login with the used `link` that is under way at another replica, for the same browser's `click`:
/// asks for it until the click's deadline.
pub async fn ask(proxy: &Proxy, click: &Click, link: &Link) -> Option<Response<ResponseBody>> {
    let login = &proxy.shared.login;
    if !login.redeemer.was_used_within(link, longest(proxy)) {
        return None;
    }
    let relay = login.store().relay()?;
    let key = RelayKey::of(proxy, &click.token, link.digest, &RequestFingerprint::of(click))?;
    let [mut pause, longest_pause] = PAUSES;
    let mut was_under_way = false;
    loop {
        let seen = told(relay.ask(link.digest, key.name, LIFE).await)?;
        if let Some(sealed) = seen.sealed {
            return key.open(&sealed);
        }
        let may_begin = !was_under_way && login.redeemer.was_used_within(link, FIRST_WORD);
        if !(seen.under_way || may_begin) || Instant::now() + pause > click.deadline {
            return None;
        }
        was_under_way |= seen.under_way;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest_pause);
    }
}

/// How long a login may be under way: the hub is asked to end one session and to begin another, and then a second click
/// is waited for.
fn longest(proxy: &Proxy) -> Duration {
    2 * proxy.shared.rules.login_hub_timeout + super::execute::ON_ITS_WAY
}

fn told<T>(outcome: Result<T, StoreError>) -> Option<T> {
    outcome
        .inspect_err(
            |error| tracing::warn!(%error, "login: a double click may not be joined between replicas"),
        )
        .ok()
}
