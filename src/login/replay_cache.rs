//! Which tokens of other makers were consumed (RFC 7519 § 4.1.7): each is good for one login, whoever asks.
//!
//! Consuming is one insertion under an idempotency key made of the token's digest, with a body that is random each time:
//! of all insertions in all replicas one is new, and every other finds the key taken by another body. The record waits
//! until the token's time is over, and a store drops nothing that waits; so the memory of a consumed token outlives it. It
//! is kept under a name that no app can have: the API neither shows nor revokes it.

use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;
use jiff::{SignedDuration, Timestamp};

use super::dependencies::LoginDependencies;
use super::refusal::{Refusal, RefusalReason};
use crate::clock::{Clock, Moment};
use crate::store::{IdempotencyKey, Inserted, Link, LinkStatus, Memory, StoreError, TokenStore};
use crate::token::TokenDigest;

/// What begins the name under which an app's consumed tokens are kept: no app's own name has a ":".
const KEPT_BY: &str = "burnt:";

/// The memory of consumed tokens.
pub(super) struct ReplayCache {
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    started: Moment,
}

impl ReplayCache {
    /// Remembers in the store.
    pub(super) fn new(dependencies: &LoginDependencies) -> Self {
        let LoginDependencies { store, clock, random, started, .. } = dependencies.clone();
        Self { store, clock, random, started }
    }

    /// How far back it is known which tokens were consumed: to the start of this process, or what the store says of itself.
    /// In either case by our clock as it stands, with which the times in tokens are compared, whatever it was set to before.
    pub(super) fn memory(&self) -> Memory {
        let now = self.clock.now();
        self.store.memory(now).unwrap_or_else(|| {
            let age = now.monotonic.saturating_sub(self.started.monotonic);
            let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
            Memory { epoch: 0, since: now.wall.checked_sub(age).unwrap_or(Timestamp::MIN) }
        })
    }

    /// The record of the token with this digest, if it was consumed.
    pub(super) async fn find(&self, digest: TokenDigest, now: Moment) -> Result<Option<Link>, StoreError> {
        self.store.find(digest, now).await
    }

    /// Consumes the token of `link`; refuses if it was consumed before.
    pub(super) async fn consume(&self, link: &Link) -> Result<(), Refusal> {
        let mut body = [0; 32];
        self.random.fill(&mut body).map_err(|_| StoreError::unavailable("no random bytes"))?;
        let kept_by = kept_by(link);
        let key = IdempotencyKey { app: Arc::clone(&kept_by), key: link.digest.to_text(), body };
        let mut record = link.clone();
        record.grant.app = kept_by;
        match self.store.insert(vec![record], Some(key), self.clock.now()).await? {
            Inserted::New => Ok(()),
            Inserted::Again(_) | Inserted::Ended | Inserted::OtherBody => {
                // The race is lost: another request has used it just now.
                let used_at = Some(self.clock.wall());
                let link = Link { status: LinkStatus::Used, used_at, ..link.clone() };
                Err(Refusal::of_link(RefusalReason::Used, Some(Box::new(link))))
            }
            Inserted::Full => Err(full().into()),
        }
    }

    /// Revokes the record of a consumed token that is no app's, so that a full store drops it first.
    pub(super) async fn forget(&self, link: &Link) -> Result<(), StoreError> {
        self.store.revoke(&link.id, &kept_by(link), self.clock.now()).await.map(|_| ())
    }
}

fn kept_by(link: &Link) -> Arc<str> {
    format!("{KEPT_BY}{}", link.grant.app).into()
}

/// The store has no room: nobody is logged in.
pub(super) fn full() -> StoreError {
    StoreError::unavailable("there are too many live links (store.max_tokens)")
}
