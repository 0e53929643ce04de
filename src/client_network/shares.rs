//! What one client has of something that all clients share: slots that are waited for, and bytes that are not.
//!
//! A client is a whole network (`network_of`): whoever can take one address of it can take them all. Entries exist
//! only while something is taken, so they are bounded by what there is to take.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, OccupiedEntry};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::sync::Notify;

use super::network_of;

/// Slots or bytes in use, by client; shared by all threads.
#[derive(Debug, Clone, Default)]
pub struct ClientShares(Arc<Mutex<InUse>>);

#[derive(Debug, Default)]
struct InUse {
    /// By all clients together.
    total: usize,
    /// Looked into twice for each request, so by a hash that costs less than `SipHash`. It is seeded at random: which
    /// addresses collide is not known beforehand.
    by_client: HashMap<u128, ClientUse, RandomState>,
}

#[derive(Debug, Default)]
struct ClientUse {
    used: usize,
    /// Those who wait, by how much the client may have for what they want: what one cannot take yet, another may.
    waiting: Vec<SameMaxWaiters>,
}

#[derive(Debug)]
struct SameMaxWaiters {
    max: usize,
    count: usize,
    /// Tells one of them that something was given back.
    freed: Arc<Notify>,
}

/// Some of a client's share, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: ClientShares,
    client: u128,
    amount: usize,
}

/// What `take` gives, which is tried now and each time that something is `freed`; none if it gives nothing within `patience`.
pub async fn take_when_freed<T>(
    freed: &Notify,
    patience: Duration,
    take: impl Fn() -> Option<T>,
) -> Option<T> {
    let taking = async {
        loop {
            let mut freed = pin!(freed.notified());
            // From here on nothing that is given back is missed, although many wait.
            freed.as_mut().enable();
            if let Some(taken) = take() {
                return taken;
            }
            freed.await;
        }
    };
    tokio::time::timeout(patience, taking).await.ok()
}

