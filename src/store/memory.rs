//! The store of a single process: a map under one lock. Links do not survive a restart.

use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{
    Consumed, IdempotencyKey, Inserted, Link, LinkStatus, RETENTION, Revoked, StoreError, StoreFuture,
    TokenStore,
};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest, Username};

/// A wall clock may be stepped back this far before its tokens are refused.
const STEP_TOLERANCE: Duration = Duration::from_secs(2);

/// Keeps links in memory.
#[derive(Debug)]
pub struct MemoryStore {
    max_tokens: usize,
    // Held for a few map operations and never across an await: consuming costs well under a microsecond.
    links: Mutex<Links>,
}

#[derive(Debug, Default)]
struct Links {
    by_id: HashMap<LinkId, Link>,
    by_digest: HashMap<TokenDigest, LinkId>,
    repeats: HashMap<(Arc<str>, String), Repeat>,
    /// Links that no call has ended and whose expiry has not been noticed yet.
    live: usize,
    /// Second (monotonic) → links that expire in it.
    expiries: BTreeMap<u64, Vec<LinkId>>,
    /// Second (monotonic) → links whose records may be forgotten in it.
    removals: BTreeMap<u64, Vec<LinkId>>,
}

#[derive(Debug)]
struct Repeat {
    body: [u8; 32],
    id: LinkId,
}

impl MemoryStore {
    /// An empty store for at most `max_tokens` live links.
    pub fn new(max_tokens: usize) -> Self {
        Self { max_tokens, links: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        // A panic between two map operations could leave the maps disagreeing; every reader treats a missing
        // entry as "no such link", which is the safe side.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenStore for MemoryStore {
    fn insert(&self, new: Vec<Link>, key: Option<IdempotencyKey>, now: Moment) -> StoreFuture<'_, Inserted> {
        let mut links = self.lock();
        links.purge(now);
        let outcome = links.insert(new, key.as_ref(), now, self.max_tokens);
        done(outcome)
    }

    fn find(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Option<Link>> {
        let links = self.lock();
        let found = links.by_digest.get(&digest).and_then(|id| links.read(id, now));
        done(found)
    }

    fn consume(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Consumed> {
        let mut links = self.lock();
        let Some(id) = links.by_digest.get(&digest).cloned() else {
            return done(Consumed::Unknown);
        };
        match links.read(&id, now) {
            None => done(Consumed::Unknown),
            Some(link) if link.status != LinkStatus::Pending => done(Consumed::Ended(Box::new(link))),
            Some(_) => {
                let used = links.end(&id, LinkStatus::Used, now);
                done(used.map_or(Consumed::Unknown, |link| Consumed::Granted(Box::new(link))))
            }
        }
    }

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>> {
        let link = self.lock().read(id, now).filter(|link| *link.grant.app == *app);
        done(link)
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Revoked> {
        let mut links = self.lock();
        match links.read(id, now).filter(|link| *link.grant.app == *app).map(|link| link.status) {
            None => done(Revoked::NotFound),
            Some(LinkStatus::Used) => done(Revoked::Used),
            Some(LinkStatus::Expired | LinkStatus::Revoked) => done(Revoked::Dead),
            Some(LinkStatus::Pending) => {
                links.end(id, LinkStatus::Revoked, now);
                done(Revoked::Dead)
            }
        }
    }

    fn revoke_user<'a>(
        &'a self,
        username: &'a Username,
        app: &'a str,
        now: Moment,
    ) -> StoreFuture<'a, usize> {
        let mut links = self.lock();
        // A walk over all links: revoking a user is rare, and an index would cost each issue and redeem.
        let pending: Vec<LinkId> = links
            .by_id
            .values()
            .filter(|link| link.grant.username == *username && *link.grant.app == *app)
            .filter(|link| as_of(link, now) == LinkStatus::Pending)
            .map(|link| link.id.clone())
            .collect();
        for id in &pending {
            links.end(id, LinkStatus::Revoked, now);
        }
        done(pending.len())
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        done(())
    }

    fn live(&self, now: Moment) -> usize {
        let mut links = self.lock();
        links.purge(now);
        links.live
    }
}

fn done<'a, T: Send + 'a>(value: T) -> StoreFuture<'a, T> {
    Box::pin(ready(Ok::<T, StoreError>(value)))
}

/// The status of `link` at `now`: a pending link is expired once either clock says so, and also when the wall
/// clock was stepped to before it was issued, because then its age cannot be known.
fn as_of(link: &Link, now: Moment) -> LinkStatus {
    let over = now.reached(link.expires) || now.precedes(link.issued, STEP_TOLERANCE);
    if link.status == LinkStatus::Pending && over { LinkStatus::Expired } else { link.status }
}

impl Links {
    fn insert(
        &mut self,
        new: Vec<Link>,
        key: Option<&IdempotencyKey>,
        now: Moment,
        max_tokens: usize,
    ) -> Inserted {
        let earlier = key.and_then(|key| self.repeats.get(&(key.app.clone(), key.key.clone())));
        let mut again = None;
        if let (Some(key), Some(earlier)) = (key, earlier) {
            if earlier.body != key.body {
                return Inserted::OtherBody;
            }
            let id = earlier.id.clone();
            match self.read(&id, now).map(|link| link.status) {
                Some(LinkStatus::Used | LinkStatus::Revoked) => return Inserted::Ended,
                Some(LinkStatus::Pending | LinkStatus::Expired) => again = Some(id),
                None => {}
            }
        }
        let replaced_live =
            again.as_ref().and_then(|id| self.by_id.get(id)).is_some_and(Link::counts_as_live);
        if self.live - usize::from(replaced_live) + new.len() > max_tokens {
            return Inserted::Full;
        }
        self.forget_early(new.len(), max_tokens);
        if let Some(id) = &again {
            self.forget(id);
        }
        for mut link in new {
            if let Some(id) = &again {
                link.id = id.clone();
            }
            if let Some(key) = key {
                let repeat = Repeat { body: key.body, id: link.id.clone() };
                self.repeats.insert((key.app.clone(), key.key.clone()), repeat);
            }
            self.add(link);
        }
        again.map_or(Inserted::New, Inserted::Again)
    }

