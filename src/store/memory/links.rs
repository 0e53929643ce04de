//! The memory store's links in plain maps. Knows nothing of locks, and decides nothing: [`super`] does.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use jiff::Timestamp;

use super::super::{IdempotencyKey, Link, LinkStatus, RETENTION, as_of};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest, Username};

/// Room made at the start: no insertion waits while a map of this many links is moved.
const ROOM_AT_START: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Links {
    // A login looks into these eight times, so by a hash that costs less than `SipHash`. It is seeded at random, and whoever
    // chooses a token does not choose its digest.
    by_id: HashSet<ById, RandomState>,
    by_digest: HashSet<ByDigest, RandomState>,
    /// What became of the links that have ended; those without an entry count as live.
    ended: HashMap<LinkId, End, RandomState>,
    /// By app and idempotency key.
    repeats: HashMap<(Arc<str>, Box<str>), FirstRequest>,
    /// Second (monotonic) → links that expire in it or, later, may be forgotten in it. An id may since have been given to
    /// another link (a repeated request): whoever looks asks the link.
    due: BTreeMap<u64, Vec<LinkId>>,
}

/// A link as it was issued, or reserved: it is never changed.
#[derive(Debug)]
struct StoredLink {
    link: Link,
    idempotency_key: Option<Box<str>>,
}

/// What an idempotency key came with first.
#[derive(Debug)]
struct FirstRequest {
    link: LinkId,
    /// The digest of the body.
    body: [u8; 32],
}

#[derive(Debug)]
struct End {
    status: LinkStatus,
    used_at: Option<Timestamp>,
}

/// A link that is found by its id.
#[derive(Debug)]
struct ById(Arc<StoredLink>);

/// A link that is found by the digest of its token.
#[derive(Debug)]
struct ByDigest(Arc<StoredLink>);

impl Borrow<LinkId> for ById {
    fn borrow(&self) -> &LinkId {
        &self.0.link.id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.link.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.link.id == other.0.link.id
    }
}

impl Eq for ById {}

impl Borrow<TokenDigest> for ByDigest {
    fn borrow(&self) -> &TokenDigest {
        &self.0.link.digest
    }
}

impl Hash for ByDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.link.digest.hash(state);
    }
}

impl PartialEq for ByDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.link.digest == other.0.link.digest
    }
}

impl Eq for ByDigest {}

impl Links {
    pub(super) fn with_room_for(max_tokens: usize) -> Self {
        let room = max_tokens.min(ROOM_AT_START);
        Self {
            by_id: HashSet::with_capacity_and_hasher(room, RandomState::default()),
            by_digest: HashSet::with_capacity_and_hasher(room, RandomState::default()),
            ..Self::default()
        }
    }

    /// How many no call has ended and whose expiry has not been noticed yet.
    pub(super) fn live(&self) -> usize {
        self.by_id.len() - self.ended.len()
    }

    pub(super) fn is_live(&self, id: &LinkId) -> bool {
        self.by_id.contains(id) && !self.ended.contains_key(id)
    }

    /// The link of this id as it stands at `now`.
    pub(super) fn by_id(&self, id: &LinkId, now: Moment) -> Option<Link> {
        self.by_id.get(id).map(|found| self.read(&found.0.link, now))
    }

    /// The link of this token as it stands at `now`.
    pub(super) fn by_digest(&self, digest: &TokenDigest, now: Moment) -> Option<Link> {
        self.by_digest.get(digest).map(|found| self.read(&found.0.link, now))
    }

    /// The link of an idempotency key, and the digest of the body with which it came.
    pub(super) fn by_idempotency_key(&self, key: &IdempotencyKey, now: Moment) -> Option<(Link, [u8; 32])> {
        let first = self.repeats.get(&(key.app.clone(), key.key.as_str().into()))?;
        Some((self.by_id(&first.link, now)?, first.body))
    }

    pub(super) fn pending_of(&self, username: &Username, app: &str, now: Moment) -> Vec<LinkId> {
        let theirs = |link: &&Link| {
            link.grant.username == *username
                && *link.grant.app == *app
                && self.status(link, now) == LinkStatus::Pending
        };
        self.by_id.iter().map(|stored| &stored.0.link).filter(theirs).map(|link| link.id.clone()).collect()
    }

