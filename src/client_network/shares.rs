//! What one client has of something that all clients share: slots that are waited for, and bytes that are not.
//!
//! A client is a whole network (`network_of`): whoever can take one address of it can take them all. Entries exist
//! only while something is taken, so they are bounded by what there is to take.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::network_of;

/// Slots or bytes in use, by client; shared by all threads.
#[derive(Debug, Clone, Default)]
pub struct ClientShares(Arc<Mutex<InUse>>);

#[derive(Debug, Default)]
struct InUse {
    /// By all clients together.
    total: usize,
    by_client: HashMap<IpAddr, ClientUse>,
}

#[derive(Debug, Default)]
struct ClientUse {
    used: usize,
    waiting: usize,
    /// Tells those who wait that something was given back; there is one while anybody waits.
    freed: Option<Arc<Notify>>,
}

/// Some of a client's share, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: ClientShares,
    client: IpAddr,
    amount: usize,
}

impl ClientShares {
    /// One slot for `client`, who may have `max`; none if that is all in use.
    pub fn try_acquire(&self, client: IpAddr, max: usize) -> Option<Share> {
        let mut share = self.nothing(client);
        share.try_grow(1, max, usize::MAX).then_some(share)
    }

    /// One slot for `client`, who may have `max` and waits for it at most `patience`. No more wait than may have one:
    /// further requests would only wait in vain.
    pub async fn acquire(&self, client: IpAddr, max: usize, patience: Duration) -> Option<Share> {
        if let Some(share) = self.try_acquire(client, max) {
            return Some(share);
        }
        // Boxed: it is rare, and must not make the state of every request larger.
        Box::pin(self.wait(network_of(client), max, patience)).await
    }

    /// A share of `client` that has nothing yet.
    pub fn nothing(&self, client: IpAddr) -> Share {
        Share { shares: self.clone(), client: network_of(client), amount: 0 }
    }

    async fn wait(&self, client: IpAddr, max: usize, patience: Duration) -> Option<Share> {
        let waiting = ShareWaiter::new(self, client, max)?;
        let freed = async {
            loop {
                let freed = waiting.freed.notified();
                if let Some(share) = self.try_acquire(client, max) {
                    return share;
                }
                freed.await;
            }
        };
        tokio::time::timeout(patience, freed).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, InUse> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse {
    /// Forgets a client who has nothing and waits for nothing.
    fn forget_if_idle(&mut self, client: IpAddr) {
        if self.by_client.get(&client).is_some_and(|entry| entry.used == 0 && entry.waiting == 0) {
            self.by_client.remove(&client);
        }
    }
}

impl Share {
    /// Takes `more`, if the client has at most `max` then and all together have at most `total_max`.
    pub fn try_grow(&mut self, more: usize, max: usize, total_max: usize) -> bool {
        let mut in_use = self.shares.lock();
        let total = in_use.total.saturating_add(more);
        let used = in_use.by_client.get(&self.client).map_or(0, |client| client.used).saturating_add(more);
        if used > max || total > total_max {
            return false;
        }
        in_use.total = total;
        in_use.by_client.entry(self.client).or_default().used = used;
        drop(in_use);
        self.amount += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let mut in_use = self.shares.lock();
        in_use.total -= self.amount;
        if let Some(client) = in_use.by_client.get_mut(&self.client) {
            client.used -= self.amount;
            if let Some(freed) = &client.freed {
                freed.notify_one();
            }
        }
        in_use.forget_if_idle(self.client);
    }
}

/// One of a client's requests that wait, until it is dropped.
struct ShareWaiter<'a> {
    shares: &'a ClientShares,
    client: IpAddr,
    freed: Arc<Notify>,
}

impl<'a> ShareWaiter<'a> {
    fn new(shares: &'a ClientShares, client: IpAddr, max: usize) -> Option<Self> {
        let mut in_use = shares.lock();
        let entry = in_use.by_client.entry(client).or_default();
        if entry.waiting >= max {
            return None;
        }
        entry.waiting += 1;
        let freed = Arc::clone(entry.freed.get_or_insert_default());
        Some(Self { shares, client, freed })
    }
}

impl Drop for ShareWaiter<'_> {
    fn drop(&mut self) {
        let mut in_use = self.shares.lock();
        if let Some(entry) = in_use.by_client.get_mut(&self.client) {
            entry.waiting -= 1;
            if entry.waiting == 0 {
                entry.freed = None;
            }
        }
        in_use.forget_if_idle(self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn each_client_has_its_own_share_and_nothing_is_kept_of_who_has_gone() {
        let shares = ClientShares::default();
        let (first, second) = (shares.try_acquire(ONE, 2), shares.try_acquire(ONE, 2));
        assert!(first.is_some() && second.is_some() && shares.try_acquire(ONE, 2).is_none());
        assert!(shares.try_acquire(OTHER, 2).is_some());
        drop(first);
        assert!(shares.try_acquire(ONE, 2).is_some());
        drop(second);
        assert!(shares.lock().by_client.is_empty() && shares.lock().total == 0);
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_client() {
        let shares = ClientShares::default();
        let _first = shares.try_acquire("2001:db8::1".parse().unwrap(), 1).expect("the first");
        assert!(shares.try_acquire("2001:db8::ffff:2".parse().unwrap(), 1).is_none());
        assert!(shares.try_acquire("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }

    #[test]
    fn bytes_are_bounded_for_one_client_and_for_all() {
        let shares = ClientShares::default();
        let mut held = shares.nothing(ONE);
        assert!(held.try_grow(60, 100, 150) && !held.try_grow(41, 100, 150) && held.try_grow(40, 100, 150));
        let mut other = shares.nothing(OTHER);
        assert!(!other.try_grow(51, 100, 150) && other.try_grow(50, 100, 150));
        drop(held);
        assert!(other.try_grow(50, 100, 150));
        drop(other);
        assert_eq!(shares.lock().total, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_what_is_given_back_and_waits_no_longer_than_it_may() {
        let shares = ClientShares::default();
        let minute = Duration::from_mins(1);
        let first = shares.acquire(ONE, 1, minute).await.expect("the first");
        assert!(shares.acquire(ONE, 1, minute).await.is_none(), "in vain");
        let waiting = shares.acquire(ONE, 1, minute);
        let (second, ()) = tokio::join!(waiting, async { drop(first) });
        assert!(second.is_some());
        drop(second);
        assert!(shares.lock().by_client.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_may_have_a_slot() {
        let shares = ClientShares::default();
        let minute = Duration::from_mins(1);
        let _first = shares.acquire(ONE, 1, minute).await.expect("the first");
        let begun = tokio::time::Instant::now();
        let (one, two) = tokio::join!(shares.acquire(ONE, 1, minute), async {
            tokio::task::yield_now().await;
            let refused = shares.acquire(ONE, 1, minute).await;
            (refused, begun.elapsed())
        });
        assert!(one.is_none() && two.0.is_none());
        assert!(two.1 < Duration::from_secs(1), "refused at once: {:?}", two.1);
    }
}
