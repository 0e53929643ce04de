//! The audit log: one JSON line for each thing that happens to a login link. It never sees a token.

mod queue;

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;

use queue::AuditQueue;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A link was issued.
    Issued,
    /// A link was redeemed: its token is consumed and the login was sent to the hub.
    Redeemed,
    /// A link was not honoured, or a call of the management API refused.
    Refused,
    /// A link was taken back.
    Revoked,
    /// The session of another user was ended before a login.
    Switched,
    /// An app was given a hub API token for a token of its own.
    TokenIssued,
    /// Such a hub API token was made worthless.
    TokenRevoked,
    /// Sessions of a user were ended.
    SessionEnded,
    /// The hub has not let the user of a redeemed link in.
    LoginFailed,
}

/// Why it happened: the list in SECURITY.md. Refusals are counted under the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditReason {
    /// There is no such token.
    Unknown,
    /// The link was not redeemed in time.
    Expired,
    /// The link was redeemed before.
    Used,
    /// The link was taken back.
    Revoked,
    /// The app's key that issued the link was taken out of the configuration.
    KeyRevoked,
    /// The app is gone, or its rules no longer allow this login.
    NotAllowed,
    /// The link is bound to another browser.
    Bound,
    /// The link is bound to no browser, and only such links work.
    NeedsState,
    /// `next` is bad or not allowed.
    BadNext,
    /// The token store does not answer.
    StoreUnavailable,
    /// The hub does not answer.
    HubUnavailable,
    /// The hub says that it has no time.
    HubBusy,
    /// The hub, or what stands before it, answers what nobody would expect.
    HubUnexpected,
    /// The browser's cookies are more than the hub takes.
    TooManyCookies,
    /// The button was pressed in a browser that does not say on which page.
    ConfirmationUnverified,
    /// The client has come with too many unknown tokens.
    TooManyTries,
    /// The user must be asked, and cannot be asked there.
    ConfirmRequired,
    /// The link is another app's.
    OtherApp,
    /// Issued again under the same `Idempotency-Key`.
    Repeat,
    /// All links of a user were taken back at once.
    AllOfUser,
    /// Issued when it came: the app has signed the token itself.
    SignedByApp,
    /// Issued when it came: the app has told whose its own token is.
    Exchanged,
    /// The app hung up before it had its hub token.
    NotDelivered,
    /// The hub's response to a login is no redirect: its authenticator has refused, or is another.
    HubRefused,
    /// An app ended the sessions by the API.
    Api,
    /// Whoever signs an app's tokens has said that the user has logged out there.
    Backchannel,
    /// The session was over by its own id.
    Over,
}

impl AuditReason {
    /// Those for which a link is refused.
    pub const REFUSALS: [Self; 18] = [
        Self::Unknown,
        Self::Expired,
        Self::Used,
        Self::Revoked,
        Self::KeyRevoked,
        Self::NotAllowed,
        Self::Bound,
        Self::NeedsState,
        Self::BadNext,
        Self::StoreUnavailable,
        Self::HubUnavailable,
        Self::HubBusy,
        Self::HubUnexpected,
        Self::TooManyCookies,
        Self::ConfirmationUnverified,
        Self::TooManyTries,
        Self::ConfirmRequired,
        Self::OtherApp,
    ];

    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Revoked => "revoked",
            Self::KeyRevoked => "key_revoked",
            Self::NotAllowed => "not_allowed",
            Self::Bound => "bound",
            Self::NeedsState => "needs_state",
            Self::BadNext => "bad_next",
            Self::StoreUnavailable => "store_unavailable",
            Self::HubUnavailable => "hub_unavailable",
            Self::HubBusy => "hub_busy",
            Self::HubUnexpected => "hub_unexpected",
            Self::TooManyCookies => "too_many_cookies",
            Self::ConfirmationUnverified => "confirmation_unverified",
            Self::TooManyTries => "too_many_tries",
            Self::ConfirmRequired => "confirm_required",
            Self::OtherApp => "other_app",
            Self::Repeat => "repeat",
            Self::AllOfUser => "all_of_user",
            Self::SignedByApp => "signed_by_app",
            Self::Exchanged => "exchanged",
            Self::NotDelivered => "not_delivered",
            Self::HubRefused => "hub_refused",
            Self::Api => "api",
            Self::Backchannel => "backchannel",
            Self::Over => "over",
        }
    }
}

/// From where something was done, and on which request.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Client<'a> {
    /// The app's address for issue and revoke, the browser's otherwise.
    #[serde(rename = "client_ip", skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The browser's request, as the access log names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
}

impl Client<'_> {
    /// Somebody at `address`.
    pub fn at(address: Option<IpAddr>) -> Self {
        Self { address, request_id: None }
    }
}

/// One line.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    /// When.
    pub timestamp: Timestamp,
    /// What.
    pub event: Event,
    /// The link, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// The app that issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<&'a str>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<&'a str>,
    /// How many, where one line tells of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Who did it.
    #[serde(flatten)]
    pub client: Client<'a>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<AuditReason>,
    /// Of a refused call of the management API: the code of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
}

/// So many bytes has a line, with a user agent's worth of room to spare.
const LINE_BYTES: usize = 512;

/// Where the lines go.
pub struct Audit {
    queue: AuditQueue,
    /// Whether nobody may log in while lines cannot be written.
    required: AtomicBool,
}

impl Audit {
    /// Writes to `sink`, by a thread of its own; `lost` counts the lines that could not be written.
    pub fn new(sink: Box<dyn Write + Send>, required: bool, lost: Counter) -> Self {
        Self { queue: AuditQueue::start(sink, lost), required: AtomicBool::new(required) }
    }

    /// Writes to `sink` from now on.
    pub fn set(&self, sink: Box<dyn Write + Send>) {
        self.queue.set_sink(sink);
    }

    /// Whether nobody may log in while lines cannot be written (`log.audit_required`).
    pub fn set_required(&self, required: bool) {
        self.required.store(required, Ordering::Relaxed);
    }

    /// Writes one line, at once or when its turn comes. A line that cannot be written is told: in the log, in the metrics and
    /// by `/ready`.
    pub fn write(&self, record: &Record<'_>) {
        let mut line = Vec::with_capacity(LINE_BYTES);
        if serde_json::to_writer(&mut line, &AuditLine { audit: true, record }).is_ok() {
            line.push(b'\n');
            self.queue.push(line);
        }
    }

    /// Whether the last line could not be written.
    pub fn is_failing(&self) -> bool {
        self.queue.is_failing()
    }

    /// Whether somebody may log in: not without a trace, where one is required.
    pub fn admits_logins(&self) -> bool {
        !(self.required.load(Ordering::Relaxed) && self.is_failing())
    }

    /// Waits until every line so far has been written; not for ever.
    pub fn flush(&self) {
        self.queue.flush();
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit")
    }
}

/// Tells an audit line from a log line where both go to stderr.
#[derive(Serialize)]
struct AuditLine<'a> {
    audit: bool,
    #[serde(flatten)]
    record: &'a Record<'a>,
}