/// By what a client is found: the bits of its address, which are hashed at once.
fn key(client: IpAddr) -> u128 {
    match network_of(client) {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl ClientShares {
    /// One slot for `client`, who may have `max`; none if that is all in use.
    pub fn try_acquire(&self, client: IpAddr, max: usize) -> Option<Share> {
        self.try_acquire_key(key(client), max)
    }

    /// One slot for `client`, who may have `max` and waits for it at most `patience`; at most `queue` of its requests wait.
    pub async fn acquire(
        &self,
        client: IpAddr,
        max: usize,
        queue: usize,
        patience: Duration,
    ) -> Option<Share> {
        if let Some(share) = self.try_acquire(client, max) {
            return Some(share);
        }
        // Boxed: it is rare, and must not make the state of every request larger.
        Box::pin(self.wait(key(client), max, queue, patience)).await
    }

    /// A share of `client` that has nothing yet.
    pub fn nothing(&self, client: IpAddr) -> Share {
        Share { shares: self.clone(), client: key(client), amount: 0 }
    }

    fn try_acquire_key(&self, client: u128, max: usize) -> Option<Share> {
        let taken = self.lock().take(client, 1, max, usize::MAX);
        taken.then(|| Share { shares: self.clone(), client, amount: 1 })
    }

    async fn wait(&self, client: u128, max: usize, queue: usize, patience: Duration) -> Option<Share> {
        let waiting = ShareWaiter::new(self, client, max, queue)?;
        take_when_freed(&waiting.freed, patience, || self.try_acquire_key(client, max)).await
    }

    fn lock(&self) -> MutexGuard<'_, InUse> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse {
    /// Takes `more` for `client`, if it has at most `max` then and all together have at most `total_max`.
    fn take(&mut self, client: u128, more: usize, max: usize, total_max: usize) -> bool {
        let total = self.total.saturating_add(more);
        if more > max || total > total_max {
            return false;
        }
        match self.by_client.entry(client) {
            // Whoever takes nothing is not remembered: nothing would make it be forgotten.
            Entry::Vacant(_) if more == 0 => {}
            Entry::Vacant(entry) => _ = entry.insert(ClientUse { used: more, ..ClientUse::default() }),
            Entry::Occupied(mut entry) => {
                let used = entry.get().used.saturating_add(more);
                if used > max {
                    return false;
                }
                entry.get_mut().used = used;
            }
        }
        self.total = total;
        true
    }
}

/// Forgets a client who has nothing and waits for nothing.
fn forget_if_idle(entry: OccupiedEntry<'_, u128, ClientUse>) {
    if entry.get().used == 0 && entry.get().waiting.is_empty() {
        entry.remove();
    }
}

impl Share {
    /// Takes `more`, if the client has at most `max` then and all together have at most `total_max`.
    pub fn try_grow(&mut self, more: usize, max: usize, total_max: usize) -> bool {
        let grown = self.shares.lock().take(self.client, more, max, total_max);
        if grown {
            self.amount += more;
        }
        grown
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let mut in_use = self.shares.lock();
        in_use.total -= self.amount;
        if let Entry::Occupied(mut entry) = in_use.by_client.entry(self.client) {
            entry.get_mut().used -= self.amount;
            for waiting in &entry.get().waiting {
                waiting.freed.notify_one();
            }
            forget_if_idle(entry);
        }
    }
}

/// One of a client's requests that wait, until it is dropped.
struct ShareWaiter<'a> {
    shares: &'a ClientShares,
    client: u128,
    max: usize,
    freed: Arc<Notify>,
}

impl<'a> ShareWaiter<'a> {
    /// None if `queue` of the client's requests wait already.
    fn new(shares: &'a ClientShares, client: u128, max: usize, queue: usize) -> Option<Self> {
        let mut in_use = shares.lock();
        // Whoever cannot wait is not remembered: there may be no entry, if the last slot has just been given back.
        let of_client = in_use.by_client.get(&client).map_or(&[][..], |client| &client.waiting);
        if of_client.iter().map(|waiting| waiting.count).sum::<usize>() >= queue {
            return None;
        }
        let waiting = &mut in_use.by_client.entry(client).or_default().waiting;
        let at = waiting.iter().position(|waiting| waiting.max == max).unwrap_or_else(|| {
            waiting.push(SameMaxWaiters { max, count: 0, freed: Arc::default() });
            waiting.len() - 1
        });
        waiting[at].count += 1;
        let freed = Arc::clone(&waiting[at].freed);
        Some(Self { shares, client, max, freed })
    }
}

impl Drop for ShareWaiter<'_> {
    fn drop(&mut self) {
        let mut in_use = self.shares.lock();
        if let Entry::Occupied(mut entry) = in_use.by_client.entry(self.client) {
            let waiting = &mut entry.get_mut().waiting;
            for waiting in waiting.iter_mut().filter(|waiting| waiting.max == self.max) {
                waiting.count -= 1;
            }
            waiting.retain(|waiting| waiting.count > 0);
            forget_if_idle(entry);
        }
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
        let first = shares.acquire(ONE, 1, 1, minute).await.expect("the first");
        assert!(shares.acquire(ONE, 1, 1, minute).await.is_none(), "in vain");
        let waiting = shares.acquire(ONE, 1, 1, minute);
        let (second, ()) = tokio::join!(waiting, async { drop(first) });
        assert!(second.is_some());
        drop(second);
        assert!(shares.lock().by_client.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_may_have_more_is_not_kept_waiting_by_those_before_who_may_not() {
        let (shares, minute) = (ClientShares::default(), Duration::from_mins(1));
        let mut held: Vec<Share> =
            (0..3).map(|_| shares.try_acquire(ONE, 3).expect("there are three")).collect();
        let mut first = pin!(shares.acquire(ONE, 2, 9, minute));
        let mut second = pin!(shares.acquire(ONE, 3, 9, minute));
        assert!(
            futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending()
        );
        held.pop();
        assert!(futures_util::poll!(&mut first).is_pending(), "two are used");
        let share = tokio::time::timeout(Duration::from_secs(1), second).await;
        assert!(share.is_ok_and(|share| share.is_some()), "the third is free");
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_wait_and_no_more() {
        let shares = ClientShares::default();
        let minute = Duration::from_mins(1);
        let _first = shares.acquire(ONE, 1, 1, minute).await.expect("the first");
        let begun = tokio::time::Instant::now();
        let (one, two) = tokio::join!(shares.acquire(ONE, 1, 1, minute), async {
            tokio::task::yield_now().await;
            let refused = shares.acquire(ONE, 1, 1, minute).await;
            (refused, begun.elapsed())
        });
        assert!(one.is_none() && two.0.is_none());
        assert!(two.1 < Duration::from_secs(1), "refused at once: {:?}", two.1);
        assert!(shares.acquire(OTHER, 0, 0, minute).await.is_none());
        assert_eq!(shares.lock().by_client.len(), 1, "whoever has nothing is not remembered");
    }
}
