//! The store of a single process: maps of links under one lock. Links do not survive a restart.

mod links;
#[cfg(test)]
mod model;

use std::future::ready;
use std::sync::PoisonError;
#[cfg(not(test))]
use std::sync::{Mutex, MutexGuard};

// The model runs this very code under a scheduler that tries other interleavings each time.
#[cfg(test)]
use shuttle::sync::{Mutex, MutexGuard};

use super::{
    Consumed, IdempotencyKey, Inserted, Link, LinkStatus, Revoked, StoreError, StoreFuture, TokenStore,
    reserved,
};
use crate::clock::Moment;
use crate::token::{LinkId, TokenDigest, Username};

use links::Links;

/// Keeps links in memory.
#[derive(Debug)]
pub struct MemoryStore {
    max_tokens: usize,
    // One lock for all: it is held for a few look-ups and never across an await (consuming costs about a
    // microsecond), and "all or none", the capacity and the idempotency keys need one anyway.
    links: Mutex<Links>,
}

impl MemoryStore {
    /// An empty store for at most `max_tokens` live links.
    pub fn new(max_tokens: usize) -> Self {
        Self { max_tokens, links: Mutex::new(Links::with_room_for(max_tokens)) }
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
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
        done(self.lock().by_digest(&digest, now))
    }

    fn consume(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Consumed> {
        let mut links = self.lock();
        let Some(link) = links.by_digest(&digest, now) else {
            return done(Consumed::Unknown);
        };
        if link.status != LinkStatus::Pending {
            return done(Consumed::Ended(Box::new(link)));
        }
        links.end(&link.id, LinkStatus::Used, now);
        done(Consumed::Granted(Box::new(Link { status: LinkStatus::Used, used_at: Some(now.wall), ..link })))
    }

    fn reserve(&self, digest: TokenDigest, until: Moment, now: Moment) -> StoreFuture<'_, bool> {
        let mut links = self.lock();
        let pending = links.by_digest(&digest, now).filter(|link| link.status == LinkStatus::Pending);
        let found = pending.is_some();
        if let Some(link) = pending {
            links.replace(reserved(link, until));
        }
        done(found)
    }

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>> {
        let link = self.lock().by_id(id, now);
        done(link.filter(|link| *link.grant.app == *app))
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Revoked> {
        let mut links = self.lock();
        let link = links.by_id(id, now).filter(|link| *link.grant.app == *app);
        done(match link.map(|link| link.status) {
            None => Revoked::NotFound,
            Some(LinkStatus::Used) => Revoked::Used,
            Some(LinkStatus::Revoked) => Revoked::Dead,
            Some(status @ (LinkStatus::Expired | LinkStatus::Pending)) => {
                // An expired one for good: a redeeming that has read the clock before us must not come after us and find
                // time left.
                let ended =
                    if status == LinkStatus::Pending { LinkStatus::Revoked } else { LinkStatus::Expired };
                links.end(id, ended, now);
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
        links.live()
    }
}

fn done<'a, T: Send + 'a>(value: T) -> StoreFuture<'a, T> {
    Box::pin(ready(Ok::<T, StoreError>(value)))
}

fn insert(
    links: &mut Links,
    mut new: Vec<Link>,
    key: Option<&IdempotencyKey>,
    now: Moment,
    max_tokens: usize,
) -> Inserted {
    let mut replaced = None;
    if let Some((link, body)) = key.and_then(|key| links.by_idempotency_key(key, now)) {
        if key.is_some_and(|key| key.body != body) {
            return Inserted::OtherBody;
        }
        match link.status {
            LinkStatus::Used | LinkStatus::Revoked => return Inserted::Ended,
            LinkStatus::Pending | LinkStatus::Expired => replaced = Some(link.id),
        }
    }
    let freed = replaced.as_ref().is_some_and(|id| links.is_live(id));
    if links.live() - usize::from(freed) + new.len() > max_tokens {
        return Inserted::Full;
    }
    if let Some(id) = &replaced {
        links.forget(id);
        // The key goes with exactly one link.
        for link in &mut new {
            link.id = id.clone();
        }
    }
    links.forget_ended(new.len(), max_tokens);
    for link in new {
        links.add(link, key);
    }
    replaced.map_or(Inserted::New, Inserted::Again)
}