    fn add(&mut self, link: Link) {
        let expiry = link.expires.monotonic.as_secs() + 1;
        self.expiries.entry(expiry).or_default().push(link.id.clone());
        self.removals.entry(expiry + RETENTION.as_secs()).or_default().push(link.id.clone());
        self.by_digest.insert(link.digest, link.id.clone());
        self.by_id.insert(link.id.clone(), link);
        self.live += 1;
    }

    /// A copy of the link with its status as of `now`.
    fn read(&self, id: &LinkId, now: Moment) -> Option<Link> {
        self.by_id.get(id).map(|link| Link { status: as_of(link, now), ..link.clone() })
    }

    fn end(&mut self, id: &LinkId, status: LinkStatus, now: Moment) -> Option<Link> {
        let link = self.by_id.get_mut(id)?;
        link.status = status;
        if status == LinkStatus::Used {
            link.used_at = Some(now.wall);
        }
        self.live -= 1;
        Some(link.clone())
    }

    /// Notices expiries and forgets what has been readable long enough. Each link is visited twice in its life.
    fn purge(&mut self, now: Moment) {
        let second = now.monotonic.as_secs();
        while let Some(bucket) = self.expiries.first_entry().filter(|bucket| *bucket.key() <= second) {
            for id in bucket.remove() {
                if let Some(link) = self.by_id.get_mut(&id)
                    && link.status == LinkStatus::Pending
                    // A repeated request may have given the same id a later end.
                    && now.monotonic >= link.expires.monotonic
                {
                    link.status = LinkStatus::Expired;
                    self.live -= 1;
                }
            }
        }
        while let Some(bucket) = self.removals.first_entry().filter(|bucket| *bucket.key() <= second) {
            for id in bucket.remove() {
                let due = |link: &Link| link.expires.monotonic + RETENTION <= now.monotonic;
                if self.by_id.get(&id).is_some_and(due) {
                    self.forget(&id);
                }
            }
        }
        let by_id = &self.by_id;
        if self.repeats.len() > 2 * by_id.len() + 16 {
            self.repeats.retain(|_, repeat| by_id.contains_key(&repeat.id));
        }
    }

    /// Bounds the records of ended links by `max_tokens` too: the oldest go first, a live one never.
    fn forget_early(&mut self, coming: usize, max_tokens: usize) {
        if self.by_id.len() + coming <= max_tokens.saturating_mul(2) {
            return;
        }
        let mut surplus = (self.by_id.len() - self.live).saturating_sub(max_tokens / 2);
        let by_id = &self.by_id;
        let mut gone = Vec::new();
        for ids in self.removals.values_mut() {
            ids.retain(|id| {
                let ended = by_id.get(id).is_none_or(|link| !link.counts_as_live());
                let drop = ended && surplus > 0;
                if drop {
                    surplus -= 1;
                    gone.push(id.clone());
                }
                !drop
            });
            if surplus == 0 {
                break;
            }
        }
        for id in gone {
            self.forget(&id);
        }
    }

    fn forget(&mut self, id: &LinkId) {
        if let Some(link) = self.by_id.remove(id) {
            self.by_digest.remove(&link.digest);
            self.live -= usize::from(link.counts_as_live());
        }
    }
}

impl Link {
    /// Whether the stored status says pending: expiry is noticed later, by `purge`.
    fn counts_as_live(&self) -> bool {
        self.status == LinkStatus::Pending
    }
}
