//! The registry of who may issue links: the apps of the configuration, found by key, and the principals of hub tokens.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::caller::{AuthenticationError, Caller};
use super::metered_app::MeteredApp;
use super::next::Next;
use super::principals::Principals;
use super::sessions::is_begun_by;
use crate::clock::{Clock, Moment};
use crate::config::{App, Config, HubTokens, Scope};
use crate::hub::{HubClient, TokenChecks};
use crate::token::{KeyDigest, KeyId, Username};

/// Who may issue links.
#[derive(Debug)]
pub struct Applications {
    apps: Vec<Arc<MeteredApp>>,
    principals: Option<Principals>,
    /// None without `[hub_tokens]`.
    token_checks: Option<TokenChecks>,
}

impl Applications {
    /// The apps of `config`, each with its full rate at hand, and the owners of hub tokens that it lists, of whom `hub` is
    /// asked.
    pub fn new(config: &Config, hub: &Arc<HubClient>, clock: &Arc<dyn Clock>) -> Self {
        let listed = config.hub_tokens.as_ref();
        let checks =
            |tokens: &HubTokens| TokenChecks::new(Arc::clone(hub), Arc::clone(clock), tokens.cache_max_age);
        Self {
            apps: config.apps.iter().map(|app| Arc::new(MeteredApp::new(Arc::clone(app)))).collect(),
            principals: Principals::new(listed),
            token_checks: listed.map(checks),
        }
    }

    /// The same apps, which continue where those of the same names in `old` are. What a hub has said is asked anew.
    #[must_use]
    pub fn carry_over(mut self, old: &Self) -> Self {
        for metered in &mut self.apps {
            if let Some(before) = old.apps.iter().find(|before| before.app.name == metered.app.name) {
                *metered = Arc::new(metered.carry_over(before));
            }
        }
        if let (Some(principals), Some(old)) = (&self.principals, &old.principals) {
            principals.carry_over(old);
        }
        self
    }

    /// The app whose key, or the owner whose hub token, `key` is.
    pub async fn authenticate(&self, key: &str) -> Result<Caller, AuthenticationError> {
        if let Some(caller) = self.by_key(key) {
            return Ok(caller);
        }
        let (Some(principals), Some(checks)) = (&self.principals, &self.token_checks) else {
            return Err(AuthenticationError::Unknown);
        };
        let owner = checks.owner(key).await?.ok_or(AuthenticationError::Unknown)?;
        let app = principals.app_of(&owner);
        let not_listed = || AuthenticationError::NotListed { kind: owner.kind, name: owner.name.clone() };
        Ok(Caller { app: app.ok_or_else(not_listed)?, key: None })
    }

    /// The app whose key `key` is. The time taken does not depend on how much of a key is right.
    pub fn by_key(&self, key: &str) -> Option<Caller> {
        let digest = KeyDigest::of(key.as_bytes());
        let mut found = None;
        for metered in &self.apps {
            for (known, id) in &metered.app.keys {
                if known.matches(&digest) {
                    found = Some(Caller { app: Arc::clone(&metered.app), key: Some(*id) });
                }
            }
        }
        found
    }

    /// The app of `caller` as it is now, if the caller is still known and has `scope`: asked again whenever something was
    /// waited for since the caller proved itself.
    pub fn reauthorize(&self, caller: &Caller, scope: Scope) -> Option<Arc<App>> {
        let app = self.by_name(&caller.app.name)?;
        (caller.key.is_none_or(|key| app.has_key(key)) && app.may(scope)).then_some(app)
    }

    /// Whose hub tokens are; none without `[hub_tokens]`.
    pub fn token_checks(&self) -> Option<&TokenChecks> {
        self.token_checks.as_ref()
    }

    /// The app of that name, if it is still configured.
    pub fn by_name(&self, name: &str) -> Option<Arc<App>> {
        self.metered(name).map(|metered| Arc::clone(&metered.app))
    }

    /// The app by one of whose links the session `id` was begun, if that can be told: it is the only one, or the id says so.
    pub fn of_session(&self, id: &str) -> Option<&Arc<App>> {
        match self.apps.as_slice() {
            [only] => Some(&only.app),
            several => several.iter().map(|metered| &metered.app).find(|app| is_begun_by(id, &app.name)),
        }
    }

    /// Whether there is an app that has `scope`.
    pub fn may_any(&self, scope: Scope) -> bool {
        self.apps.iter().any(|metered| metered.app.may(scope))
    }

    /// The app that turns `token`, one of its own, into a name: tokens of two apps begin in different ways.
    pub fn exchanging_for(&self, token: &str) -> Option<&Arc<App>> {
        self.exchanging().find(|app| token.starts_with(&app.exchange_prefix))
    }

    /// The apps that turn tokens of their own into names.
    pub fn exchanging(&self) -> impl Iterator<Item = &Arc<App>> {
        let apps = self.apps.iter().map(|metered| &metered.app);
        apps.filter(|app| app.exchange_url.is_some() && app.may(Scope::Issue))
    }

    /// Takes `links` from the rate of `app`; if it has not so many left, how long to wait.
    pub fn check_rate(&self, app: &App, links: u32) -> Result<(), Duration> {
        self.metered(&app.name).map_or(Ok(()), |metered| metered.check_rate(links))
    }

    /// Counts links that expire in these seconds among the live ones of `app`; if those are too many, how long to wait.
    pub fn acquire_live(&self, app: &App, seconds: &[u64], now: Moment) -> Result<(), Duration> {
        self.metered(&app.name).map_or(Ok(()), |metered| metered.acquire_live(seconds, now))
    }

    /// Counts a link that expires in `second` among the live ones of `app` no more.
    pub fn release_live(&self, app: &str, second: u64) {
        if let Some(metered) = self.metered(app) {
            metered.release_live(second);
        }
    }

    fn metered(&self, name: &str) -> Option<Arc<MeteredApp>> {
        let app = self.apps.iter().find(|metered| *metered.app.name == *name).cloned();
        app.or_else(|| self.principals.as_ref()?.metered(name))
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

    /// The whole user name that the app means by `name`.
    pub fn full_username(&self, name: &str) -> String {
        format!("{}{name}", self.username_prefix)
    }

    /// Whether the app may say that a user is in these hub groups. To say that they are in none takes them out of all, so
    /// that as well is for apps that may say something.
    pub fn may_assert_groups(&self, groups: &[String]) -> bool {
        let may = |group: &String| self.groups.iter().any(|pattern| pattern.matches(group));
        !self.groups.is_empty() && groups.iter().all(may)
    }

    /// Whether the app may log `username` in.
    pub fn allows_user(&self, username: &Username) -> bool {
        self.usernames.matches(username.as_str())
            && username.as_str().starts_with(&self.username_prefix)
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
