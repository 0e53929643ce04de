//! Every way in which a call can fail, and its answer: `{"status":…,"message":"…","code":"…"}`.
//!
//! Codes are words that programs may rely on; messages are for people and may change.

use std::fmt;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::json::{Fault, MemberError};
use super::{Answer, allow, json_answer};
use crate::config::Scope;
use crate::hub::{Call, HubError};
use crate::login::next::NextError;
use crate::login::order::IssueError;
use crate::login::{NoIssuer, Refusal, RefusalReason};
use crate::store::StoreError;
use crate::token::UsernameError;

/// Where in the body a fault lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the body's own object.
    Body,
    /// In one order of a batch.
    Link(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => Ok(()),
            Self::Link(index) => write!(f, "links[{index}]."),
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("there is no such path; see /api/v1/openapi.yaml")]
    NoSuchPath,
    #[error("this path takes {allow}")]
    MethodNotAllowed { allow: String },
    #[error("the management API does not answer browsers; call it from your server")]
    BrowserRequest,
    #[error(
        "this host name is not known to be ours; call by address or by the public URL's host, or send a key"
    )]
    HostNotAllowed,
    #[error("{}", if *key_given { "this key is not known" } else { "send \"Authorization: token KEY\"" })]
    Unauthenticated { key_given: bool },
    #[error("{0}")]
    NotListed(NoIssuer),
    #[error("hub tokens are not looked at here: the configuration has no [hub_tokens]")]
    NoHubTokens,
    #[error("the hub does not know this token")]
    NoSuchToken,
    #[error("{0}")]
    NotAdmitted(&'static str),
    #[error("{name:?}: {wrong}")]
    BadParameter { name: String, wrong: &'static str },
    #[error("{0}")]
    Hub(HubError),
    #[error("the scopes of app {app:?} do not include {}", scope_word(*scope))]
    Scope { app: String, scope: Scope },
    #[error("send the body as \"Content-Type: application/json\"")]
    NotJson,
    #[error("send the parameters in the body, as \"Content-Type: application/x-www-form-urlencoded\"")]
    NotForm,
    #[error("the body is larger than {bytes_max} bytes")]
    BodyTooLarge { bytes_max: usize },
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("the body broke off: {0}")]
    BodyBroken(Box<dyn std::error::Error + Send + Sync>),
    #[error("the body is not JSON: {0}")]
    UnreadableJson(serde_json::Error),
    #[error("{0}")]
    TwiceNamed(serde_json::Error),
    #[error("the body must be a JSON object")]
    NotAnObject,
    #[error("links[{index}]: must be an object")]
    NotAnOrder { index: usize },
    #[error("{place}{}: {}", error.name, error.fault)]
    Member { place: Place, error: MemberError },
    #[error("{}", issue_message(*place, cause, *by_path))]
    Issue { place: Place, cause: IssueError, by_path: bool },
    #[error("an Idempotency-Key is one line of 1 to 255 visible ASCII characters")]
    BadIdempotencyKey,
    #[error("a batch takes no Idempotency-Key; send single links, or leave the header out")]
    IdempotencyKeyOnBatch,
    #[error("the app's rate allows at most {at_once_max} links at once; send smaller batches")]
    BatchAboveRate { at_once_max: usize },
    #[error("the user name in the path is not UTF-8")]
    NameNotUtf8,
    #[error("{0}")]
    Username(UsernameError),
    #[error("there is no such link of this app")]
    NoSuchLink,
    #[error("no server was launched for this link")]
    NotLaunched,
    #[error("{}{cause}", if let Place::Link(index) = place { format!("links[{index}]: ") } else { String::new() })]
    Launch { place: Place, cause: HubError },
    #[error("{error}; {done}")]
    HalfDone { error: Box<ApiError>, done: String },
    #[error("the link was used before")]
    LinkUsed,
    #[error("{0}")]
    Refused(Refusal),
    #[error("this link asks its user first, which only a browser can show")]
    ConfirmRequired,
    #[error("{0}")]
    Store(#[from] StoreError),
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    status: u16,
    message: String,
    code: &'a str,
}

impl ApiError {
    /// A field that cannot be taken.
    pub(super) fn member(place: Place, error: MemberError) -> Self {
        Self::Member { place, error }
    }

    /// An order that was refused; `by_path`: it named a path or a server instead of `next`.
    pub(super) fn issue(place: Place, cause: IssueError, by_path: bool) -> Self {
        Self::Issue { place, cause, by_path }
    }

    /// The answer.
    pub(super) fn into_answer(self) -> Answer {
        let (status, code) = self.status_and_code();
        if status.is_server_error() {
            tracing::error!(code, error = %self, "management API");
        }
        let json = ErrorJson { status: status.as_u16(), message: self.to_string(), code };
        let mut answer = json_answer(status, &json);
        if let Self::MethodNotAllowed { allow: methods } = &self {
            allow(&mut answer, methods);
        }
        if let Self::Unauthenticated { key_given } = self {
            // RFC 6750 § 3: a request without any credentials is not told of an error.
            let challenge = if key_given {
                "Bearer realm=\"hublatch\", error=\"invalid_token\""
            } else {
                "Bearer realm=\"hublatch\""
            };
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(retry_after) = self.retry_after() {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        answer
    }

    /// When it is worth trying again, where that is known.
    fn retry_after(&self) -> Option<Duration> {
        if let Self::Issue {
            cause: IssueError::RateLimited { retry_after } | IssueError::TooManyLive { retry_after },
            ..
        } = self
        {
            Some(*retry_after)
        } else if let Self::Launch { cause, .. } | Self::Hub(cause) = self {
            cause.retry_after()
        } else if let Self::HalfDone { error, .. } = self {
            error.retry_after()
        } else {
            None
        }
    }

    pub(super) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::BrowserRequest => (StatusCode::FORBIDDEN, "browser_request"),
            Self::HostNotAllowed => (StatusCode::FORBIDDEN, "host_not_allowed"),
            Self::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NotListed(_) => (StatusCode::FORBIDDEN, "owner_not_listed"),
            Self::NoHubTokens => (StatusCode::NOT_FOUND, "no_hub_tokens"),
            Self::NoSuchToken => (StatusCode::NOT_FOUND, "unknown"),
            Self::NotAdmitted(_) => (StatusCode::FORBIDDEN, "not_admitted"),
            Self::BadParameter { .. } => (StatusCode::BAD_REQUEST, "invalid_parameter"),
            Self::Hub(error) => hub_status_and_code(error),
            Self::Scope { .. } => (StatusCode::FORBIDDEN, "insufficient_scope"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::NotForm => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::BodyBroken(_) => (StatusCode::BAD_REQUEST, "body_broken"),
            Self::UnreadableJson(_) => (StatusCode::BAD_REQUEST, "invalid_json"),
            Self::TwiceNamed(_) | Self::NotAnObject | Self::NotAnOrder { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_field")
            }
            Self::Member { error, .. } => (StatusCode::UNPROCESSABLE_ENTITY, member_code(error.fault)),
            Self::Issue { cause, by_path, .. } => issue_status_and_code(cause, *by_path),
            Self::BadIdempotencyKey | Self::IdempotencyKeyOnBatch => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_idempotency_key")
            }
            Self::BatchAboveRate { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "batch_above_rate"),
            Self::NameNotUtf8 | Self::Username(_) => (StatusCode::BAD_REQUEST, "invalid_username"),
            Self::NoSuchLink => (StatusCode::NOT_FOUND, "link_not_found"),
            Self::NotLaunched => (StatusCode::NOT_FOUND, "not_launched"),
            Self::Launch { cause, .. } => launch_status_and_code(cause),
            Self::HalfDone { error, .. } => error.status_and_code(),
            Self::LinkUsed => (StatusCode::CONFLICT, "link_used"),
            Self::Refused(refusal) => refusal_status_and_code(refusal),
            Self::ConfirmRequired => (StatusCode::FORBIDDEN, "confirm_required"),
            Self::Store(StoreError::Unavailable(_)) => STORE_UNAVAILABLE,
        }
    }
}

const STORE_UNAVAILABLE: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable");

/// 502: it makes no sense, or says no to us; 503: it is not there, or busy; 504: it is slow.
pub(super) fn hub_status_and_code(error: &HubError) -> (StatusCode, &'static str) {
    let status = error.gateway_status();
    let code = match status {
        StatusCode::SERVICE_UNAVAILABLE => "hub_unavailable",
        StatusCode::GATEWAY_TIMEOUT => "hub_timeout",
        _ => "hub_error",
    };
    (status, code)
}

fn member_code(fault: Fault) -> &'static str {
    match fault {
        Fault::Unknown => "unknown_field",
        Fault::Missing => "missing_field",
        Fault::Invalid(_) => "invalid_field",
        Fault::Conflict(_) => "conflicting_fields",
        Fault::Unavailable(_) => "unsupported_field",
    }
}

