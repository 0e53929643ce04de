//! The store of a single process: a slab of links under one lock. Links do not survive a restart.

#[cfg(test)]
mod model;

use std::future::ready;
use std::sync::PoisonError;
#[cfg(not(test))]
use std::sync::{Mutex, MutexGuard};

// The model runs this very code under a scheduler that tries other interleavings each time.
#[cfg(test)]
use shuttle::sync::{Mutex, MutexGuard};

use super::slab::Slab;
use super::{
    Consumed, IdempotencyKey, Inserted, Link, LinkStatus, Revoked, StoreError, StoreFuture, TokenStore,
};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest, Username};

/// Keeps links in memory.
#[derive(Debug)]
pub struct MemoryStore {
    max_tokens: usize,
    // One lock for all: it is held for a few look-ups and never across an await (consuming costs about a
    // microsecond), and "all or none", the capacity and the idempotency keys need one anyway.
    links: Mutex<Slab>,
}

impl MemoryStore {
    /// An empty store for at most `max_tokens` live links.
    pub fn new(max_tokens: usize) -> Self {
        Self { max_tokens, links: Mutex::new(Slab::for_links(max_tokens)) }
    }

    fn lock(&self) -> MutexGuard<'_, Slab> {
        // A panic between two operations could leave the indices disagreeing; every reader treats a missing
        // entry as "no such link", which is the safe side.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenStore for MemoryStore {
    fn insert(&self, new: Vec<Link>, key: Option<IdempotencyKey>, now: Moment) -> StoreFuture<'_, Inserted> {
        let mut links = self.lock();
        links.purge(now);
        done(insert(&mut links, new, key.as_ref(), now, self.max_tokens))
    }

    fn find(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Option<Link>> {
        let links = self.lock();
        done(links.by_digest(&digest).and_then(|slot| links.read(slot, now)))
    }

    fn consume(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Consumed> {
        let mut links = self.lock();
        let found = links.by_digest(&digest);
        let Some((slot, link)) = found.and_then(|slot| links.read(slot, now).map(|link| (slot, link))) else {
            return done(Consumed::Unknown);
        };
        if link.status != LinkStatus::Pending {
            return done(Consumed::Ended(Box::new(link)));
        }
        links.end(slot, LinkStatus::Used, now);
        done(Consumed::Granted(Box::new(Link { status: LinkStatus::Used, used_at: Some(now.wall), ..link })))
    }

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>> {
        let links = self.lock();
        let link = links.by_id(id).and_then(|slot| links.read(slot, now));
        done(link.filter(|link| *link.grant.app == *app))
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Revoked> {
        let mut links = self.lock();
        let Some(slot) = links.by_id(id).filter(|slot| links.is_of(*slot, app)) else {
            return done(Revoked::NotFound);
        };
        done(match links.status(slot, now) {
            None => Revoked::NotFound,
            Some(LinkStatus::Used) => Revoked::Used,
            Some(LinkStatus::Expired) => {
                // For good: a redeeming that has read the clock before us must not come after us and find time left.
                links.end(slot, LinkStatus::Expired, now);
                Revoked::Dead
            }
            Some(LinkStatus::Revoked) => Revoked::Dead,
            Some(LinkStatus::Pending) => {
                links.end(slot, LinkStatus::Revoked, now);
                Revoked::Dead
            }
        })
    }

    fn revoke_user<'a>(
        &'a self,
        username: &'a Username,
        app: &'a str,
        now: Moment,
    ) -> StoreFuture<'a, usize> {
        let mut links = self.lock();
        // A walk over all links: revoking a user is rare, and an index would cost each issue and redeem.
        let pending = links.pending_of(username, app, now);
        for slot in &pending {
            links.end(*slot, LinkStatus::Revoked, now);
        }
        done(pending.len())
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        done(())
    }

    fn live(&self, now: Moment) -> usize {
        let mut links = self.lock();
        links.purge(now);
        links.live()
    }
}

fn done<'a, T: Send + 'a>(value: T) -> StoreFuture<'a, T> {
    Box::pin(ready(Ok::<T, StoreError>(value)))
}

fn insert(
    links: &mut Slab,
    mut new: Vec<Link>,
    key: Option<&IdempotencyKey>,
    now: Moment,
    max_tokens: usize,
) -> Inserted {
    let mut replaced = None;
    if let Some((slot, body)) = key.and_then(|key| links.by_repeat(key)) {
        if key.is_some_and(|key| key.body != body) {
            return Inserted::OtherBody;
        }
        match links.status(slot, now) {
            Some(LinkStatus::Used | LinkStatus::Revoked) => return Inserted::Ended,
            Some(LinkStatus::Pending | LinkStatus::Expired) => replaced = Some(slot),
            None => {}
        }
    }
    let freed = replaced.is_some_and(|slot| links.counts_as_live(slot));
    if links.live() - usize::from(freed) + new.len() > max_tokens {
        return Inserted::Full;
    }
    links.forget_ended(new.len(), max_tokens);
    let first_id = replaced.and_then(|slot| links.forget(slot));
    if let Some(id) = &first_id {
        // The key goes with exactly one link.
        for link in &mut new {
            link.id = id.clone();
        }
    }
    for link in new {
        links.add(link, key);
    }
    first_id.map_or(Inserted::New, Inserted::Again)
}
