//! Consumes a token: the only place that can make a [`VerifiedUser`].

use std::time::Duration;

use serde_json::{Map, Value};

use super::judge::{Taken, ValidatedToken};
use super::refusal::ended;
use super::{LoginService, Refusal, RefusalReason, live_link_quota};
use crate::audit::{Client, Event};
use crate::store::{Consumed, Link};
use crate::token::{LinkId, LoginGrant, Username};

/// Proof that one login token was consumed: for one identity header on one request.
///
/// It can be made only here, after the store's one success, and it is neither `Clone` nor rebuilt from a name:
/// `proxy::identity::set` takes it by value.
#[derive(Debug)]
#[must_use = "a token was consumed for this user"]
pub struct VerifiedUser {
    link: LinkId,
    grant: LoginGrant,
}

impl VerifiedUser {
    /// Who.
    pub fn username(&self) -> &Username {
        &self.grant.username
    }

    /// Through which link.
    pub fn link(&self) -> &LinkId {
        &self.link
    }

    /// The app that issued it.
    pub fn app(&self) -> &str {
        &self.grant.app
    }

    /// The hub groups of the grant.
    pub fn groups(&self) -> Option<&[String]> {
        self.grant.groups.as_deref()
    }

    /// The claims of the grant.
    pub fn claims(&self) -> Option<&Map<String, Value>> {
        self.grant.claims.as_ref()
    }
}

impl LoginService {
    /// Consumes the token of `offer`: the one success of its life makes the user a verified one.
    pub async fn redeem(&self, offer: ValidatedToken, client: Client<'_>) -> Result<VerifiedUser, Refusal> {
        let link = self.take(offer, client).await?;
        self.metrics.links_redeemed.inc();
        self.record(Event::Redeemed, Some(&link), client, None);
        Ok(VerifiedUser { link: link.id, grant: link.grant })
    }

    /// The link of `offer`, taken from everybody else.
    async fn take(&self, offer: ValidatedToken, client: Client<'_>) -> Result<Box<Link>, Refusal> {
        let link = offer.link;
        match offer.taken {
            Taken::Burnt { since } => self.burn(&link, since, client).await.map(|()| Box::new(link)),
            Taken::Consumed => match self.store.consume(link.digest, self.clock.now()).await? {
                Consumed::Granted(link) => {
                    self.apps.discount(&link.grant.app, live_link_quota::second_of(&link));
                    Ok(link)
                }
                Consumed::Unknown => Err(Refusal::link(RefusalReason::Unknown, None)),
                Consumed::Ended(link) => {
                    let reason = ended(link.status).unwrap_or(RefusalReason::Used);
                    Err(Refusal::link(reason, Some(link)))
                }
            },
        }
    }

    /// Whether a used `link` may still lead its user on: refresh, back, double click.
    pub fn is_within_grace(&self, link: &Link) -> bool {
        self.was_used_within(link, self.rules.replay_grace)
    }

    /// Whether `link` was used, and at most `span` ago.
    pub fn was_used_within(&self, link: &Link, span: Duration) -> bool {
        let age = link.used_at.map(|used| self.clock.now().wall.duration_since(used));
        let span = jiff::SignedDuration::try_from(span).unwrap_or_default();
        age.is_some_and(|age| !age.is_negative() && age <= span)
    }
}