fn issue_status_and_code(cause: &IssueError, by_path: bool) -> (StatusCode, &'static str) {
    match cause {
        IssueError::Username(_) => (StatusCode::BAD_REQUEST, "invalid_username"),
        IssueError::UserNotAllowed { .. } => (StatusCode::FORBIDDEN, "username_not_allowed"),
        IssueError::Next(NextError::ServerName) => (StatusCode::BAD_REQUEST, "invalid_server"),
        IssueError::Next(NextError::NotAllowed) if by_path => (StatusCode::FORBIDDEN, "path_not_allowed"),
        IssueError::Next(NextError::NotAllowed) => (StatusCode::FORBIDDEN, "next_not_allowed"),
        IssueError::Next(_) if by_path => (StatusCode::BAD_REQUEST, "invalid_path"),
        IssueError::Next(_) => (StatusCode::BAD_REQUEST, "invalid_next"),
        IssueError::Lifetime { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_expires_in"),
        IssueError::StateRequired => (StatusCode::UNPROCESSABLE_ENTITY, "state_required"),
        IssueError::MayNotVouch => (StatusCode::FORBIDDEN, "claims_not_allowed"),
        IssueError::ClaimsTooLarge => (StatusCode::UNPROCESSABLE_ENTITY, "claims_too_large"),
        IssueError::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
        IssueError::TooManyLive { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_live_links"),
        IssueError::RepeatOfEnded => (StatusCode::CONFLICT, "idempotency_key_ended"),
        IssueError::RepeatDiffers => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
        IssueError::Full => (StatusCode::SERVICE_UNAVAILABLE, "store_full"),
        IssueError::Store(StoreError::Unavailable(_)) => STORE_UNAVAILABLE,
        IssueError::NoRandomness(_) => (StatusCode::SERVICE_UNAVAILABLE, "no_randomness"),
    }
}

/// What the hub refuses to an app is the app's to know; what it refuses to us is an operator's, and no fault of the app.
fn launch_status_and_code(cause: &HubError) -> (StatusCode, &'static str) {
    match cause {
        HubError::Refused { call: Call::StartServer, status, .. }
            if *status == StatusCode::TOO_MANY_REQUESTS =>
        {
            (StatusCode::TOO_MANY_REQUESTS, "server_limit")
        }
        HubError::Refused { status, .. } if *status == StatusCode::FORBIDDEN => {
            (StatusCode::BAD_GATEWAY, "hub_forbidden")
        }
        HubError::Refused { call: Call::StartServer | Call::CreateUser, .. } => {
            (StatusCode::CONFLICT, "server_refused")
        }
        HubError::Failed { call: Call::StartServer, message: Some(_), status, .. }
            if *status != StatusCode::SERVICE_UNAVAILABLE =>
        {
            (StatusCode::BAD_GATEWAY, "server_failed")
        }
        HubError::NoToken { .. }
        | HubError::Unreachable { .. }
        | HubError::TimedOut { .. }
        | HubError::Refused { .. }
        | HubError::Failed { .. }
        | HubError::Unreadable { .. } => match cause.gateway_status() {
            StatusCode::SERVICE_UNAVAILABLE => (StatusCode::SERVICE_UNAVAILABLE, "hub_unavailable"),
            StatusCode::GATEWAY_TIMEOUT => (StatusCode::GATEWAY_TIMEOUT, "hub_timeout"),
            _ => (StatusCode::BAD_GATEWAY, "hub_error"),
        },
    }
}

/// 404 and 400 as in `JupyterHub`'s forced-login example; the rest as for an app.
pub(super) fn refusal_status_and_code(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::Link { reason, .. } => match reason {
            RefusalReason::Unknown => (StatusCode::NOT_FOUND, "unknown"),
            RefusalReason::Used => (StatusCode::NOT_FOUND, "used"),
            RefusalReason::Revoked | RefusalReason::KeyRevoked => (StatusCode::NOT_FOUND, "revoked"),
            RefusalReason::Expired => (StatusCode::BAD_REQUEST, "expired"),
            RefusalReason::NotAllowed => (StatusCode::FORBIDDEN, "not_allowed"),
            RefusalReason::Bound => (StatusCode::FORBIDDEN, "bound"),
            RefusalReason::NeedsState => (StatusCode::FORBIDDEN, "needs_state"),
        },
        Refusal::Next { error: NextError::NotAllowed, .. } => (StatusCode::FORBIDDEN, "not_allowed"),
        Refusal::Next { .. } => (StatusCode::BAD_REQUEST, "invalid_next"),
        Refusal::Store(StoreError::Unavailable(_)) => STORE_UNAVAILABLE,
    }
}

/// The cause, with the field's name where a batch leaves it open, and in the words of the field that was sent.
fn issue_message(place: Place, cause: &IssueError, by_path: bool) -> String {
    let field = match cause {
        IssueError::Username(_) | IssueError::UserNotAllowed { .. } => "username",
        IssueError::Next(NextError::ServerName) => "server",
        IssueError::Next(_) if by_path => "path",
        IssueError::Next(_) => "next",
        IssueError::Lifetime { .. } => "expires_in",
        IssueError::StateRequired => "state",
        IssueError::ClaimsTooLarge | IssueError::MayNotVouch => "claims",
        IssueError::RateLimited { .. }
        | IssueError::TooManyLive { .. }
        | IssueError::RepeatOfEnded
        | IssueError::RepeatDiffers
        | IssueError::Full
        | IssueError::Store(_)
        | IssueError::NoRandomness(_) => return cause.to_string(),
    };
    let message = if let (IssueError::Next(error), true) = (cause, by_path) {
        path_message(*error)
    } else {
        cause.to_string()
    };
    match place {
        Place::Body => message,
        Place::Link(_) => format!("{place}{field}: {message}"),
    }
}

fn path_message(error: NextError) -> String {
    match error {
        NextError::TooLong => "path is too long".to_owned(),
        NextError::NotAPath | NextError::OtherOrigin | NextError::OutsideBase => {
            "path must stay inside the user's server".to_owned()
        }
        NextError::ControlCharacter => "path holds a control character".to_owned(),
        NextError::HoldsToken => "path holds a login token".to_owned(),
        NextError::NotAllowed => "the app's rules do not allow this path".to_owned(),
        NextError::ServerName => error.to_string(),
    }
}

fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Issue => "issue",
        Scope::Read => "read",
        Scope::Revoke => "revoke",
    }
}

/// Retry-After counts in whole seconds (RFC 9110 § 10.2.3): too late is polite, too early is refused again.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}
