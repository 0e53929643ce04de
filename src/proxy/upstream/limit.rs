//! How many connections to the hub there may be, for all threads together: whoever finds none waits, and not too many do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::config::Limits;

/// The connections to the hub, by how many are taken: how many there may be is the configuration's to say.
#[derive(Debug, Clone, Default)]
pub struct ConnectionLimit(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Counts>);

/// One of those who wait, until it is dropped.
struct Waiting<'a>(&'a Counts);

impl ConnectionLimit {
    /// A place, waited for as long as connecting may take; none if there is none in time, or too many wait already.
    pub async fn take(&self, limits: &Limits) -> Option<Place> {
        if let Some(place) = self.free(limits) {
            return Some(place);
        }
        let waiting = Waiting(&self.0);
        if self.0.waiting.fetch_add(1, Ordering::Relaxed) >= limits.upstream_queue {
            return None;
        }
        let freed = async {
            loop {
                let freed = self.0.freed.notified();
                if let Some(place) = self.free(limits) {
                    return place;
                }
                freed.await;
            }
        };
        let place = tokio::time::timeout(limits.upstream_connect_timeout, freed).await.ok();
        drop(waiting);
        place
    }

    fn free(&self, limits: &Limits) -> Option<Place> {
        let room = |taken| (taken < limits.upstream_connections).then_some(taken + 1);
        let taken = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.is_ok().then(|| Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
