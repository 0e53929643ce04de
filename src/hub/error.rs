//! Why a call of the Hub API came to nothing. No error holds a token, a URL or what is not the hub's own words.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `GET /user`: whose a token is.
    WhoAmI,
    /// `GET /users/{name}`.
    ReadUser,
    /// `POST /users/{name}`.
    CreateUser,
    /// `DELETE /users/{name}`.
    DeleteUser,
    /// `GET /users`.
    ListUsers,
    /// `POST /users/{name}/server(s/{server})`.
    StartServer,
    /// `GET /users/{name}/server(s/{server})/progress`.
    ReadProgress,
    /// `POST /users/{name}/tokens`.
    CreateToken,
    /// `GET /users/{name}/tokens`.
    ListTokens,
    /// `GET /users/{name}/tokens/{id}`.
    ReadToken,
    /// `DELETE /users/{name}/tokens/{id}`.
    DeleteToken,
    /// `POST /proxy`.
    CheckRoutes,
    /// `GET /`: its version.
    ReadVersion,
    /// `POST {base}hub/hublatch/sessions`, of our own authenticator.
    EndSessions,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::WhoAmI,
        Self::ReadUser,
        Self::CreateUser,
        Self::DeleteUser,
        Self::ListUsers,
        Self::StartServer,
        Self::ReadProgress,
        Self::CreateToken,
        Self::ListTokens,
        Self::ReadToken,
        Self::DeleteToken,
        Self::CheckRoutes,
        Self::ReadVersion,
        Self::EndSessions,
    ];

    /// The word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WhoAmI => "whoami",
            Self::ReadUser => "read_user",
            Self::CreateUser => "create_user",
            Self::DeleteUser => "delete_user",
            Self::ListUsers => "list_users",
            Self::StartServer => "start_server",
            Self::ReadProgress => "read_progress",
            Self::CreateToken => "create_token",
            Self::ListTokens => "list_tokens",
            Self::ReadToken => "read_token",
            Self::DeleteToken => "delete_token",
            Self::CheckRoutes => "check_routes",
            Self::ReadVersion => "read_version",
            Self::EndSessions => "end_sessions",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WhoAmI => "ask the hub whose a token is",
            Self::ReadUser => "read a user at the hub",
            Self::CreateUser => "create a user at the hub",
            Self::DeleteUser => "remove a user at the hub",
            Self::ListUsers => "list the users at the hub",
            Self::StartServer => "start a server at the hub",
            Self::ReadProgress => "read a server's progress at the hub",
            Self::CreateToken => "create a token at the hub",
            Self::ListTokens => "list a user's tokens at the hub",
            Self::ReadToken => "read a token at the hub",
            Self::DeleteToken => "delete a token at the hub",
            Self::CheckRoutes => "ask the hub to write its routes",
            Self::ReadVersion => "ask the hub for its version",
            Self::EndSessions => "end a user's sessions at the hub",
        })
    }
}

/// Why a call came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HubError {
    /// The call needs `hub.api_token`, and there is none.
    #[error("{call}: hub.api_token_file is not configured")]
    NoToken {
        /// Which call.
        call: Call,
    },
    /// No connection, or one that broke.
    #[error("{call}: the hub is out of reach: {cause}")]
    Unreachable {
        /// Which call.
        call: Call,
        /// What went wrong.
        cause: String,
    },
    /// Not all of a response came within `limits.hub_api_timeout`. The hub may have done what it was asked.
    #[error("{call}: the hub did not answer in time")]
    TimedOut {
        /// Which call.
        call: Call,
    },
    /// The hub says no (4xx), in words of its own.
    #[error("{call}: the hub answers {}: {message}", status.as_u16())]
    Refused {
        /// Which call.
        call: Call,
        /// With which status: 400, 403, 404, 409, 424, 429.
        status: StatusCode,
        /// The hub's words; its status's name if it has none.
        message: String,
        /// When to come again.
        retry_after: Option<Duration>,
    },
    /// The hub, or the proxy before it, failed (5xx).
    #[error("{call}: the hub answers {}{}", status.as_u16(), message.as_ref().map_or(String::new(), |said| format!(": {said}")))]
    Failed {
        /// Which call.
        call: Call,
        /// With which status.
        status: StatusCode,
        /// The hub's words, if they are the hub's.
        message: Option<String>,
        /// When to come again.
        retry_after: Option<Duration>,
    },
    /// The response is not one that a hub gives: a page, another program's JSON, a redirect, or too long.
    #[error("{call}: status {} with {what}, which is not the hub's answer; is hub.api_url right?", status.as_u16())]
    Unreadable {
        /// Which call.
        call: Call,
        /// With which status.
        status: StatusCode,
        /// What came in its place.
        what: &'static str,
    },
}

impl HubError {
    /// The status for the client whose request led to the call: 502 for a hub that makes no sense, 503 for one that is
    /// not there or busy, 504 for one that is slow (RFC 9110 § 15.6). A caller interprets refusals itself; one that it
    /// does not expect is 502.
    pub fn gateway_status(&self) -> StatusCode {
        match self {
            Self::NoToken { .. } | Self::Unreachable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed { status, .. } | Self::Refused { status, .. } => match *status {
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                StatusCode::GATEWAY_TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            },
            Self::Unreadable { .. } => StatusCode::BAD_GATEWAY,
        }
    }

    /// The status with which the hub itself said no.
    pub fn refused_with(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::NoToken { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Failed { .. }
            | Self::Unreadable { .. } => None,
        }
    }

    /// Whether the hub starts no server now because too many start or run: the same start may be accepted later.
    pub fn is_want_of_room(&self) -> bool {
        matches!(self, Self::Refused { call: Call::StartServer, status, .. }
            if *status == StatusCode::TOO_MANY_REQUESTS)
    }

    /// The hub's own words, where it has said any: for the user's eyes.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Refused { message, .. } => Some(message),
            Self::Failed { message, .. } => message.as_deref(),
            Self::NoToken { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unreadable { .. } => None,
        }
    }

    /// When the hub wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Failed { retry_after, .. } => *retry_after,
            Self::NoToken { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unreadable { .. } => None,
        }
    }

    /// The words for metrics, all of them.
    pub(super) const WORDS: [&'static str; 6] =
        ["no_token", "unreachable", "timed_out", "refused", "failed", "unreadable"];

    /// The word for metrics.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::NoToken { .. } => "no_token",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}
