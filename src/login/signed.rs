//! Logins by a token that an app has signed: its `jti` is burnt in the store when it is redeemed.
//!
//! Burning is one insertion under an idempotency key made of issuer and `jti`, with a body that is random each time: of
//! all insertions in all replicas one is new, and every other finds the key taken by another body. The record waits
//! until the token's time is over, and a store drops nothing that waits; so the memory of a burnt token outlives it. It
//! is kept under a name that no app can have: the API neither shows nor revokes it.
//!
//! A memory that a restart or a failover has emptied knows nothing of what was burnt before, so a token that may be
//! older than the store's memory is refused, also when that memory was lost while it was being burnt.

use jiff::Timestamp;

use super::jwt::{Claims, JwtIssuer, Unverified};
use super::{LoginService, Refusal, RefusalReason};
use crate::audit::{Client, Event};
use crate::clock::Moment;
use crate::config::Scope;
use crate::store::{IdempotencyKey, Inserted, Link, LinkStatus, StoreError};
use crate::token::{LinkId, LoginGrant, State, TokenDigest};

/// What stands before an app's name where its burnt tokens are kept: ":" is in no name.
const BURNT: &str = "burnt:";

impl LoginService {
    /// The link that `token` stands for, as it stands: used, if its `jti` is burnt.
    pub(super) async fn signed(&self, token: &str) -> Result<Link, Refusal> {
        let now = self.clock.now();
        let unknown = || Refusal::link(RefusalReason::Unknown, None);
        let (signatory, claims) = match self.signatories.verify(token, now).await {
            Ok(verified) => verified,
            Err(Unverified::Bad(why)) => {
                tracing::debug!(why, "login: a signed token is refused");
                return Err(unknown());
            }
            Err(Unverified::Signed { app, why }) => {
                tell(&app, why);
                return Err(unknown());
            }
            Err(Unverified::Keys(error)) => return Err(StoreError::Unavailable(error.to_string()).into()),
        };
        let mut link = self.link_of(signatory, &claims)?;
        if let Some(burnt) = self.store.find(link.digest, now).await? {
            link.id = burnt.id;
            link.status = LinkStatus::Used;
            link.used_at = Some(burnt.issued.wall);
        } else if self.is_over(&claims, now) || claims.may_precede(self.remembers_since()) {
            link.status = LinkStatus::Expired;
        } else if claims.is_early(now.wall) {
            tell(&signatory.app.name, "its time has not come: iat or nbf is in the future");
            return Err(unknown());
        }
        Ok(link)
    }

    /// From when on it is known which tokens were burnt: the start of this process, or what the store says of itself.
    pub(super) fn remembers_since(&self) -> Timestamp {
        self.store.remembers_since().unwrap_or(self.started.wall)
    }

    /// Whether the token's time is over, by the wall clock or by the time that has passed since the start: a clock that
    /// is set back must not bring a token to life whose record is gone.
    fn is_over(&self, claims: &Claims, now: Moment) -> bool {
        let passed = now.monotonic.saturating_sub(self.started.monotonic);
        claims.is_over(now.wall) || claims.is_over(self.started.plus(passed).wall)
    }

    /// The link that would have been issued for these claims.
    fn link_of(&self, signatory: &JwtIssuer, claims: &Claims) -> Result<Link, Refusal> {
        let refused = |reason| Refusal::link(reason, None);
        let now = self.clock.now();
        let username =
            self.rules.usernames.parse(&claims.sub).map_err(|_| refused(RefusalReason::NotAllowed))?;
        let state = match claims.state.as_deref().map(State::parse) {
            None => None,
            Some(Some(state)) => Some(state),
            Some(None) => {
                tell(&signatory.app.name, "the state is none of ours");
                return Err(refused(RefusalReason::Unknown));
            }
        };
        if !signatory.app.may(Scope::Issue)
            || !super::issue_request::fits_a_header(claims.groups.as_deref(), None)
        {
            return Err(refused(RefusalReason::NotAllowed));
        }
        Ok(Link {
            id: LinkId::generate(&*self.random)
                .map_err(|error| StoreError::Unavailable(error.to_string()))?,
            digest: TokenDigest::of_parts(&["jwt", &claims.iss, &claims.jti]),
            grant: LoginGrant {
                next: claims.next.clone().filter(|next| !next.is_empty()),
                groups: claims.groups.clone(),
                state,
                ..LoginGrant::new(username, signatory.app.name.clone())
            },
            status: LinkStatus::Pending,
            issued: now,
            // The record must be there for as long as the token would do, and a refresh may come.
            expires: now.plus(claims.time_left(now.wall).max(self.rules.replay_grace)),
            used_at: None,
            note: None,
        })
    }

    /// Burns the token of `link`: of all callers everywhere, one succeeds.
    ///
    /// `since`: how far the store's memory went back when the token was judged.
    pub(super) async fn burn(
        &self,
        link: &Link,
        since: Timestamp,
        client: Client<'_>,
    ) -> Result<(), Refusal> {
        self.burn_record(link).await?;
        if self.remembers_since() != since {
            // Another server stands in its place by now, and may not know of an earlier burning.
            return Err(StoreError::Unavailable("its memory was lost in a failover".to_owned()).into());
        }
        self.metrics.links_issued.inc();
        // Each redeem in the audit has one issue: that of this token is known only now.
        self.record(Event::Issued, Some(link), client, Some("signed_by_app"));
        Ok(())
    }

    /// Lets the record of a burnt token go that no app owns up to.
    pub(super) async fn forget_burnt(&self, link: &Link) -> Result<(), StoreError> {
        let kept_by = format!("{BURNT}{}", link.grant.app);
        self.store.revoke(&link.id, &kept_by, self.clock.now()).await.map(|_| ())
    }

    /// Makes the record by which the token of `link` is known to be burnt; refuses if there is one.
    pub(super) async fn burn_record(&self, link: &Link) -> Result<(), Refusal> {
        let mut body = [0; 32];
        self.random.fill(&mut body).map_err(|_| StoreError::Unavailable("no random bytes".to_owned()))?;
        let kept_by: std::sync::Arc<str> = format!("{BURNT}{}", link.grant.app).into();
        let key = IdempotencyKey { app: kept_by.clone(), key: link.digest.to_text(), body };
        let mut record = link.clone();
        record.grant.app = kept_by;
        match self.store.insert(vec![record], Some(key), self.clock.now()).await? {
            Inserted::New => Ok(()),
            Inserted::Again(_) | Inserted::Ended | Inserted::OtherBody => {
                Err(Refusal::link(RefusalReason::Used, Some(Box::new(self.used_now(link)))))
            }
            Inserted::Full => Err(full().into()),
        }
    }

    /// The link of a race that was lost: another request has used it just now.
    fn used_now(&self, link: &Link) -> Link {
        let now: Timestamp = self.clock.now().wall;
        Link { status: LinkStatus::Used, used_at: Some(now), ..link.clone() }
    }
}

/// Tells the operator what the app's developer must know. Only who has a token that the app has signed gets so far.
fn tell(app: &str, why: &'static str) {
    tracing::info!(app, why, "login: a token that an app has signed is refused");
}

/// The store has no room: nobody is logged in.
pub(super) fn full() -> StoreError {
    StoreError::Unavailable("there are too many live links (store.max_tokens)".to_owned())
}
