//! How many connections to the hub there may be, for all threads together: whoever finds none waits, and not too many do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::client_network::take_when_freed;
use crate::config::Limits;

/// Of so many connections, one is for logins alone.
const RESERVED_OF: usize = 20;
/// Logins have so much more, in parts of what other requests have: connections per client, and those who may wait.
const LOGIN_EXTRA_OF: usize = 5;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A login, and the questions that it puts to the hub: somebody else's requests must not keep it out.
    Login,
    /// Any other request.
    Request,
}

impl Purpose {
    /// The most connections for this purpose and lower ones, in all.
    fn connections(self, limits: &Limits) -> usize {
        let all = limits.upstream_connections;
        match self {
            Self::Login => all,
            Self::Request => all - all / RESERVED_OF,
        }
    }

    /// The most requests that may wait for a connection; and the most of one client for its share of them.
    pub fn queue(self, limits: &Limits) -> usize {
        self.with_extra(limits.upstream_queue)
    }

    /// The most requests of one client that the hub may be busy with.
    pub fn connections_per_client(self, limits: &Limits) -> usize {
        self.with_extra(limits.upstream_connections_per_client)
    }

    /// The most connections to one server of a routing table.
    pub fn connections_per_server(self, limits: &Limits) -> usize {
        self.with_extra(limits.route_connections)
    }

    fn with_extra(self, of_requests: usize) -> usize {
        match self {
            Self::Login => of_requests.saturating_add(of_requests.div_ceil(LOGIN_EXTRA_OF)),
            Self::Request => of_requests,
        }
    }
}

/// The connections to the hub, by how many are in use: how many there may be is the configuration's to say.
#[derive(Debug, Clone, Default)]
pub struct ConnectionLimit(Arc<PermitCounts>);

#[derive(Debug, Default)]
struct PermitCounts {
    used: AtomicUsize,
    waiting: AtomicUsize,
    freed_for_logins: Notify,
    freed_for_requests: Notify,
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub struct UpstreamPermit(Arc<PermitCounts>);

/// One of those who wait, until it is dropped.
struct PermitWaiter<'a>(&'a PermitCounts);

impl ConnectionLimit {
    /// A permit, waited for as long as connecting may take; none if there is none in time, or too many wait already.
    pub async fn acquire(&self, purpose: Purpose, limits: &Limits) -> Option<UpstreamPermit> {
        if let Some(permit) = self.try_acquire(purpose, limits) {
            return Some(permit);
        }
        let waiting = PermitWaiter(&self.0);
        if self.0.waiting.fetch_add(1, Ordering::Relaxed) >= purpose.queue(limits) {
            return None;
        }
        let notify = match purpose {
            Purpose::Login => &self.0.freed_for_logins,
            Purpose::Request => &self.0.freed_for_requests,
        };
        let take = || self.try_acquire(purpose, limits);
        let permit = take_when_freed(notify, limits.upstream_connect_timeout, take).await;
        drop(waiting);
        permit
    }

    fn try_acquire(&self, purpose: Purpose, limits: &Limits) -> Option<UpstreamPermit> {
        let max = purpose.connections(limits);
        let one_more = |used| (used < max).then_some(used + 1);
        let used = self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        used.is_ok().then(|| UpstreamPermit(Arc::clone(&self.0)))
    }
}

impl Drop for UpstreamPermit {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
        // Whichever of the two cannot use it goes on waiting.
        self.0.freed_for_logins.notify_one();
        self.0.freed_for_requests.notify_one();
    }
}

impl Drop for PermitWaiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
