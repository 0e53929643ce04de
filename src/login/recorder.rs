//! Writes issues, redeems, refusals, revocations and ended sessions into the audit log, and counts them in the metrics.

use std::sync::Arc;

use super::refusal::Refusal;
use crate::audit::{Audit, AuditReason, Client, Event, Record};
use crate::clock::Clock;
use crate::metrics::{Metrics, Reason, ReasonLabel};
use crate::store::Link;
use crate::token::{LinkId, Username};

/// The audit log and the metrics of logins.
pub struct Recorder {
    audit: Arc<Audit>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// Which link something happened to, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// Its public name.
    pub id: Option<&'a str>,
    /// The app that issued it.
    pub app: Option<&'a str>,
    /// Whom it is for.
    pub username: Option<&'a str>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// Writes to `audit` by the time of `clock`, and counts in `metrics`.
    pub fn new(audit: Arc<Audit>, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        // Refusals that have not happened yet are counted, too: as zero.
        for reason in AuditReason::REFUSALS {
            _ = metrics.links_refused.get_or_create(&ReasonLabel { reason: Reason(reason.as_str()) });
        }
        Self { audit, metrics, clock }
    }

    /// A link was issued.
    pub(super) fn issued<'a>(
        &self,
        subject: impl Into<Subject<'a>>,
        client: Client<'_>,
        reason: Option<AuditReason>,
    ) {
        self.metrics.links_issued.inc();
        self.write(Event::Issued, subject.into(), client, reason);
    }

    /// A link was redeemed.
    pub(super) fn redeemed(&self, link: &Link, client: Client<'_>) {
        self.metrics.links_redeemed.inc();
        self.write(Event::Redeemed, link.into(), client, None);
    }

    /// Redeeming was refused.
    pub fn refused(&self, refusal: &Refusal, client: Client<'_>) {
        self.refused_for(refusal.reason(), refusal.link(), client);
    }

    /// Redeeming was refused for a reason outside the life of a token.
    pub fn refused_for(&self, reason: AuditReason, link: Option<&Link>, client: Client<'_>) {
        self.refused_of(reason, link.map(Subject::from).unwrap_or_default(), client);
    }

    /// The same, where as much is known as `subject` says.
    pub fn refused_of(&self, reason: AuditReason, subject: Subject<'_>, client: Client<'_>) {
        let label = ReasonLabel { reason: Reason(reason.as_str()) };
        self.metrics.links_refused.get_or_create(&label).inc();
        self.write(Event::Refused, subject, client, Some(reason));
    }

    /// A link was taken back.
    pub(super) fn revoked(&self, id: &LinkId, app: &str, client: Client<'_>) {
        self.write(
            Event::Revoked,
            Subject { id: Some(id.as_str()), app: Some(app), username: None },
            client,
            None,
        );
    }

    /// All pending links of `app` for `username` were taken back.
    pub(super) fn revoked_all(&self, username: &Username, app: &str, client: Client<'_>) {
        let subject = Subject { id: None, app: Some(app), username: Some(username.as_str()) };
        self.write(Event::Revoked, subject, client, Some(AuditReason::AllOfUser));
    }

    /// The session of another user was ended for the login of `user`.
    pub fn switched<'a>(&self, user: impl Into<Subject<'a>>, client: Client<'_>) {
        self.metrics.switches.inc();
        self.write(Event::Switched, user.into(), client, None);
    }

    /// The hub has not let the user of a redeemed link in.
    pub fn login_failed<'a>(&self, subject: impl Into<Subject<'a>>, client: Client<'_>, reason: AuditReason) {
        self.write(Event::LoginFailed, subject.into(), client, Some(reason));
    }

    /// An app was given a hub token for its own.
    pub(super) fn hub_token_issued<'a>(&self, user: impl Into<Subject<'a>>, client: Client<'_>) {
        self.metrics.hub.tokens_issued.inc();
        self.write(Event::TokenIssued, user.into(), client, None);
    }

    /// A hub token that an app had got was made worthless.
    pub(super) fn hub_token_revoked<'a>(
        &self,
        subject: impl Into<Subject<'a>>,
        client: Client<'_>,
        reason: Option<AuditReason>,
    ) {
        self.metrics.hub.tokens_revoked.inc();
        self.write(Event::TokenRevoked, subject.into(), client, reason);
    }

    /// Whether a login may go on: not unrecorded, where `log.audit_required` is on.
    pub(super) fn admits_logins(&self) -> bool {
        self.audit.admits_logins()
    }

    /// The sessions of a user were ended because `app` wants it.
    pub(super) fn sessions_ended(
        &self,
        count: usize,
        username: &Username,
        app: &str,
        client: Client<'_>,
        reason: AuditReason,
    ) {
        self.count_ended(reason, count);
        let subject = Subject { id: None, app: Some(app), username: Some(username.as_str()) };
        let record = self.record(Event::SessionEnded, subject, client);
        self.audit.write(&Record { count: Some(count), reason: Some(reason), ..record });
    }

    /// A session was over by its own id, and the browser learns of it.
    pub fn session_over(&self, client: Client<'_>) {
        self.count_ended(AuditReason::Over, 1);
        self.write(Event::SessionEnded, Subject::default(), client, Some(AuditReason::Over));
    }

    /// A call of the management API was answered with `status`; `app` is who has called, or empty.
    pub fn called(&self, app: &str, status: u16) {
        self.metrics.api_requests.count(app, status);
    }

    /// A call of the management API was refused.
    pub fn call_refused(
        &self,
        app: Option<&str>,
        username: Option<&str>,
        code: &'static str,
        client: Client<'_>,
    ) {
        let record = self.record(Event::Refused, Subject { id: None, app, username }, client);
        self.audit.write(&Record { code: Some(code), ..record });
    }

    fn count_ended(&self, reason: AuditReason, count: usize) {
        let label = ReasonLabel { reason: Reason(reason.as_str()) };
        self.metrics.sessions_ended.get_or_create(&label).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn write(&self, event: Event, subject: Subject<'_>, client: Client<'_>, reason: Option<AuditReason>) {
        self.audit.write(&Record { reason, ..self.record(event, subject, client) });
    }

    fn record<'a>(&self, event: Event, subject: Subject<'a>, client: Client<'a>) -> Record<'a> {
        let Subject { id, app, username } = subject;
        let timestamp = self.clock.wall();
        Record { timestamp, event, id, app, username, count: None, client, reason: None, code: None }
    }
}

impl<'a> From<&'a Link> for Subject<'a> {
    fn from(link: &'a Link) -> Self {
        let (app, username) = (&*link.grant.app, link.grant.username.as_str());
        Self { id: Some(link.id.as_str()), app: Some(app), username: Some(username) }
    }
}
