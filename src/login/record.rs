//! Counts what became of links and writes it into the audit log.

use std::net::IpAddr;
use std::time::Duration;

use super::{LoginService, Refusal, VerifiedUser};
use crate::audit::{Client, Event, Record};
use crate::metrics::{Reason, ReasonLabel};
use crate::store::Link;

impl LoginService {
    /// If `client` has come with too many unknown tokens: how long it must wait.
    pub fn must_wait(&self, client: IpAddr) -> Option<Duration> {
        self.tries.wait(client, self.clock.now().monotonic)
    }

    /// Counts an unknown token of `client`'s.
    pub fn unknown_from(&self, client: IpAddr) {
        self.tries.failed(client, self.clock.now().monotonic);
    }

    /// Counts and records that a redeeming was refused.
    pub fn refused(&self, refusal: &Refusal, client: Client<'_>) {
        let link = match refusal {
            Refusal::Link { link, .. } => link.as_deref(),
            Refusal::Next { link, .. } => Some(&**link),
            Refusal::Store(_) => None,
        };
        self.refused_for(refusal.word(), link, client);
    }

    /// Counts and records a refusal for a reason outside the life of a token.
    pub fn refused_for(&self, reason: &'static str, link: Option<&Link>, client: Client<'_>) {
        self.metrics.links_refused.get_or_create(&ReasonLabel { reason: Reason(reason) }).inc();
        self.record(Event::Refused, link, client, Some(reason));
    }

    /// Counts and records that another user's session was ended for the login of `user`.
    pub fn switched(&self, user: &VerifiedUser, client: Client<'_>) {
        self.metrics.switches.inc();
        self.audit.write(&Record {
            timestamp: self.clock.now().wall,
            event: Event::Switched,
            id: Some(user.link().as_str()),
            app: Some(user.app()),
            username: Some(user.username().as_str()),
            client,
            reason: None,
        });
    }

    pub(super) fn record(&self, event: Event, link: Option<&Link>, client: Client<'_>, reason: Option<&str>) {
        self.audit.write(&Record {
            timestamp: self.clock.now().wall,
            event,
            id: link.map(|link| link.id.as_str()),
            app: link.map(|link| &*link.grant.app),
            username: link.map(|link| link.grant.username.as_str()),
            client,
            reason,
        });
    }
}
