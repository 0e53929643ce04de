//! Judges a link by the policy: is it alive, may its app still log its user in, does it belong to this browser, and where
//! does it lead? Asks no store and consumes nothing.

use std::time::Duration;

use super::next::{Next, NextError};
use super::policy::Policy;
use super::refusal::{Refusal, RefusalReason, ended};
use jiff::Timestamp;

use crate::clock::Clock;
use crate::store::Link;
use crate::token::{LoginGrant, State, Username};

/// What a request says beside its token.
#[derive(Debug, Clone, Copy, Default)]
pub struct RedeemRequest<'a> {
    /// Its own `next`, decoded.
    pub next: Option<&'a str>,
    /// The states of the browser's secrets.
    pub states: &'a [State],
    /// When the browser clicked, if it has waited for its turn since, as our own signature says.
    pub clicked_at: Option<Timestamp>,
    /// Whether the app itself asks, proved by its key: then nobody can hand its link on, and it need not be bound.
    pub by_app: bool,
}

impl Policy {
    /// Where a login by `link` leads, if it is honoured. The grant's own `next` goes before the request's, and the app's
    /// rules of today go before those at issue.
    pub(super) fn judge(&self, link: &Link, request: RedeemRequest<'_>) -> Result<Option<Next>, Refusal> {
        let refused = |reason| Refusal::of_link(reason, Some(Box::new(link.clone())));
        if let Some(reason) = ended(link.status) {
            return Err(refused(reason));
        }
        self.authorize(link)?;
        if let Some(reason) = self.unbound(link, request) {
            return Err(refused(reason));
        }
        self.destination_of(link, request.next)
            .map_err(|error| Refusal::Next { error, link: Box::new(link.clone()) })
    }

    /// Whether the app of `link` could still issue it.
    pub(super) fn authorize(&self, link: &Link) -> Result<(), Refusal> {
        let reason = if !self.allows(&link.grant.app, &link.grant.username) || !self.may_assert(link) {
            RefusalReason::NotAllowed
        } else if self.lost_its_key(link) {
            RefusalReason::KeyRevoked
        } else {
            return Ok(());
        };
        Err(Refusal::of_link(reason, Some(Box::new(link.clone()))))
    }

    /// Where a login by `link` leads: the grant's own `next` goes before `requested`, and either is judged by the app's
    /// rule as it is now.
    pub fn destination_of(&self, link: &Link, requested: Option<&str>) -> Result<Option<Next>, NextError> {
        let check = |next: &str| self.rules.next.check(next);
        let next = link.grant.next.as_deref().or(requested).map(check).transpose()?;
        let inner = link.grant.judged_by.as_deref().map(check).transpose()?;
        let allowed =
            |next| self.applications.by_name(&link.grant.app).is_some_and(|app| app.allows_next(next));
        if inner.as_ref().or(next.as_ref()).is_none_or(allowed) {
            Ok(next)
        } else {
            Err(NextError::NotAllowed)
        }
    }

    /// Whether `app` may log `username` in.
    pub fn allows(&self, app: &str, username: &Username) -> bool {
        self.rules.usernames.parse(username.as_str()).is_ok_and(|name| name == *username)
            && self.applications.by_name(app).is_some_and(|app| app.allows_user(username))
    }

    /// How long a session lasts that begins by this grant; none: the hub decides. The app's rule of today is the longest.
    pub fn session_life(&self, grant: &LoginGrant) -> Option<Duration> {
        let longest = self.applications.by_name(&grant.app).and_then(|app| app.max_session);
        match (grant.session, longest) {
            (Some(wanted), Some(longest)) => Some(wanted.min(longest)),
            (wanted, longest) => wanted.or(longest),
        }
    }

    /// The id of a session that begins now by this link; none: the hub makes one.
    pub fn session_id(&self, link: &Link, clock: &dyn Clock) -> Option<String> {
        let life = self.session_life(&link.grant)?;
        self.session_ids.make(&link.id, &link.grant.app, life, clock.now())
    }

    /// Whether the app may say what the grant says about its user.
    fn may_assert(&self, link: &Link) -> bool {
        let (groups, claims) = (link.grant.groups.as_deref(), link.grant.claims.as_ref());
        if groups.is_none() && claims.is_none() {
            return true;
        }
        self.applications.by_name(&link.grant.app).is_some_and(|app| {
            groups.is_none_or(|groups| app.may_assert_groups(groups)) && (claims.is_none() || app.claims)
        })
    }

    /// Whether the key that issued the link is its app's no more: whoever stole it may have issued it.
    pub(super) fn lost_its_key(&self, link: &Link) -> bool {
        let Some(key) = link.grant.key else { return false };
        !self.applications.by_name(&link.grant.app).is_some_and(|app| app.has_key(key))
    }

    /// Why the link does not work in a browser with these states, if it does not.
    fn unbound(&self, link: &Link, request: RedeemRequest<'_>) -> Option<RefusalReason> {
        match link.grant.state {
            Some(state) => (!request.states.contains(&state)).then_some(RefusalReason::Bound),
            None => (self.rules.require_state && !request.by_app).then_some(RefusalReason::NeedsState),
        }
    }
}
