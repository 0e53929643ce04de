//! An app together with how much it has done of late: the rate of its orders and the number of its live links.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::live_link_quota::LiveLinkQuota;
use crate::clock::Moment;
use crate::config::App;

/// An app, its rate and its live links.
#[derive(Debug)]
pub struct MeteredApp {
    /// The app as it is configured.
    pub app: Arc<App>,
    limiter: Arc<DefaultDirectRateLimiter>,
    live: Arc<LiveLinkQuota>,
}

impl MeteredApp {
    /// With its full rate at hand, and no live links.
    pub fn new(app: Arc<App>) -> Self {
        let quota = Quota::per_second(app.rate_per_second).allow_burst(app.burst());
        Self { app, limiter: Arc::new(RateLimiter::direct(quota)), live: Arc::default() }
    }

    /// The same app with the counts of `old`. A changed rate begins anew.
    pub fn carry_over(&self, old: &Self) -> Self {
        let same = self.app.rate_per_second == old.app.rate_per_second;
        let limiter = if same { &old.limiter } else { &self.limiter };
        Self { app: Arc::clone(&self.app), limiter: Arc::clone(limiter), live: Arc::clone(&old.live) }
    }

    /// Takes `links` from the app's rate; if it has not so many left, how long to wait.
    pub fn check_rate(&self, links: u32) -> Result<(), Duration> {
        let Some(links) = NonZeroU32::new(links) else { return Ok(()) };
        match self.limiter.check_n(links) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(DefaultClock::default().now())),
            // More than a burst can never pass: the API refuses such a batch before it comes here.
            Err(_) => Err(Duration::from_secs(1)),
        }
    }

    /// Counts links that expire in these seconds as live; if those are too many, how long to wait.
    pub fn acquire_live(&self, seconds: &[u64], now: Moment) -> Result<(), Duration> {
        self.live.acquire(seconds, self.app.max_live_links, now)
    }

    /// Counts a link that expires in `second` as live no more.
    pub fn release_live(&self, second: u64) {
        self.live.release(second);
    }
}
