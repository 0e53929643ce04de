//! Marks in the store, by which a login finds out that its user's sessions were ended while it was under way.
//!
//! Ending sessions revokes the links that wait. A login whose link was consumed before is not revoked, and the hub may come
//! to it after it has ended the sessions: its answer would begin one that nobody ends. So a mark is written into the store
//! before the hub is told to end them; a login reads the mark before it consumes its token, and again when the hub has
//! answered. If it has changed, the end came in between. A session that began before the mark was there is among those that
//! the hub ends.
//!
//! Marks are compared with each other and not with clocks, of which each replica has its own. A mark is a record that admits
//! nobody, under a name that no app can have.

use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;

use super::dependencies::LoginDependencies;
use super::not_before::replace;
use super::policy::Policy;
use crate::clock::Clock;
use crate::config::Scope;
use crate::store::{Link, LinkStatus, StoreError, TokenStore};
use crate::token::{LinkId, LoginGrant, TokenDigest, Username};

/// The app under whose name the store keeps the marks: no app's own name has a ":".
const KEPT_BY: &str = "ended:";

/// Sets and reads the marks.
pub(super) struct EndMarks {
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
}

/// What a login has to know of its user to find out whether their sessions were ended while it was under way.
#[derive(Debug)]
pub struct LoginWatch {
    username: Username,
    /// The mark before the token was consumed; none: there was none.
    mark: Option<String>,
    /// The epoch of the store's memory then.
    epoch: Option<i64>,
    /// The id that its session gets, if that is of our making.
    session_id: Option<String>,
}

impl LoginWatch {
    /// The same for a login whose session gets this id; none: the hub makes one.
    #[must_use]
    pub fn of_session(self, id: Option<&str>) -> Self {
        Self { session_id: id.map(str::to_owned), ..self }
    }

    pub(super) fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }
}

impl EndMarks {
    /// Marks in the store.
    pub(super) fn new(dependencies: &LoginDependencies) -> Self {
        let LoginDependencies { store, clock, random, .. } = dependencies.clone();
        Self { store, clock, random }
    }

    /// Marks that the sessions of `username` are ended now. To be called when the links that wait are revoked, and before the
    /// hub is told.
    pub(super) async fn set(&self, username: &Username, policy: &Policy) -> Result<(), StoreError> {
        let now = self.clock.now();
        let id = || LinkId::generate(&*self.random).map_err(StoreError::unavailable);
        let record = Link {
            id: id()?,
            digest: digest(username),
            grant: LoginGrant::new(username.clone(), KEPT_BY.into()),
            status: LinkStatus::Pending,
            issued: now,
            expires: now.plus(policy.rules.login_under_way),
            used_at: None,
            // The id stays that of the record which this one replaces.
            note: Some(id()?.as_str().to_owned()),
        };
        replace(&*self.store, record).await
    }

    /// What a login of `username` will be compared with. To be asked before its token is consumed. None: nobody may end
    /// sessions here, and the store need not be asked.
    pub(super) async fn watch(
        &self,
        username: &Username,
        policy: &Policy,
    ) -> Result<Option<LoginWatch>, StoreError> {
        if policy.signer.is_none() || !policy.applications.may_any(Scope::End) {
            return Ok(None);
        }
        let mark = self.mark(username).await?;
        Ok(Some(LoginWatch { username: username.clone(), mark, epoch: self.epoch(), session_id: None }))
    }

    /// Whether the sessions of the user were ended since `watch` was made.
    pub(super) async fn has_ended_since(&self, watch: &LoginWatch) -> Result<bool, StoreError> {
        let mark = self.mark(&watch.username).await?;
        // A server that has taken the store's place may not know of an end.
        if self.epoch() != watch.epoch {
            return Err(StoreError::unavailable("the store was replaced while a login was under way"));
        }
        // A mark that is gone is no new one: its time was over, and the store has forgotten it.
        Ok(mark.is_some() && mark != watch.mark)
    }

    fn epoch(&self) -> Option<i64> {
        self.store.memory(self.clock.now()).map(|memory| memory.epoch)
    }

    async fn mark(&self, username: &Username) -> Result<Option<String>, StoreError> {
        let record = self.store.find(digest(username), self.clock.now()).await?;
        Ok(record.and_then(|record| record.note))
    }
}

fn digest(username: &Username) -> TokenDigest {
    TokenDigest::of_parts(&["ended", username.as_str()])
}
