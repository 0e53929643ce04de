//! `OpenID` Connect Back-Channel Logout 1.0: whoever signs an app's tokens says that a user has logged out there. A browser can
//! bring such a token as well, from the app's own logout page.
//!
//! A logout token is good once. Its `jti` is kept when the sessions have ended, and not before: a provider whose call has
//! failed repeats it. Two calls with one token at the same moment may both end them, which is no harm.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;

use super::dependencies::LoginDependencies;
use super::jwks::KeysError;
use super::jwt::Unverified;
use super::policy::PolicyInForce;
use super::refusal::Refusal;
use super::replay_cache::ReplayCache;
use super::session_ender::{EndError, SessionEnder};
use crate::audit::AuditReason;
use crate::clock::Clock;
use crate::config::{App, Scope};
use crate::shutdown::Shutdown;
use crate::store::{Link, LinkStatus, StoreError};
use crate::token::{LinkId, LoginGrant, NoRandomness, TokenDigest, UsernameError};

/// Why a logout token has ended nothing.
#[derive(Debug, thiserror::Error)]
pub enum LogoutTokenError {
    /// The token is not valid.
    #[error("the logout token does not count: {0}")]
    Unverified(&'static str),
    /// The token was used before.
    #[error("the logout token was used already")]
    Used {
        /// The app that has signed it.
        app: Arc<App>,
    },
    /// The app that has signed it may end no sessions.
    #[error("the app {0:?} has no scope \"end\"")]
    Scope(Arc<str>),
    /// Its `sub` is no user here.
    #[error("the sub is no user name here: {0}")]
    Username(#[from] UsernameError),
    /// The app's keys cannot be had.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The store does not tell whether it was used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The sessions did not end.
    #[error(transparent)]
    End(#[from] EndError),
}

/// What a logout token has done.
#[derive(Debug)]
pub struct LoggedOut {
    /// How many sessions have ended.
    pub ended: usize,
    /// The app that has signed it.
    pub app: Arc<App>,
}

/// Ends sessions by logout tokens.
pub struct BackchannelLogout {
    policy: PolicyInForce,
    ender: Arc<SessionEnder>,
    used: ReplayCache,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
}

impl std::fmt::Debug for BackchannelLogout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackchannelLogout")
    }
}

impl BackchannelLogout {
    /// By the `policy` in force; `ender` ends the sessions.
    pub(super) fn new(
        policy: PolicyInForce,
        ender: Arc<SessionEnder>,
        dependencies: &LoginDependencies,
    ) -> Self {
        let LoginDependencies { clock, random, .. } = dependencies.clone();
        Self { policy, ender, used: ReplayCache::new(dependencies), clock, random }
    }

    /// Ends all sessions of whom `token` names.
    pub async fn log_out(
        &self,
        token: &str,
        client: Option<IpAddr>,
        shutdown: &Shutdown,
    ) -> Result<LoggedOut, LogoutTokenError> {
        let policy = self.policy.load_full();
        let now = self.clock.now();
        let (issuer, claims) =
            policy.jwt_issuers.verify_logout(token, now).await.map_err(|error| match error {
                Unverified::Bad(why) | Unverified::Signed { why, .. } => LogoutTokenError::Unverified(why),
                Unverified::Keys(error) => error.into(),
            })?;
        let app = &issuer.app;
        if !app.may(Scope::End) {
            return Err(LogoutTokenError::Scope(Arc::clone(&app.name)));
        }
        let username = policy.rules.usernames.parse(&app.full_username(&claims.sub))?;
        let digest = TokenDigest::of_parts(&["logout", &claims.iss, &claims.jti]);
        if self.used.find(digest, now).await?.is_some() {
            return Err(LogoutTokenError::Used { app: Arc::clone(app) });
        }
        let ended = self.ender.end(&username, app, client, AuditReason::Backchannel, shutdown).await?;
        let record = Link {
            id: LinkId::generate(&*self.random)?,
            digest,
            grant: LoginGrant::new(username, app.name.clone()),
            status: LinkStatus::Pending,
            issued: now,
            expires: now.plus(claims.time_left(now.wall)),
            used_at: None,
            note: None,
        };
        match self.used.consume(&record).await {
            // Another call with the same token came first.
            Ok(()) | Err(Refusal::Link { .. } | Refusal::Next { .. }) => {
                Ok(LoggedOut { ended, app: Arc::clone(app) })
            }
            Err(Refusal::Store(error) | Refusal::Exchange(error)) => Err(error.into()),
        }
    }
}
