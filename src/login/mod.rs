//! The life of a login token: issue, validate, consume, revoke; who may do which.
//!
//! Decides, and asks the store; knows nothing of connections, cookies or pages. What the configuration says is the
//! [`policy::Policy`]: one value that all parts share and ask anew for each decision, so that a reload is in force at once
//! everywhere, also for a request that has been waiting since before.

mod application_client;
pub mod applications;
pub mod assertion;
mod backchannel_logout;
mod caller;
mod dependencies;
mod end_marks;
mod external_token;
mod failure_limiter;
pub mod hub_oauth;
pub mod hub_token_exchange;
mod issue;
pub mod issue_request;
mod judge;
mod jwks;
pub mod jwt;
mod jwt_login;
mod live_link_quota;
pub mod login_token;
mod metered_app;
pub mod next;
mod not_before;
pub mod parameter;
pub mod policy;
pub mod principals;
pub mod query;
mod recorder;
mod redeem;
mod refusal;
mod replay_cache;
mod rules;
mod session_ender;
pub mod sessions;
pub mod spawn_ticket;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::config::Config;
use crate::hub::HubClient;
use crate::store::TokenStore;
use crate::token::{BrowserSecret, NoRandomness};

use hub_token_exchange::HubTokenExchange;
use policy::{Policy, PolicyInForce};

pub use application_client::ApplicationClient;
pub use backchannel_logout::{BackchannelLogout, LoggedOut, LogoutTokenError};
pub use caller::{AuthenticationError, Caller};
pub use dependencies::LoginDependencies;
pub use end_marks::LoginWatch;
pub use external_token::{ExchangeSubject, FailedExchange};
pub use issue::Issuer;
pub use judge::RedeemRequest;
pub use recorder::{Recorder, Subject};
pub use redeem::{Redeemer, ValidatedToken, VerifiedUser};
pub use refusal::{Refusal, RefusalReason};
pub use rules::{Rules, WAIT_MAX};
pub use session_ender::{EndError, SessionEnder};

/// The parts of this folder, put together over one policy.
#[derive(Debug)]
pub struct LoginServices {
    /// Turns requests of apps into links.
    pub issuer: Issuer,
    /// Turns tokens into verified users.
    pub redeemer: Arc<Redeemer>,
    /// Exchanges tokens for hub tokens.
    pub hub_tokens: Arc<HubTokenExchange>,
    /// Ends sessions.
    pub session_ender: Arc<SessionEnder>,
    /// Ends sessions by logout tokens of an app's identity provider.
    pub backchannel_logout: BackchannelLogout,
    /// Audit and metrics.
    pub recorder: Arc<Recorder>,
    policy: PolicyInForce,
    dependencies: LoginDependencies,
}

impl LoginServices {
    /// The services of `config`; none if its public URL is no URL, which validation has ruled out.
    pub fn new(config: &Config, hub: Arc<HubClient>, dependencies: LoginDependencies) -> Option<Self> {
        let policy: PolicyInForce = Arc::new(ArcSwap::from_pointee(Policy::new(config, hub, &dependencies)?));
        let redeemer = Arc::new(Redeemer::new(Arc::clone(&policy), &dependencies));
        let recorder = Arc::clone(&dependencies.recorder);
        let hub_tokens =
            HubTokenExchange::new(Arc::clone(&policy), Arc::clone(&redeemer), Arc::clone(&recorder));
        let session_ender = Arc::new(SessionEnder::new(Arc::clone(&policy), &dependencies));
        Some(Self {
            issuer: Issuer::new(Arc::clone(&policy), &dependencies),
            redeemer,
            hub_tokens: Arc::new(hub_tokens),
            backchannel_logout: BackchannelLogout::new(
                Arc::clone(&policy),
                Arc::clone(&session_ender),
                &dependencies,
            ),
            session_ender,
            recorder,
            policy,
            dependencies,
        })
    }

    /// The policy of another `config`, which is not in force yet.
    pub fn next_policy(&self, config: &Config, hub: Arc<HubClient>) -> Option<Policy> {
        Some(Policy::new(config, hub, &self.dependencies)?.carry_over(&self.policy()))
    }

    /// Puts `policy` in force, for everything that is decided from now on.
    pub fn put_in_force(&self, policy: Arc<Policy>) {
        policy.hub.put_in_force();
        self.policy.store(policy);
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.policy.load().rules)
    }

    /// The hub, asked in our own name.
    pub fn hub(&self) -> Arc<HubClient> {
        Arc::clone(&self.policy.load().hub)
    }

    /// The store.
    pub fn store(&self) -> &dyn TokenStore {
        &*self.dependencies.store
    }

    /// The time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.dependencies.clock
    }

    /// A new secret for a browser.
    pub fn browser_secret(&self) -> Result<BrowserSecret, NoRandomness> {
        BrowserSecret::generate(&*self.dependencies.random)
    }
}
