//! A login whose browser has given its request up, and sent it again to another replica: the answer reaches it there.
//!
//! What is left in the store is sealed with what the store never sees, the token, and with all that makes two requests
//! those of one browser: without both it can be neither found nor read. It is taken once, and lives for seconds. Like
//! `turns`, this is comfort and no defence.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Click;
use super::turns::{Browser, DOUBLE_CLICK};
use crate::body::collect;
use crate::proxy::Proxy;
use crate::proxy::upstream::ResponseBody;
use crate::store::{Left, Link, StoreError};
use crate::token::TokenDigest;

/// What the keys are for: no other use of a token makes the same ones.
const PURPOSE: &[u8] = b"hublatch: an answer that was not taken, 1";
/// The largest body that is kept; the hub answers a login with none.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// A login of which nothing is known after this time is over, or was none: the token went to the API.
const FIRST_WORD: Duration = Duration::from_millis(50);
/// The pauses between two looks: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(200)];

/// What one browser's requests with one token share, and nobody else has.
struct Keys {
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

/// Tells the other replicas that the token is consumed and its login under way; whether there are any and they know.
pub async fn begin(proxy: &Proxy, digest: TokenDigest) -> bool {
    match proxy.shared.login.store().relay() {
        Some(relay) => told(relay.begun(digest, DOUBLE_CLICK).await).is_some(),
        None => false,
    }
}

/// Tells them that it is over.
pub async fn end(proxy: &Proxy, digest: TokenDigest, left: Option<Left>) {
    if let Some(relay) = proxy.shared.login.store().relay() {
        told(relay.ended(digest, left).await);
    }
}

/// The `answer` that nobody took, for the other replicas: for the `token` as `browser` has brought it.
pub async fn leave(token: &str, browser: &Browser, answer: Response<ResponseBody>) -> Option<Left> {
    let keys = Keys::of(token, browser);
    let sealed = keys.seal(answer).await?;
    Some(Left { name: keys.name, sealed, life: DOUBLE_CLICK })
}

impl Keys {
    fn of(token: &str, browser: &Browser) -> Self {
        let mut keys = Zeroizing::new([0_u8; 64]);
        Salt::new(HKDF_SHA256, PURPOSE)
            .extract(token.as_bytes())
            .expand(&[&browser.spelled()], TwoKeys)
            .and_then(|derived| derived.fill(&mut *keys))
            .expect("HKDF-SHA256 gives up to 8,160 bytes (RFC 5869 § 2.3)");
        let (mut name, mut key) = ([0; 32], Zeroizing::new([0; 32]));
        name.copy_from_slice(&keys[..32]);
        key.copy_from_slice(&keys[32..]);
        Self { name, key }
    }

    async fn seal(&self, answer: Response<ResponseBody>) -> Option<Vec<u8>> {
        let (head, body) = answer.into_parts();
        let headers = head.headers.iter();
        let kept = Kept {
            status: head.status.as_u16(),
            headers: headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
            body: collect(body, BODY_BYTES_MAX, DOUBLE_CLICK).await.ok()?.to_vec(),
        };
        let mut text = serde_json::to_vec(&kept).ok()?;
        let nonce = self.cipher()?.seal_in_place_append_tag(Aad::empty(), &mut text).ok()?;
        Some([nonce.as_ref().as_slice(), &text].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Response<ResponseBody>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
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

/// The answer to a login with the used `link` that is under way at another replica, if the browser of `click` has asked
/// for it: waits for the end, at most [`DOUBLE_CLICK`].
pub async fn take(proxy: &Proxy, click: &Click, link: &Link) -> Option<Response<ResponseBody>> {
    let login = &proxy.shared.login;
    let relay = login.store().relay()?;
    let keys = Keys::of(&click.token, &Browser::of(click));
    let deadline = Instant::now() + DOUBLE_CLICK;
    let [mut pause, longest] = PAUSES;
    let mut was_under_way = false;
    while login.was_used_within(link, DOUBLE_CLICK) {
        let seen = told(relay.look(link.digest, keys.name).await)?;
        if let Some(sealed) = seen.sealed {
            return keys.open(&sealed);
        }
        let may_begin = !was_under_way && login.was_used_within(link, FIRST_WORD);
        if !(seen.under_way || may_begin) || Instant::now() + pause > deadline {
            return None;
        }
        was_under_way |= seen.under_way;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
    None
}

fn told<T>(outcome: Result<T, StoreError>) -> Option<T> {
    outcome.inspect_err(|error| tracing::warn!(%error, "login: between replicas")).ok()
}
