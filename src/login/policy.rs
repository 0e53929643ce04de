//! The policy: what one configuration says about tokens. A reload puts another one in force, for all at once.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::applications::Applications;
use super::assertion::Signer;
use super::dependencies::LoginDependencies;
use super::failure_limiter::FailureLimiter;
use super::hub_oauth::HubOAuth;
use super::jwt::JwtIssuers;
use super::rules::Rules;
use super::sessions::SessionIds;
use super::spawn_ticket::SpawnTickets;
use crate::config::Config;
use crate::hub::HubClient;

/// The policy in force, which all who issue and redeem share: each of them asks it anew for each decision.
pub(super) type PolicyInForce = Arc<ArcSwap<Policy>>;

/// What one configuration says about tokens, and what was learnt while it was in force.
#[derive(Debug)]
pub struct Policy {
    /// The rules for all.
    pub rules: Arc<Rules>,
    /// Who may issue links.
    pub applications: Applications,
    /// Who signs tokens of their own.
    pub jwt_issuers: JwtIssuers,
    /// The hub, asked in our own name.
    pub hub: Arc<HubClient>,
    /// The waiting pages of servers that start.
    pub spawn_tickets: SpawnTickets,
    /// The ids of sessions that end by themselves.
    pub session_ids: SessionIds,
    /// What signs for the hub; none without `[assertion]`.
    pub signer: Option<Signer>,
    /// Which clients come with tokens that nobody knows.
    pub failures: FailureLimiter,
    /// What answers the hub's own OAuth login; none: the hub is told by headers.
    pub hub_oauth: Option<Arc<HubOAuth>>,
}

impl Policy {
    /// The policy of `config`, which asks `hub`; none if its public URL is no URL, which validation has ruled out.
    pub(super) fn new(
        config: &Config,
        hub: Arc<HubClient>,
        dependencies: &LoginDependencies,
    ) -> Option<Self> {
        let rules = Arc::new(Rules::new(config)?);
        let secret = config.hub.api.token.as_ref().map(|token| token.as_bytes());
        Some(Self {
            spawn_tickets: SpawnTickets::new(secret, Arc::clone(&rules), Arc::clone(&dependencies.clock)),
            applications: Applications::new(config, &hub, &dependencies.clock),
            jwt_issuers: JwtIssuers::new(&config.apps, Arc::clone(&dependencies.application_client)),
            hub,
            session_ids: SessionIds::new(
                config.assertion.as_ref().map(|assertion| assertion.key.text.as_bytes()),
                dependencies.started,
            ),
            // A bad key is a fault of the configuration, which is reported where the proxy's own signer is made.
            signer: config.assertion.as_ref().and_then(|assertion| Signer::new(assertion).ok()),
            failures: FailureLimiter::new(config.limits.unknown_tokens_per_minute),
            hub_oauth: config
                .hub_oauth
                .clone()
                .map(|settings| Arc::new(HubOAuth::new(settings, dependencies))),
            rules,
        })
    }

    /// The same policy, which remembers what `old` does, but not what another hub has said.
    #[must_use]
    pub(super) fn carry_over(self, old: &Self) -> Self {
        Self {
            applications: self.applications.carry_over(&old.applications),
            jwt_issuers: self.jwt_issuers.carry_over(&old.jwt_issuers),
            failures: self.failures.carry_over(&old.failures),
            hub_oauth: self.hub_oauth.map(|new| match &old.hub_oauth {
                Some(old) => Arc::new(new.carry_over(old)),
                None => new,
            }),
            ..self
        }
    }
}
