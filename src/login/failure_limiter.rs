//! How often an address has come with tokens that nobody knows: that we do not know, or that an app has refused.
//!
//! Guessing is hopeless against 256 bits; this bounds the work that guesses make: an app is not asked to exchange a token
//! for an address whose tokens it has refused too often. A good link of ours is never stopped, because a whole campus may
//! share an address; and what one app refuses is not counted against the tokens of another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client_network::network_of;

/// The time in which tries are counted.
const WINDOW: Duration = Duration::from_mins(1);
/// The most addresses that are counted at once, some megabytes. Above it new ones go uncounted.
const ADDRESSES_MAX: usize = 65_536;

/// Failed tries, by address.
#[derive(Debug)]
pub struct FailureLimiter {
    max: usize,
    counts: Mutex<HashMap<Key, Count>>,
}

/// An address, and the app that has refused its tokens (empty: tokens of ours).
type Key = (IpAddr, String);

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Duration,
    failed: usize,
}

impl FailureLimiter {
    /// No failures yet. Up to `max` a minute have no consequence; 0: however many.
    pub fn new(max: usize) -> Self {
        Self { max, counts: Mutex::default() }
    }

    /// The same limit, with what `earlier` has counted.
    #[must_use]
    pub fn carry_over(self, earlier: &Self) -> Self {
        let counts = earlier.lock().clone();
        Self { max: self.max, counts: Mutex::new(counts) }
    }

    /// Counts a failure of `address` with a token of `app` (empty: of ours) at `now`, by the monotonic clock.
    pub fn failed(&self, address: IpAddr, app: &str, now: Duration) {
        if self.max == 0 {
            return;
        }
        let mut counts = self.lock();
        let key = (network_of(address), app.to_owned());
        if counts.len() >= ADDRESSES_MAX && !counts.contains_key(&key) {
            counts.retain(|_, count| count.left(now).is_some());
            if counts.len() >= ADDRESSES_MAX {
                return;
            }
        }
        let count = counts.entry(key).or_insert(Count { since: now, failed: 0 });
        if count.left(now).is_none() {
            *count = Count { since: now, failed: 0 };
        }
        count.failed += 1;
    }

    /// How long the address must wait, if it has used up its tries.
    pub fn wait(&self, address: IpAddr, app: &str, now: Duration) -> Option<Duration> {
        if self.max == 0 {
            return None;
        }
        let count = *self.lock().get(&(network_of(address), app.to_owned()))?;
        count.left(now).filter(|_| count.failed > self.max)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    /// How long the failure still counts.
    fn left(&self, now: Duration) -> Option<Duration> {
        WINDOW.checked_sub(now.saturating_sub(self.since)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_address_waits_until_its_minute_is_over_and_no_other_does() {
        let (tries, one, other) =
            (FailureLimiter::new(2), IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..2 {
            tries.failed(one, "", SECOND);
            assert_eq!(tries.wait(one, "", SECOND), None);
        }
        tries.failed(one, "", 2 * SECOND);
        assert_eq!(tries.wait(one, "", 2 * SECOND), Some(59 * SECOND));
        assert_eq!((tries.wait(other, "", 2 * SECOND), tries.wait(one, "", 61 * SECOND)), (None, None));
        tries.failed(one, "", 61 * SECOND);
        assert_eq!(tries.wait(one, "", 61 * SECOND), None, "the count begins anew");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let tries = FailureLimiter::new(1);
        for last in 1..=3 {
            tries.failed(address(&format!("2001:db8::{last}")), "", SECOND);
        }
        assert!(tries.wait(address("2001:db8::ffff:1"), "", SECOND).is_some());
        assert!(tries.wait(address("2001:db8:0:1::1"), "", SECOND).is_none());
    }

    #[test]
    fn without_a_limit_nothing_is_counted_and_with_many_addresses_no_more_than_fit() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let unlimited = FailureLimiter::new(0);
        for _ in 0..1000 {
            unlimited.failed(address, "", SECOND);
        }
        assert!(unlimited.wait(address, "", SECOND).is_none() && unlimited.lock().is_empty());
        let tries = FailureLimiter::new(1);
        for number in 0..ADDRESSES_MAX + 10 {
            tries.failed(IpAddr::from(u32::try_from(number).unwrap().to_be_bytes()), "", SECOND);
        }
        assert_eq!(tries.lock().len(), ADDRESSES_MAX);
        tries.failed(address, "", 62 * SECOND);
        assert_eq!(tries.lock().len(), 1, "the old ones make room");
    }
}
