//! Who may issue what: the apps of the configuration, found by key, and owners of hub tokens; each with its rate.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::issuer::Caller;
use super::live_link_quota::LiveLinkQuota;
use super::next::Next;
use super::principals::Principals;
use crate::clock::Moment;
use crate::config::{App, HubTokens, Scope};
use crate::token::{KeyDigest, KeyId, Username};

/// The apps in force.
#[derive(Debug)]
pub struct Apps {
    apps: Vec<Arc<RatedApp>>,
    owners: Option<Principals>,
}

/// An app, and how much of what it may do it has done of late.
#[derive(Debug)]
pub(super) struct RatedApp {
    pub(super) app: Arc<App>,
    limiter: Arc<DefaultDirectRateLimiter>,
    live: Arc<LiveLinkQuota>,
}

impl RatedApp {
    /// With its full rate at hand.
    pub(super) fn new(app: Arc<App>) -> Self {
        let quota = Quota::per_second(app.rate_per_second).allow_burst(app.burst());
        Self { app, limiter: Arc::new(RateLimiter::direct(quota)), live: Arc::default() }
    }

    /// The same app, which goes on where `before` is.
    pub(super) fn carry_over(&self, before: &Self) -> Self {
        let same = self.app.rate_per_second == before.app.rate_per_second;
        let limiter = if same { &before.limiter } else { &self.limiter };
        Self { app: Arc::clone(&self.app), limiter: Arc::clone(limiter), live: Arc::clone(&before.live) }
    }
}

impl Apps {
    /// The apps of the configuration, each with its full rate at hand, and the owners of hub tokens that it lists.
    pub fn new(apps: &[Arc<App>], hub_tokens: Option<&HubTokens>) -> Self {
        let rated = |app: &Arc<App>| Arc::new(RatedApp::new(Arc::clone(app)));
        Self { apps: apps.iter().map(rated).collect(), owners: Principals::new(hub_tokens) }
    }

    /// The same apps, which go on where those of the same names in `earlier` are.
    #[must_use]
    pub fn carry_over(mut self, earlier: &Self) -> Self {
        for rated in &mut self.apps {
            if let Some(before) = earlier.apps.iter().find(|before| before.app.name == rated.app.name) {
                *rated = Arc::new(rated.carry_over(before));
            }
        }
        if let (Some(owners), Some(earlier)) = (&self.owners, &earlier.owners) {
            owners.carry_over(earlier);
        }
        self
    }

    /// The app whose key `key` is. The time taken does not depend on how much of a key is right.
    pub fn authenticate(&self, key: &str) -> Option<Caller> {
        let digest = KeyDigest::of(key.as_bytes());
        let mut found = None;
        for rated in &self.apps {
            for (known, id) in &rated.app.keys {
                if known.matches(&digest) {
                    found = Some(Caller { app: Arc::clone(&rated.app), key: Some(*id) });
                }
            }
        }
        found
    }

    /// The owners of hub tokens that are listed, if any are.
    pub fn owners(&self) -> Option<&Principals> {
        self.owners.as_ref()
    }

    /// All of them, in the order of the configuration.
    pub fn all(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.iter().map(|rated| &rated.app)
    }

    /// The app of that name, if it is still configured.
    pub fn by_name(&self, name: &str) -> Option<Arc<App>> {
        self.rated(name).map(|rated| Arc::clone(&rated.app))
    }

    fn rated(&self, name: &str) -> Option<Arc<RatedApp>> {
        let app = self.apps.iter().find(|rated| *rated.app.name == *name).cloned();
        app.or_else(|| self.owners.as_ref()?.rated(name))
    }

    /// Counts links that expire in these seconds among the live ones of `app`; if those are too many, how long to wait.
    pub fn count(&self, app: &App, seconds: &[u64], now: Moment) -> Result<(), Duration> {
        self.rated(&app.name).map_or(Ok(()), |rated| rated.live.add(seconds, app.max_live_links, now))
    }

    /// Counts a link that expires in `second` among the live ones of `app` no more.
    pub fn discount(&self, app: &str, second: u64) {
        if let Some(rated) = self.rated(app) {
            rated.live.remove(second);
        }
    }

    /// Charges `links` to the rate of `app`; above it, how long to wait.
    pub fn charge(&self, app: &App, links: u32) -> Result<(), Duration> {
        let Some(rated) = self.rated(&app.name) else { return Ok(()) };
        let Some(links) = NonZeroU32::new(links) else { return Ok(()) };
        match rated.limiter.check_n(links) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(DefaultClock::default().now())),
            // More than a burst can never pass: the API refuses such a batch before it is charged.
            Err(_) => Err(Duration::from_secs(1)),
        }
    }
}

impl App {
    /// The most links at once: ten seconds' worth, so that a class of students fits into one batch.
    pub fn burst(&self) -> NonZeroU32 {
        self.rate_per_second.saturating_mul(const { NonZeroU32::new(10).expect("10 is not 0") })
    }

    /// Whether the app has `scope`.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the app may log `username` in.
    pub fn allows_user(&self, username: &Username) -> bool {
        self.usernames.matches(username.as_str())
            && !self.deny_usernames.iter().any(|denied| denied == username.as_str())
    }

    /// Whether the key is one of the app's.
    pub fn has_key(&self, key: KeyId) -> bool {
        self.keys.iter().any(|(_, id)| *id == key)
    }

    /// Whether the app may lead a browser to `next`.
    pub fn allows_next(&self, next: &Next) -> bool {
        next.is_within(&self.next)
    }
}
