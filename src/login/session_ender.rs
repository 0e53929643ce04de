//! Ends the sessions of a user: at the hub, in every replica, and for every link that waits.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;
use tokio::sync::oneshot;

use super::assertion::AssertionError;
use super::dependencies::LoginDependencies;
use super::end_marks::{EndMarks, LoginWatch};
use super::not_before::NotBefore;
use super::policy::PolicyInForce;
use super::recorder::Recorder;
use super::sessions::{EndedSessions, REMEMBERED_FOR};
use crate::audit::{AuditReason, Client};
use crate::clock::Clock;
use crate::config::App;
use crate::hub::HubError;
use crate::shutdown::Shutdown;
use crate::store::{StoreError, TokenStore};
use crate::token::{LinkId, NoRandomness, Username};

/// Why sessions were not ended, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// There is nothing to prove to the hub that it is us.
    #[error("sessions are ended by a signed call, and there is no [assertion]")]
    NoAssertion,
    /// The app may not log this user in, so it may not end their sessions either.
    #[error("the rules of app {app:?} do not allow the user {username}")]
    UserNotAllowed {
        /// The app.
        app: String,
        /// The user.
        username: Username,
    },
    /// The call cannot be signed.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The hub does not do it.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The store cannot tell the other replicas.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The work was broken off, because hublatch ends.
    #[error("hublatch ends")]
    BrokenOff,
}

/// Ends the sessions of users.
pub struct SessionEnder {
    policy: PolicyInForce,
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    recorder: Arc<Recorder>,
    not_before: NotBefore,
    end_marks: EndMarks,
    ended: Arc<EndedSessions>,
}

impl std::fmt::Debug for SessionEnder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionEnder").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl SessionEnder {
    /// Ends sessions by the `policy` in force.
    pub(super) fn new(policy: PolicyInForce, dependencies: &LoginDependencies) -> Self {
        let LoginDependencies { store, clock, random, recorder, .. } = dependencies.clone();
        let (not_before, end_marks) = (NotBefore::new(dependencies), EndMarks::new(dependencies));
        Self { policy, store, clock, random, recorder, not_before, end_marks, ended: Arc::default() }
    }

    /// The sessions that were ended a short time ago.
    pub fn ended(&self) -> &Arc<EndedSessions> {
        &self.ended
    }

    /// Ends all browser sessions of `username`; `app` asks, in the way that `reason` names. Answers how many have ended in the
    /// last ten minutes, so that a caller who repeats the call is told of those that it has ended the first time.
    ///
    /// All that is a task of its own, which goes on when the caller hangs up: the hub ends the sessions whether or not
    /// somebody waits for its answer, and only its answer tells which they are. If that is lost all the same, it comes with
    /// the repeat.
    pub async fn end(
        self: &Arc<Self>,
        username: &Username,
        app: &Arc<App>,
        client: Option<IpAddr>,
        reason: AuditReason,
        shutdown: &Shutdown,
    ) -> Result<usize, EndError> {
        let (caller, result) = oneshot::channel();
        let (this, username, app) = (Arc::clone(self), username.clone(), Arc::clone(app));
        shutdown.spawn(async move {
            let ended = this.end_for(&username, &app, client, reason).await;
            if let Err(Err(error)) = caller.send(ended) {
                tracing::warn!(%error, "login: sessions were not ended, or not everywhere, and who has asked is gone");
            }
        });
        result.await.unwrap_or(Err(EndError::BrokenOff))
    }

    /// The hub ends them, because what is remembered here is forgotten after ten minutes. Before it is called, the app's
    /// links that wait and the tokens that it has signed are revoked, since they could begin new sessions; a login that
    /// is on its way finds a mark (`EndMarks`).
    async fn end_for(
        &self,
        username: &Username,
        app: &App,
        client: Option<IpAddr>,
        reason: AuditReason,
    ) -> Result<usize, EndError> {
        let policy = self.policy.load_full();
        if !policy.allows(&app.name, username) {
            return Err(EndError::UserNotAllowed { app: app.name.to_string(), username: username.clone() });
        }
        let signer = policy.signer.as_ref().ok_or(EndError::NoAssertion)?;
        self.store.revoke_user(username, &app.name, self.clock.now()).await?;
        // A full store must not keep a session alive: its error is returned when the rest is done.
        let kept = self.not_before.revoke(username, app).await;
        let marked = self.end_marks.set(username, &policy).await;
        let call = LinkId::generate(&*self.random)?;
        let assertion = signer.sign_end(username, &call, self.clock.now())?;
        let sessions = policy.hub.end_sessions(signer.header(), assertion).await?;
        let count = sessions.len();
        // The hub tells those of an earlier call as well, of which the audit knows.
        let new = sessions.iter().filter(|id| !self.ended.contains(id)).count();
        // In this process at once, and in the audit, even if the store fails: the hub has ended them.
        self.ended.end(&sessions, self.clock.monotonic());
        self.recorder.sessions_ended(new, username, &app.name, Client::at(client), reason);
        self.store.end_sessions(sessions, REMEMBERED_FOR).await?;
        kept.and(marked)?;
        Ok(count)
    }

    /// Whether the sessions of the user were ended since `watch` was made. Then the session that its login may have begun
    /// meanwhile counts as one of them.
    pub async fn has_ended_since(&self, watch: &LoginWatch) -> Result<bool, StoreError> {
        let has_ended = self.end_marks.has_ended_since(watch).await?;
        if has_ended && let Some(id) = watch.session_id() {
            let sessions = vec![id.to_owned()];
            self.ended.end(&sessions, self.clock.monotonic());
            self.store.end_sessions(sessions, REMEMBERED_FOR).await?;
        }
        Ok(has_ended)
    }

    /// Hears of the sessions that other replicas have ended, and forgets those of long ago.
    pub async fn refresh(&self) {
        let heard = match self.store.ended_sessions() {
            None => Vec::new(),
            Some(asked) => asked.await.unwrap_or_else(|error| {
                tracing::debug!(%error, "login: ended sessions");
                Vec::new()
            }),
        };
        self.ended.end(&heard, self.clock.monotonic());
    }
}
