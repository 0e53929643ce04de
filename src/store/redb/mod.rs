//! The store of a single process whose links survive a restart: one redb file, one writer.
//!
//! What it promises beyond the trait: an insertion is answered after it is durable, and so is a login. All writes go
//! through one thread that commits whatever has queued up at once (group commit), so the disk is waited for once for
//! many callers; reads have a thread of their own, so that a slow disk never holds up a connection. The file is written
//! at its end and indexed in memory: a call costs the same with a thousand links and with a million.
//!
//! After a restart only the time of day can tell how old a link is, so one of an earlier opening ends by the wall clock
//! (and by the monotonic clock counted from the start of this opening); it is refused if the wall clock stands before
//! its issue, and all older links are if it stands before the last commit.

mod error;
mod file;
mod file_state;
mod filesystem;
mod index;
mod link_record;
#[cfg(test)]
mod power_cut;
mod read;
mod rollback_marker;
mod shared_database;
mod tables;
mod threads;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Consumed, IdempotencyKey, Inserted, Link, Memory, Revoked, StoreFuture, TokenStore};
use crate::clock::{Clock, Moment};
use crate::token::{LinkId, TokenDigest, Username};

pub use error::FileError;
use link_record::{millis, millis_after};
use read::Lookup;
use threads::Threads;

/// Keeps links in a file.
#[derive(Debug)]
pub struct RedbStore {
    threads: Threads,
    clock: Arc<dyn Clock>,
}

impl RedbStore {
    /// Opens the store at `path`, or creates it, for at most `max_tokens` live links.
    pub fn open(path: &Path, max_tokens: usize, clock: Arc<dyn Clock>) -> Result<Self, FileError> {
        Ok(Self { threads: Threads::start(path, max_tokens, Arc::clone(&clock))?, clock })
    }
}

impl TokenStore for RedbStore {
    fn insert(
        &self,
        links: Vec<Link>,
        key: Option<IdempotencyKey>,
        now: Moment,
    ) -> StoreFuture<'_, Inserted> {
        self.threads.write(move |tables| tables.insert(links, key.as_ref(), now))
    }

    fn find(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Option<Link>> {
        Box::pin(async move {
            let read = move |transaction: &_, index: &_, opening: &_| {
                read::find(transaction, index, opening, digest, now)
            };
            match self.threads.read(read).await? {
                Lookup::Missing => Ok(None),
                Lookup::Link(link) => Ok(Some(*link)),
                Lookup::Uncommitted => self.threads.write(move |tables| tables.find(digest, now)).await,
            }
        })
    }

    fn consume(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Consumed> {
        self.threads.write(move |tables| tables.consume(digest, now))
    }

    fn reserve(&self, digest: TokenDigest, until: Moment, now: Moment) -> StoreFuture<'_, bool> {
        self.threads.write(move |tables| tables.reserve(digest, until, now))
    }

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>> {
        Box::pin(async move {
            let (of, by) = (id.clone(), app.to_owned());
            let read = move |transaction: &_, index: &_, opening: &_| {
                read::get(transaction, index, opening, &of, &by, now)
            };
            match self.threads.read(read).await? {
                Lookup::Missing => Ok(None),
                Lookup::Link(link) => Ok(Some(*link)),
                Lookup::Uncommitted => {
                    let (of, by) = (id.clone(), app.to_owned());
                    self.threads.write(move |tables| tables.get(&of, &by, now)).await
                }
            }
        })
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Revoked> {
        let (id, app) = (id.clone(), app.to_owned());
        self.threads.write(move |tables| tables.revoke(&id, &app, now))
    }

    fn revoke_user<'a>(
        &'a self,
        username: &'a Username,
        app: &'a str,
        now: Moment,
    ) -> StoreFuture<'a, usize> {
        let (username, app) = (username.clone(), app.to_owned());
        self.threads.write(move |tables| tables.revoke_user(&username, &app, now))
    }

    /// Commits a transaction of its own, so that `/ready` knows that the disk can be written.
    fn ping(&self) -> StoreFuture<'_, ()> {
        self.threads.ping()
    }

    fn live(&self, _now: Moment) -> usize {
        self.threads.live()
    }

    /// By the wall clock, because they outlive this process: the next one must know them.
    fn end_sessions(&self, sessions: Vec<String>, remembered: Duration) -> StoreFuture<'_, ()> {
        let now = self.clock.wall();
        let (now, until) = (millis(now), millis_after(now, remembered));
        self.threads.write(move |tables| tables.end_sessions(&sessions, until, now))
    }

    fn ended_sessions(&self) -> Option<StoreFuture<'_, Vec<String>>> {
        let now = millis(self.clock.wall());
        Some(self.threads.read(move |transaction, _, _| read::ended_sessions(transaction, now)))
    }

    fn memory(&self, _now: Moment) -> Option<Memory> {
        Some(Memory { epoch: 0, since: self.threads.remembers_since() })
    }
}
