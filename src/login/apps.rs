//! Who may issue what: the apps of the configuration, found by key, each with its rate.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::live::Live;
use super::next::Next;
use crate::clock::Moment;
use crate::config::{App, Scope};
use crate::token::{KeyDigest, Username};

/// The apps in force.
#[derive(Debug)]
pub struct Apps {
    apps: Vec<RatedApp>,
}

#[derive(Debug)]
struct RatedApp {
    app: Arc<App>,
    limiter: Arc<DefaultDirectRateLimiter>,
    live: Arc<Live>,
}

impl Apps {
    /// The apps of the configuration, each with its full rate at hand.
    pub fn new(apps: &[Arc<App>]) -> Self {
        let rated = |app: &Arc<App>| RatedApp {
            app: Arc::clone(app),
            limiter: Arc::new(RateLimiter::direct(
                Quota::per_second(app.rate_per_second).allow_burst(app.burst()),
            )),
            live: Arc::default(),
        };
        Self { apps: apps.iter().map(rated).collect() }
    }

    /// The same apps, which go on where those of the same names in `earlier` are.
    #[must_use]
    pub fn in_place_of(mut self, earlier: &Self) -> Self {
        for rated in &mut self.apps {
            let Some(before) = earlier.apps.iter().find(|before| before.app.name == rated.app.name) else {
                continue;
            };
            rated.live = Arc::clone(&before.live);
            if rated.app.rate_per_second == before.app.rate_per_second {
                rated.limiter = Arc::clone(&before.limiter);
            }
        }
        self
    }

    /// The app whose key `key` is. The time taken does not depend on how much of a key is right.
    pub fn authenticate(&self, key: &str) -> Option<Arc<App>> {
        let digest = KeyDigest::of(key.as_bytes());
        let mut found = None;
        for RatedApp { app, .. } in &self.apps {
            for known in &app.keys {
                if known.matches(&digest) {
                    found = Some(Arc::clone(app));
                }
            }
        }
        found
    }

    /// All of them, in the order of the configuration.
    pub fn all(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.iter().map(|rated| &rated.app)
    }

    /// The app of that name, if it is still configured.
    pub fn by_name(&self, name: &str) -> Option<&App> {
        self.apps.iter().map(|rated| &*rated.app).find(|app| *app.name == *name)
    }

    /// Counts links that expire in these seconds among the live ones of `app`; if those are too many, how long to wait.
    pub fn count(&self, app: &App, seconds: &[u64], now: Moment) -> Result<(), Duration> {
        let rated = self.apps.iter().find(|rated| rated.app.name == app.name);
        rated.map_or(Ok(()), |rated| rated.live.add(seconds, app.max_live_links, now))
    }

    /// Counts a link that expires in `second` among the live ones of `app` no more.
    pub fn discount(&self, app: &str, second: u64) {
        if let Some(rated) = self.apps.iter().find(|rated| *rated.app.name == *app) {
            rated.live.remove(second);
        }
    }

    /// Charges `links` to the rate of `app`; above it, how long to wait.
    pub fn charge(&self, app: &App, links: u32) -> Result<(), Duration> {
        let Some(rated) = self.apps.iter().find(|rated| rated.app.name == app.name) else { return Ok(()) };
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

    /// Whether the app may lead a browser to `next`.
    pub fn allows_next(&self, next: &Next) -> bool {
        next.is_within(&self.next)
    }
}