    fn status(&self, link: &Link, now: Moment) -> LinkStatus {
        let stored = self.ended.get(&link.id).map_or(LinkStatus::Pending, |end| end.status);
        as_of(stored, link.issued, link.expires, now)
    }

    fn read(&self, link: &Link, now: Moment) -> Link {
        let used_at = self.ended.get(&link.id).and_then(|end| end.used_at);
        Link { status: self.status(link, now), used_at, ..link.clone() }
    }

    /// Ends a link that is live; the first end stays.
    pub(super) fn end(&mut self, id: &LinkId, status: LinkStatus, now: Moment) {
        if self.is_live(id) {
            let used_at = (status == LinkStatus::Used).then_some(now.wall);
            self.ended.insert(id.clone(), End { status, used_at });
        }
    }

    pub(super) fn add(&mut self, link: Link, key: Option<&IdempotencyKey>) {
        if let Some(key) = key {
            let named = (key.app.clone(), key.key.as_str().into());
            self.repeats.insert(named, FirstRequest { link: link.id.clone(), body: key.body });
        }
        self.due.entry(seconds(link.expires) + 1).or_default().push(link.id.clone());
        let idempotency_key = key.map(|key| key.key.as_str().into());
        let stored = Arc::new(StoredLink { link, idempotency_key });
        self.by_digest.insert(ByDigest(Arc::clone(&stored)));
        self.by_id.insert(ById(stored));
    }

    /// Puts `link` in the place of the one with its id and digest, which lives less long.
    pub(super) fn replace(&mut self, link: Link) {
        let Some(ById(old)) = self.by_id.take(&link.id) else { return };
        // The entry of the old expiry stays: it finds that the link still lives.
        self.due.entry(seconds(link.expires) + 1).or_default().push(link.id.clone());
        let stored = Arc::new(StoredLink { link, idempotency_key: old.idempotency_key.clone() });
        self.by_digest.replace(ByDigest(Arc::clone(&stored)));
        self.by_id.insert(ById(stored));
    }

    /// Notices expiries and forgets what has been readable long enough. Each link is visited twice in its life.
    pub(super) fn purge(&mut self, now: Moment) {
        while let Some(bucket) = self.due.first_entry().filter(|bucket| *bucket.key() <= seconds(now)) {
            for id in bucket.remove() {
                let Some(stored) = self.by_id.get(&id) else { continue };
                let expiry = stored.0.link.expires.monotonic;
                if now.monotonic < expiry {
                    // It was reserved, or the id was given to a younger link: either has an entry of its own.
                    continue;
                }
                self.end(&id, LinkStatus::Expired, now);
                let forgotten = expiry.saturating_add(RETENTION);
                if now.monotonic >= forgotten {
                    self.forget(&id);
                } else {
                    self.due.entry(forgotten.as_secs() + 1).or_default().push(id);
                }
            }
        }
    }

    /// Bounds the records of ended links by `max_tokens` too: the oldest go first, a live one never.
    pub(super) fn forget_ended(&mut self, coming: usize, max_tokens: usize) {
        if self.by_id.len() + coming <= max_tokens.saturating_mul(2) {
            return;
        }
        // Half of them at once, so that the walk is paid by many insertions.
        let mut surplus = self.ended.len().saturating_sub(max_tokens / 2);
        let mut gone = Vec::new();
        for ids in self.due.values_mut() {
            ids.retain(|id| {
                let forget = surplus > 0 && self.ended.contains_key(id);
                if forget {
                    surplus -= 1;
                    gone.push(id.clone());
                }
                !forget
            });
            if surplus == 0 {
                break;
            }
        }
        for id in gone {
            self.forget(&id);
        }
    }

    pub(super) fn forget(&mut self, id: &LinkId) {
        let Some(ById(stored)) = self.by_id.take(id) else { return };
        self.ended.remove(id);
        self.by_digest.remove(&stored.link.digest);
        if let Some(key) = &stored.idempotency_key {
            self.repeats.remove(&(stored.link.grant.app.clone(), key.clone()));
        }
    }
}

fn seconds(moment: Moment) -> u64 {
    moment.monotonic.as_secs()
}
