//! How many live links an app has, as far as this process has issued and redeemed them.
//!
//! Counted by the second in which they expire, so that a link of which nothing more is heard counts until then. Another
//! replica's links and redeems are not seen: the cap bounds what one app can pile up, and need not be exact.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;
use crate::store::Link;

/// The live links of one app: second of the monotonic clock → links that expire in it.
#[derive(Debug, Default)]
pub struct LiveLinkQuota {
    expiries: Mutex<BTreeMap<u64, usize>>,
}

impl LiveLinkQuota {
    /// Counts links that expire in these seconds ([`second_of`]), if no more than `max` are live then; else, how long
    /// until the next one expires.
    pub fn acquire(&self, new: &[u64], max: usize, now: Moment) -> Result<(), Duration> {
        let mut expiries = self.expiries.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.monotonic.as_secs();
        while expiries.first_key_value().is_some_and(|(expiry, _)| *expiry <= second) {
            expiries.pop_first();
        }
        let live: usize = expiries.values().sum();
        if live + new.len() > max {
            let first = expiries.first_key_value().map_or(second + 1, |(expiry, _)| *expiry);
            return Err(Duration::from_secs(first - second));
        }
        for second in new {
            *expiries.entry(*second).or_default() += 1;
        }
        Ok(())
    }

    /// Counts one that expires in `second` no more: it has ended, or was not issued after all.
    pub fn release(&self, second: u64) {
        let mut expiries = self.expiries.lock().unwrap_or_else(PoisonError::into_inner);
        // A store that keeps only the time of day gives the second back rounded.
        for near in [second, second.saturating_sub(1), second + 1] {
            if let Some(count) = expiries.get_mut(&near).filter(|count| **count > 0) {
                *count -= 1;
                return;
            }
        }
    }
}

/// The first whole second in which the link is dead, or would be had it not been kept for a browser in line.
pub fn second_of(link: &Link) -> u64 {
    let kept = link.grant.click_by.map(|by| link.expires.wall.duration_since(by));
    let kept = kept.and_then(|kept| Duration::try_from(kept).ok()).unwrap_or_default();
    link.expires.monotonic.saturating_sub(kept).as_secs() + 1
}
