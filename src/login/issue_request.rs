//! What an app asks for, what it gets, and why it may get nothing.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::next::NextError;
use crate::store::{Link, StoreError};
use crate::token::{LinkId, NoRandomness, OpaqueToken, ServerName, State, Username, UsernameError};

/// The most bytes that groups and claims of one grant may take as JSON: the assertion travels in a header, and
/// configurable-http-proxy takes 16 KiB of headers in all.
const CLAIMS_BYTES_MAX: usize = 4096;

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkDestination {
    /// To the link's own query, or else where the hub decides.
    HubDecides,
    /// To a path on the public origin.
    Next(String),
    /// To a path inside the user's server, which is started if need be.
    Path {
        /// Path inside the server, with its query: `lab/tree/x.ipynb`.
        path: String,
        /// Name of the server; none: the default one.
        server: Option<String>,
    },
}

/// What an app asks for.
#[derive(Debug, Clone)]
pub struct IssueRequest {
    /// Who is to be logged in.
    pub username: String,
    /// Where the browser goes.
    pub destination: LinkDestination,
    /// Life of the token; none: the default.
    pub expires_in: Option<Duration>,
    /// Whether the link always asks first.
    pub confirm: bool,
    /// Hub groups of the user.
    pub groups: Option<Vec<String>>,
    /// Further claims for the hub's `auth_state`.
    pub claims: Option<Map<String, Value>>,
    /// The app's own remark.
    pub note: Option<String>,
    /// The browser in which alone the link will work.
    pub state: Option<State>,
    /// How long the session lasts that the link begins; none: as long as the app's rules say.
    pub session_expires_in: Option<Duration>,
    /// Whether the server is started for this link, so that the browser waits for it.
    pub launch: bool,
}

/// A request that was judged, with the token of its link; nothing is stored yet.
#[derive(Debug)]
pub struct PreparedLink {
    pub(super) link: Link,
    pub(super) login_token: OpaqueToken,
    pub(super) lifetime: Duration,
}

impl PreparedLink {
    /// Who will be logged in.
    pub fn username(&self) -> &Username {
        &self.link.grant.username
    }

    /// The server to start, if the request wants one.
    pub fn launch(&self) -> Option<&ServerName> {
        self.link.grant.launch.as_ref()
    }
}

/// A link, just issued.
#[derive(Debug)]
pub struct IssuedLink {
    /// Its public name.
    pub id: LinkId,
    /// The link itself.
    pub url: String,
    /// The secret in it.
    pub login_token: OpaqueToken,
    /// Who will be logged in.
    pub username: Username,
    /// Where the link leads.
    pub next: Option<String>,
    /// Life of the token.
    pub expires_in: Duration,
    /// End of its life.
    pub expires_at: Timestamp,
}

/// Why no link was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The name cannot be a user name.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// The app may not log this user in.
    #[error("the rules of app {app:?} do not allow the user {username}")]
    UserNotAllowed {
        /// The app.
        app: String,
        /// The user.
        username: Username,
    },
    /// `next`, `path` or `server` is bad or not allowed.
    #[error(transparent)]
    Next(#[from] NextError),
    /// The life asked for is zero or above the app's maximum.
    #[error("expires_in must be from 1 to {max_seconds} seconds")]
    Lifetime {
        /// The app's maximum.
        max_seconds: u64,
    },
    /// The session asked for is too short, or longer than the app's rules say.
    #[error("session_expires_in must be from {min_seconds}{} seconds", max_seconds.map_or_else(|| " up".to_owned(), |max| format!(" to {max}")))]
    Session {
        /// The shortest.
        min_seconds: u64,
        /// The app's maximum, if there is one.
        max_seconds: Option<u64>,
    },
    /// Sessions cannot end by themselves here.
    #[error(
        "session_expires_in needs [assertion]: without it, as with [hub_oauth], hublatch gives the hub no session id"
    )]
    NoSessions,
    /// The configuration was replaced while the call was under way, and knows the caller no more.
    #[error("the app or its key may issue links no more: the configuration has changed")]
    NoLongerAuthorized,
    /// Only links with a `state` work here.
    #[error("state is required: links without one do not work here (login.require_state)")]
    StateRequired,
    /// The app may not say of which groups its users are, or not of these.
    #[error("the app's rules do not allow it to say that a user is in these groups (groups in [[apps]])")]
    GroupsNotAllowed,
    /// The app may not make claims about its users.
    #[error("the app's rules do not allow it to make claims (claims in [[apps]])")]
    ClaimsNotAllowed,
    /// Groups and claims are too large for a header.
    #[error("groups and claims take more than {CLAIMS_BYTES_MAX} bytes")]
    ClaimsTooLarge,
    /// The app issues faster than it may.
    #[error("the app issues links faster than its rate")]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many links of the app wait to be used.
    #[error("too many of the app's links wait to be used (max_live_links)")]
    TooManyLive {
        /// When one of them expires.
        retry_after: Duration,
    },
    /// The idempotency key's link was redeemed or revoked.
    #[error("the link of this Idempotency-Key was redeemed or revoked")]
    RepeatOfEnded,
    /// The idempotency key came with another body before.
    #[error("this Idempotency-Key was used with another request")]
    RepeatDiffers,
    /// The store is full.
    #[error("there are too many live links (store.max_tokens)")]
    Full,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// A request that was refused, and which one of a batch it was.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct RefusedRequest {
    /// Its place in the batch, from 0; none: the batch as a whole.
    pub index: Option<usize>,
    /// Why.
    #[source]
    pub cause: IssueError,
}

impl RefusedRequest {
    pub(super) fn whole(cause: IssueError) -> Self {
        Self { index: None, cause }
    }
}

/// Whether groups and claims are small enough for the assertion.
pub(super) fn fits_a_header(groups: Option<&[String]>, claims: Option<&Map<String, Value>>) -> bool {
    json_bytes(&groups) + json_bytes(&claims) <= CLAIMS_BYTES_MAX
}

/// The size of a value as JSON, in bytes.
fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(CLAIMS_BYTES_MAX + 1, |json| json.len())
}
