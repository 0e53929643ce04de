//! The life of a login token: issue, offer, redeem, revoke; who may do which.
//!
//! Decides, and asks the store; knows nothing of connections, cookies or pages. The only place that can make a
//! [`VerifiedUser`].

pub mod applications;
pub mod assertion;
mod external_token;
pub mod hub_token_exchange;
pub mod issue_request;
mod issuer;
mod judge;
mod jwks;
pub mod jwt;
pub mod link;
mod live_link_quota;
pub mod login_token;
pub mod next;
pub mod parameter;
pub mod principals;
pub mod query;
mod rate;
mod record;
mod redeem;
mod refusal;
mod revoke;
pub mod service;
mod signed;
pub mod spawn_ticket;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom;

use crate::audit::Audit;
use crate::clock::{Clock, Moment};
use crate::config::{Config, Confirm, HubTokens};
use crate::hub::{HubClient, TokenChecks};
use crate::metrics::Metrics;
use crate::store::TokenStore;
use crate::token::{BrowserSecret, NoRandomness, UsernameRule};

use applications::Apps;
use jwt::JwtIssuers;
use next::NextRule;
use parameter::Parameter;
use rate::FailureLimiter;
use service::Services;
use spawn_ticket::Tickets;

pub use issuer::{Caller, NoIssuer};
pub use judge::{Asked, ValidatedToken};
pub use redeem::VerifiedUser;
pub use refusal::{Refusal, RefusalReason};

/// What redeeming and issuing obey, from the configuration.
#[derive(Debug)]
pub struct Rules {
    /// `https://hub.example.org`.
    pub origin: String,
    /// `{base}hub/login`.
    pub login_path: String,
    /// The parameter of the token.
    pub parameter: Parameter,
    /// What a user name is.
    pub usernames: UsernameRule,
    /// Where a link may lead.
    pub next: NextRule,
    /// The default life of a token.
    pub lifetime: Duration,
    /// When to ask before a login.
    pub confirm: Confirm,
    /// How long a used link leads its user on.
    pub replay_grace: Duration,
    /// Whether only links that are bound to a browser work.
    pub require_state: bool,
    /// `{base}hub/hublatch/launch/`.
    pub waiting_path: String,
    /// Whether the hub shows no pages (`hub.api_only`).
    pub api_only: bool,
}

/// Issues, redeems and revokes login links.
pub struct LoginService {
    rules: Rules,
    apps: Apps,
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    audit: Arc<Audit>,
    metrics: Arc<Metrics>,
    hub: Arc<HubClient>,
    /// None: no `[hub_tokens]`.
    checks: Option<TokenChecks>,
    services: Arc<Services>,
    signatories: JwtIssuers,
    tries: FailureLimiter,
    /// None: no server can be launched.
    tickets: Option<Tickets>,
    /// When this service began to remember.
    started: Moment,
}

impl std::fmt::Debug for LoginService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginService").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// What [`LoginService`] is made of.
pub struct Parts {
    /// Where links are kept.
    pub store: Arc<dyn TokenStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub random: Arc<dyn SecureRandom + Send + Sync>,
    /// The audit log.
    pub audit: Arc<Audit>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whom the hub is asked through.
    pub hub: Arc<HubClient>,
}

impl LoginService {
    /// The service of `config`; `None` if its public URL is no URL, which validation has ruled out.
    pub fn new(config: &Config, parts: Parts) -> Option<Self> {
        let parameter = Parameter::new(&config.login.parameter);
        let next = NextRule::new(&config.public.url.origin, &config.hub.base_url, parameter.clone())?;
        let rules = Rules {
            origin: config.public.url.origin.clone(),
            login_path: config.hub.login_path(),
            parameter,
            usernames: config.login.usernames.clone(),
            next,
            lifetime: config.login.lifetime,
            confirm: config.login.confirm,
            replay_grace: config.login.replay_grace,
            require_state: config.login.require_state,
            waiting_path: format!("{}hub/hublatch/launch/", config.hub.base_url),
            api_only: config.hub.api_only,
        };
        let Parts { store, clock, random, audit, metrics, hub } = parts;
        let checks =
            |tokens: &HubTokens| TokenChecks::new(Arc::clone(&hub), Arc::clone(&clock), tokens.cache_max_age);
        let checks = config.hub_tokens.as_ref().map(checks);
        let services = Arc::new(Services::default());
        let tickets = config.hub.api.token.as_ref().map(|token| Tickets::new(token.as_bytes()));
        let started = clock.now();
        Some(Self {
            rules,
            apps: Apps::new(&config.apps, config.hub_tokens.as_ref()),
            store,
            clock,
            random,
            audit,
            metrics,
            hub,
            checks,
            signatories: JwtIssuers::new(&config.apps, Arc::clone(&services)),
            services,
            tickets,
            tries: FailureLimiter::new(config.limits.unknown_tokens_per_minute),
            started,
        })
    }

    /// The service of another `config`, with its `hub`, in place of this one: it remembers what this one does, but not
    /// what another hub has said.
    pub fn carry_over(&self, config: &Config, hub: Arc<HubClient>) -> Option<Self> {
        let parts = Parts {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            audit: Arc::clone(&self.audit),
            metrics: Arc::clone(&self.metrics),
            hub,
        };
        let new = Self::new(config, parts)?;
        Some(Self {
            apps: new.apps.carry_over(&self.apps),
            signatories: new.signatories.carry_over(&self.signatories, Arc::clone(&self.services)),
            services: Arc::clone(&self.services),
            tries: new.tries.carry_over(&self.tries),
            started: self.started,
            ..new
        })
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The apps in force.
    pub fn apps(&self) -> &Apps {
        &self.apps
    }

    /// The hub, asked in our own name.
    pub fn hub(&self) -> &HubClient {
        &self.hub
    }

    /// Whose hub tokens are; none without `[hub_tokens]`.
    pub fn checks(&self) -> Option<&TokenChecks> {
        self.checks.as_ref()
    }

    /// The store.
    pub fn store(&self) -> &dyn TokenStore {
        &*self.store
    }

    /// The time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// A new secret for a browser.
    pub fn browser_secret(&self) -> Result<BrowserSecret, NoRandomness> {
        BrowserSecret::generate(&*self.random)
    }
}
