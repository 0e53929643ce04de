//! Logins by a token that an app has signed: its `jti` is put into the replay cache when it is redeemed.
//!
//! A memory that a restart or a failover has emptied knows nothing of what was consumed before, so a token that may be
//! older than the store's memory is refused, also when that memory was lost while it was being consumed.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom;
use jiff::Timestamp;

use super::dependencies::LoginDependencies;
use super::issue_request::fits_a_header;
use super::jwt::{Claims, JwtIssuer, Unverified};
use super::not_before::NotBefore;
use super::policy::Policy;
use super::refusal::{Refusal, RefusalReason};
use super::replay_cache::ReplayCache;
use super::rules::WAIT_MAX;
use crate::clock::{Clock, Moment};
use crate::config::{SESSION_MIN, Scope};
use crate::store::{Link, LinkStatus, StoreError};
use crate::token::{LinkId, LoginGrant, State, TokenDigest};

/// Turns tokens that apps have signed into links.
pub(super) struct JwtLogin {
    replay_cache: Arc<ReplayCache>,
    not_before: NotBefore,
    clock: Arc<dyn Clock>,
    random: Arc<dyn SecureRandom + Send + Sync>,
    started: Moment,
}

impl JwtLogin {
    /// Consumed tokens are kept in `replay_cache`.
    pub(super) fn new(replay_cache: Arc<ReplayCache>, dependencies: &LoginDependencies) -> Self {
        let LoginDependencies { clock, random, started, .. } = dependencies.clone();
        Self { replay_cache, not_before: NotBefore::new(dependencies), clock, random, started }
    }

    /// The link that `token` stands for, as it stands: used, if its `jti` is in the replay cache. And when it was signed, in
    /// seconds of Unix time.
    ///
    /// `clicked_at`: when the browser clicked, if it has waited for its turn since; then its token's time is judged by that.
    pub(super) async fn link(
        &self,
        policy: &Policy,
        token: &str,
        clicked_at: Option<Timestamp>,
    ) -> Result<(Link, f64), Refusal> {
        let now = self.clock.now();
        let (issuer, claims) = match policy.jwt_issuers.verify(token, now).await {
            Ok(verified) => verified,
            Err(Unverified::Bad(why)) => {
                tracing::debug!(why, "login: a signed token is refused");
                return Err(Refusal::unknown());
            }
            Err(Unverified::Signed { app, why }) => {
                log_refusal(&app, why);
                return Err(Refusal::unknown());
            }
            Err(Unverified::Keys(error)) => return Err(StoreError::unavailable(error).into()),
        };
        let mut link = self.link_of(policy, issuer, &claims)?;
        if let Some(consumed) = self.replay_cache.find(link.digest, now).await? {
            link.id = consumed.id;
            link.status = LinkStatus::Used;
            link.used_at = Some(consumed.issued.wall);
        } else if self.is_over(&claims, before(now, clicked_at))
            || claims.may_precede(self.replay_cache.memory().since)
        {
            link.status = LinkStatus::Expired;
        } else if claims.is_early(now.wall) {
            log_refusal(&issuer.app.name, "its time has not come: iat or nbf is in the future");
            return Err(Refusal::unknown());
        } else if self.was_revoked(&link, claims.iat).await? {
            link.status = LinkStatus::Revoked;
        }
        Ok((link, claims.iat))
    }

    /// Consumes the token of `link`: of all callers everywhere, one succeeds.
    ///
    /// `epoch`: of the store's memory when the token was judged; `issued_at`: when it was signed.
    pub(super) async fn consume(&self, link: &Link, epoch: i64, issued_at: f64) -> Result<(), Refusal> {
        self.replay_cache.consume(link).await?;
        // After that: a revocation that comes before the token is consumed is found here. One that comes later is for the login,
        // when the hub has answered it (`end_marks`).
        if self.was_revoked(link, issued_at).await? {
            return Err(Refusal::of_link(RefusalReason::Revoked, Some(Box::new(link.clone()))));
        }
        if self.replay_cache.memory().epoch != epoch {
            // Another Redis has taken its place, and may not know that the token was used.
            return Err(StoreError::unavailable("its memory was lost in a failover").into());
        }
        Ok(())
    }

    async fn was_revoked(&self, link: &Link, issued_at: f64) -> Result<bool, StoreError> {
        self.not_before.revokes(&link.grant.username, &link.grant.app, issued_at).await
    }

    /// Whether the token's time is over, by the wall clock or by the time that has passed since the start: a clock that
    /// is set back must not bring a token to life whose record is gone.
    fn is_over(&self, claims: &Claims, now: Moment) -> bool {
        let passed = now.monotonic.saturating_sub(self.started.monotonic);
        claims.is_over(now.wall) || claims.is_over(self.started.plus(passed).wall)
    }

    /// The link that would have been issued for these claims.
    fn link_of(&self, policy: &Policy, issuer: &JwtIssuer, claims: &Claims) -> Result<Link, Refusal> {
        let refused = |reason| Refusal::of_link(reason, None);
        let now = self.clock.now();
        let username = policy.rules.usernames.parse(&issuer.app.full_username(&claims.sub));
        let username = username.map_err(|_| refused(RefusalReason::NotAllowed))?;
        let state = match claims.state.as_deref().map(State::parse) {
            None => None,
            Some(Some(state)) => Some(state),
            Some(None) => {
                log_refusal(&issuer.app.name, "the state is none of ours");
                return Err(Refusal::unknown());
            }
        };
        if !issuer.app.may(Scope::Issue) || !fits_a_header(claims.groups.as_deref(), None) {
            return Err(refused(RefusalReason::NotAllowed));
        }
        let session = match claims.session_exp {
            None => None,
            Some(end) => {
                let left = Duration::try_from_secs_f64(end - now.wall.as_duration().as_secs_f64());
                let left = left.ok().filter(|left| *left >= SESSION_MIN && policy.signer.is_some());
                let Some(left) = left else {
                    log_refusal(
                        &issuer.app.name,
                        "the session_exp is not a minute away, or cannot be kept here",
                    );
                    return Err(refused(RefusalReason::NotAllowed));
                };
                // A session longer than the app may begin is cut to what it may.
                Some(Duration::from_secs(left.as_secs()))
            }
        };
        Ok(Link {
            id: LinkId::generate(&*self.random).map_err(StoreError::unavailable)?,
            digest: TokenDigest::of_parts(&["jwt", &claims.iss, &claims.jti]),
            grant: LoginGrant {
                next: claims.next.clone().filter(|next| !next.is_empty()),
                groups: claims.groups.clone(),
                state,
                session,
                ..LoginGrant::new(username, issuer.app.name.clone())
            },
            status: LinkStatus::Pending,
            issued: now,
            // The record must outlive the token, the time in which a refresh leads its user on, and every click that came
            // in time and waits for its turn.
            expires: now.plus(claims.time_left(now.wall).max(policy.rules.replay_grace) + WAIT_MAX),
            used_at: None,
            note: None,
        })
    }
}

/// The moment at which the browser clicked: as long before `now` by both clocks.
fn before(now: Moment, clicked_at: Option<Timestamp>) -> Moment {
    let Some(wall) = clicked_at.filter(|at| *at < now.wall) else { return now };
    let waited = Duration::try_from(now.wall.duration_since(wall)).unwrap_or_default();
    Moment { wall, monotonic: now.monotonic.saturating_sub(waited) }
}

/// Tells the operator what the app's developer must know. Only who has a token that the app has signed gets so far.
fn log_refusal(app: &str, why: &'static str) {
    tracing::info!(app, why, "login: a token that an app has signed is refused");
}
