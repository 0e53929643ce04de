//! Looks a token up and judges it, together with what the request asks; consumes nothing.

use jiff::Timestamp;

use super::login_token::{LoginToken, TokenKind};
use super::next::{Next, NextError};
use super::refusal::ended;
use super::{LoginService, Refusal, RefusalReason};
use crate::store::{Link, StoreError};
use crate::token::{OpaqueToken, State, TokenDigest, Username};

/// A token that can be redeemed: looked up, judged, not consumed.
#[derive(Debug)]
pub struct ValidatedToken {
    pub(super) taken: Taken,
    pub(super) link: Link,
    next: Option<Next>,
}

/// How a token is made to admit once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Taken {
    /// The store holds its link and hands it out.
    Consumed,
    /// An app has signed it, and the store only learns of it by its end. Judged by a memory that goes back to this time.
    Burnt { since: Timestamp },
}

impl ValidatedToken {
    /// Through which link.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Who would be logged in.
    pub fn username(&self) -> &Username {
        &self.link.grant.username
    }

    /// Where the browser goes then.
    pub fn next(&self) -> Option<&Next> {
        self.next.as_ref()
    }

    /// Whether the link itself asks for the confirm page.
    pub fn asks(&self) -> bool {
        self.link.grant.confirm
    }

    /// Whether the link is bound to a browser.
    pub fn is_bound(&self) -> bool {
        self.link.grant.state.is_some()
    }

    /// The app that issued the link.
    pub fn app(&self) -> &str {
        &self.link.grant.app
    }
}

/// What a request says beside its token.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Its own `next`, decoded.
    pub next: Option<&'a str>,
    /// The states of the browser's secrets.
    pub states: &'a [State],
    /// Whether the app itself asks, proved by its key: then nobody can hand its link on, and it need not be bound.
    pub by_app: bool,
}

impl LoginService {
    /// The token that `text` spells, if any token here has such a shape.
    pub fn present(&self, text: &str) -> Option<LoginToken> {
        LoginToken::parse(text).filter(|token| match token.kind() {
            TokenKind::Opaque => true,
            TokenKind::Jwt => !self.signatories.is_empty(),
            TokenKind::External => self.exchanging_apps().next().is_some(),
        })
    }

    /// Looks at the link of `token` and judges it, together with what the request asks; consumes nothing.
    pub async fn validate(&self, token: &LoginToken, asked: Asked<'_>) -> Result<ValidatedToken, Refusal> {
        let (link, ending) = match token.kind() {
            TokenKind::Opaque => (self.find(token.digest()).await?, Taken::Consumed),
            TokenKind::Jwt => {
                let since = self.remembers_since();
                (Some(Box::pin(self.signed(token.expose())).await?), Taken::Burnt { since })
            }
            TokenKind::External => (Box::pin(self.exchanged(token)).await?, Taken::Consumed),
        };
        let link = link.ok_or_else(|| Refusal::link(RefusalReason::Unknown, None))?;
        self.judge(link, ending, asked)
    }

    /// The same for a token that is known to be ours.
    pub async fn offer(&self, token: &OpaqueToken, asked: Asked<'_>) -> Result<ValidatedToken, Refusal> {
        let found = self.find(token.digest()).await?;
        let link = found.ok_or_else(|| Refusal::link(RefusalReason::Unknown, None))?;
        self.judge(link, Taken::Consumed, asked)
    }

    pub(super) async fn find(&self, digest: TokenDigest) -> Result<Option<Link>, StoreError> {
        self.store.find(digest, self.clock.now()).await
    }

    /// The grant's own `next` goes before the request's, and so do the app's rules of today before those at issue.
    fn judge(&self, link: Link, taken: Taken, asked: Asked<'_>) -> Result<ValidatedToken, Refusal> {
        if let Some(reason) = ended(link.status) {
            return Err(Refusal::link(reason, Some(Box::new(link))));
        }
        if !self.still_allows(&link) {
            return Err(Refusal::link(RefusalReason::NotAllowed, Some(Box::new(link))));
        }
        if self.lost_its_key(&link) {
            return Err(Refusal::link(RefusalReason::KeyRevoked, Some(Box::new(link))));
        }
        if let Some(reason) = self.unbound(&link, asked) {
            return Err(Refusal::link(reason, Some(Box::new(link))));
        }
        match self.destination_of(&link, asked.next) {
            Ok(next) => Ok(ValidatedToken { taken, link, next }),
            Err(error) => Err(Refusal::Next { error, link: Box::new(link) }),
        }
    }

    /// Where a login by `link` leads: the grant's own `next` goes before the browser's, and either is judged by the
    /// app's rule as it is now.
    pub fn destination_of(&self, link: &Link, asked: Option<&str>) -> Result<Option<Next>, NextError> {
        let check = |next: &str| self.rules.next.check(next);
        let next = link.grant.next.as_deref().or(asked).map(check).transpose()?;
        let inner = link.grant.judged_by.as_deref().map(check).transpose()?;
        let allowed = |next| self.apps.by_name(&link.grant.app).is_some_and(|app| app.allows_next(next));
        if inner.as_ref().or(next.as_ref()).is_none_or(allowed) {
            Ok(next)
        } else {
            Err(NextError::NotAllowed)
        }
    }

    /// Why the link does not work in a browser with these states, if it does not.
    fn unbound(&self, link: &Link, asked: Asked<'_>) -> Option<RefusalReason> {
        match link.grant.state {
            Some(state) => (!asked.states.contains(&state)).then_some(RefusalReason::Bound),
            None => (self.rules.require_state && !asked.by_app).then_some(RefusalReason::NeedsState),
        }
    }

    /// Whether the link could still be issued for its user today.
    fn still_allows(&self, link: &Link) -> bool {
        self.allows(&link.grant.app, &link.grant.username)
    }

    /// Whether the key that issued the link is its app's no more: whoever stole it may have issued it.
    pub(super) fn lost_its_key(&self, link: &Link) -> bool {
        let Some(key) = link.grant.key else { return false };
        !self.apps.by_name(&link.grant.app).is_some_and(|app| app.has_key(key))
    }

    /// Whether `app` may log `username` in, by today's rules.
    pub(super) fn allows(&self, app: &str, username: &Username) -> bool {
        self.rules.usernames.parse(username.as_str()).is_ok_and(|name| name == *username)
            && self.apps.by_name(app).is_some_and(|app| app.allows_user(username))
    }
}
