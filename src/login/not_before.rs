//! From when on the tokens that an app signs itself count for one of its users: earlier ones were revoked.
//!
//! A link that waits is revoked in the store, which does not know of a token of the app's own making before that is
//! consumed. So the moment of the revocation is kept, for as long as a token from before could be good: as a record that
//! admits nobody, under a name that no app can have.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom;

use super::dependencies::LoginDependencies;
use super::jwt::{LEEWAY, LIFETIME_MAX};
use super::replay_cache::full;
use super::rules::WAIT_MAX;
use crate::clock::Clock;
use crate::config::App;
use crate::store::{IdempotencyKey, Inserted, Link, LinkStatus, StoreError, TokenStore};
use crate::token::{LinkId, LoginGrant, TokenDigest, Username};

/// What begins the name under which an app's revocations are kept: no app's own name has a ":".
const KEPT_BY: &str = "revoked:";

/// The memory of revocations.
pub(super) struct NotBefore {
    store: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
}

/// Puts a record that admits nobody into the store, in the place of an earlier one of the same user and name.
pub(super) async fn replace(store: &dyn TokenStore, record: Link) -> Result<(), StoreError> {
    let (app, user, now) =
        (Arc::clone(&record.grant.app), record.grant.username.as_str().to_owned(), record.issued);
    // The body is always the same, so that the earlier one is replaced.
    let key = IdempotencyKey { app, key: user, body: [0; 32] };
    match store.insert(vec![record], Some(key), now).await? {
        Inserted::New | Inserted::Again(_) => Ok(()),
        Inserted::Full => Err(full()),
        Inserted::Ended | Inserted::OtherBody => {
            Err(StoreError::unavailable("what stands in the place of a record is none"))
        }
    }
}

impl NotBefore {
    /// Remembers in the store.
    pub(super) fn new(dependencies: &LoginDependencies) -> Self {
        let LoginDependencies { store, clock, random, .. } = dependencies.clone();
        Self { store, clock, random }
    }

    /// Revokes the tokens that `app` has signed for `username` until now, if it signs any.
    pub(super) async fn revoke(&self, username: &Username, app: &App) -> Result<(), StoreError> {
        if app.jwt.is_none() {
            return Ok(());
        }
        let now = self.clock.now();
        let kept_by: Arc<str> = format!("{KEPT_BY}{}", app.name).into();
        let record = Link {
            id: LinkId::generate(&*self.random).map_err(StoreError::unavailable)?,
            digest: digest(username, &app.name),
            grant: LoginGrant::new(username.clone(), kept_by),
            status: LinkStatus::Pending,
            issued: now,
            expires: now.plus(remembered_for()),
            used_at: None,
            note: None,
        };
        replace(&*self.store, record).await
    }

    /// Whether a token that `app` has signed for `username` at `issued_at`, in seconds of Unix time, was revoked. The app's
    /// clock says when that was, and may be ahead of ours by [`LEEWAY`]: so long after a revocation it cannot be told whether
    /// a token was signed before it, and it counts as if it was.
    pub(super) async fn revokes(
        &self,
        username: &Username,
        app: &str,
        issued_at: f64,
    ) -> Result<bool, StoreError> {
        let revoked = self.store.find(digest(username, app), self.clock.now()).await?;
        Ok(revoked.is_some_and(|record| {
            issued_at <= record.issued.wall.as_duration().as_secs_f64() + LEEWAY.as_secs_f64()
        }))
    }
}

/// As long as a token that was signed before may be good, also in a browser that waits for its turn.
fn remembered_for() -> Duration {
    LIFETIME_MAX + 2 * LEEWAY + WAIT_MAX
}

fn digest(username: &Username, app: &str) -> TokenDigest {
    TokenDigest::of_parts(&["not before", app, username.as_str()])
}
