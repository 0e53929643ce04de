//! The statuses, codes and sentences for what other modules have refused.

use hyper::StatusCode;

use super::FaultPlace;
use crate::api::member_error::MemberFault;
use crate::hub::{Call, HubError};
use crate::login::issue_request::IssueError;
use crate::login::next::NextError;
use crate::login::{EndError, Refusal, RefusalReason};
use crate::store::StoreError;

pub(super) const STORE_UNAVAILABLE: (StatusCode, &str) =
    (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable");

/// What the hub says to a token that is nobody's: `needs_scope` in `jupyterhub/scopes.py`, 4.1 to 6.1.
const NO_CREDENTIALS: &str = "Missing or invalid credentials";

/// 502: it makes no sense, or says no to us; 503: it is not there, or busy; 504: it is slow.
pub(in crate::api) fn hub_status_and_code(error: &HubError) -> (StatusCode, &'static str) {
    let status = error.gateway_status();
    let code = match status {
        StatusCode::SERVICE_UNAVAILABLE => "hub_unavailable",
        StatusCode::GATEWAY_TIMEOUT => "hub_timeout",
        _ => "hub_error",
    };
    (status, code)
}

/// A hub that does not know our call, or our signature, is an operator's fault.
pub(super) fn end_status_and_code(error: &EndError) -> (StatusCode, &'static str) {
    match error {
        EndError::NoAssertion => (StatusCode::NOT_IMPLEMENTED, "no_assertion"),
        EndError::UserNotAllowed { .. } => (StatusCode::FORBIDDEN, "username_not_allowed"),
        EndError::Assertion(_) => (StatusCode::INTERNAL_SERVER_ERROR, "no_assertion"),
        EndError::Hub(error) => hub_status_and_code(error),
        EndError::Store(StoreError::Unavailable(_)) => STORE_UNAVAILABLE,
        EndError::NoRandomness(_) => (StatusCode::SERVICE_UNAVAILABLE, "no_randomness"),
        EndError::BrokenOff => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    }
}

pub(super) fn member_code(fault: MemberFault) -> &'static str {
    match fault {
        MemberFault::Unknown => "unknown_field",
        MemberFault::Missing => "missing_field",
        MemberFault::Invalid(_) => "invalid_field",
        MemberFault::Conflict(_) => "conflicting_fields",
        MemberFault::Unavailable(_) => "unsupported_field",
    }
}

pub(super) fn issue_status_and_code(cause: &IssueError, by_path: bool) -> (StatusCode, &'static str) {
    match cause {
        IssueError::Username(_) => (StatusCode::BAD_REQUEST, "invalid_username"),
        IssueError::UserNotAllowed { .. } => (StatusCode::FORBIDDEN, "username_not_allowed"),
        IssueError::Next(NextError::ServerName | NextError::ServerSlug) => {
            (StatusCode::BAD_REQUEST, "invalid_server")
        }
        IssueError::Next(NextError::NotAllowed) if by_path => (StatusCode::FORBIDDEN, "path_not_allowed"),
        IssueError::Next(NextError::NotAllowed) => (StatusCode::FORBIDDEN, "next_not_allowed"),
        IssueError::Next(_) if by_path => (StatusCode::BAD_REQUEST, "invalid_path"),
        IssueError::Next(_) => (StatusCode::BAD_REQUEST, "invalid_next"),
        IssueError::Lifetime { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_expires_in"),
        IssueError::Session { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_session_expires_in"),
        IssueError::NoSessions => (StatusCode::UNPROCESSABLE_ENTITY, "unsupported_field"),
        IssueError::NoLongerAuthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
        IssueError::StateRequired => (StatusCode::UNPROCESSABLE_ENTITY, "state_required"),
        IssueError::GroupsNotAllowed => (StatusCode::FORBIDDEN, "groups_not_allowed"),
        IssueError::ClaimsNotAllowed => (StatusCode::FORBIDDEN, "claims_not_allowed"),
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
pub(super) fn launch_status_and_code(cause: &HubError) -> (StatusCode, &'static str) {
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

/// The cause; and what it means where the hub, saying no to our own token, speaks of credentials as if they were the app's.
pub(super) fn launch_message(place: FaultPlace, cause: &HubError) -> String {
    let place = if let FaultPlace::Link(index) = place { format!("links[{index}]: ") } else { String::new() };
    let unknown = cause.refused_with() == Some(StatusCode::FORBIDDEN)
        && cause.message().is_some_and(|said| said.starts_with(NO_CREDENTIALS));
    let meaning = if unknown {
        " (the hub does not know the token in hub.api_token_file; see hublatch doctor)"
    } else {
        ""
    };
    format!("{place}{cause}{meaning}")
}

/// 404 and 400 as in `JupyterHub`'s forced-login example; the rest as for an app.
pub(in crate::api) fn refusal_status_and_code(refusal: &Refusal) -> (StatusCode, &'static str) {
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
        Refusal::Store(StoreError::Unavailable(_)) | Refusal::Exchange(StoreError::Unavailable(_)) => {
            STORE_UNAVAILABLE
        }
    }
}

/// The field of the order that is at fault, if it is one.
pub(super) fn issue_field(cause: &IssueError, by_path: bool) -> Option<&'static str> {
    Some(match cause {
        IssueError::Username(_) | IssueError::UserNotAllowed { .. } => "username",
        IssueError::Next(NextError::ServerName | NextError::ServerSlug) => "server",
        IssueError::Next(_) if by_path => "path",
        IssueError::Next(_) => "next",
        IssueError::Lifetime { .. } => "expires_in",
        IssueError::Session { .. } | IssueError::NoSessions => "session_expires_in",
        IssueError::StateRequired => "state",
        IssueError::GroupsNotAllowed => "groups",
        IssueError::ClaimsTooLarge | IssueError::ClaimsNotAllowed => "claims",
        IssueError::NoLongerAuthorized
        | IssueError::RateLimited { .. }
        | IssueError::TooManyLive { .. }
        | IssueError::RepeatOfEnded
        | IssueError::RepeatDiffers
        | IssueError::Full
        | IssueError::Store(_)
        | IssueError::NoRandomness(_) => return None,
    })
}

/// The cause, with the field's name where a batch leaves it open, and in the words of the field that was sent.
pub(super) fn issue_message(place: FaultPlace, cause: &IssueError, by_path: bool) -> String {
    let Some(field) = issue_field(cause, by_path) else { return cause.to_string() };
    let message = if let (IssueError::Next(error), true) = (cause, by_path) {
        path_message(*error)
    } else {
        cause.to_string()
    };
    match place {
        FaultPlace::Body => message,
        FaultPlace::Link(_) => format!("{place}{field}: {message}"),
    }
}

fn path_message(error: NextError) -> String {
    match error {
        NextError::TooLong | NextError::TooLongForHub => error.to_string().replacen("next", "path", 1),
        NextError::NotAPath | NextError::OtherOrigin | NextError::OutsideBase => {
            "path must stay inside the user's server".to_owned()
        }
        NextError::ControlCharacter => "path holds a control character".to_owned(),
        NextError::HoldsToken => "path holds a login token".to_owned(),
        NextError::NotAllowed => "the app's rules do not allow this path".to_owned(),
        NextError::WholeAddress | NextError::NamesServer | NextError::ServerName | NextError::ServerSlug => {
            error.to_string()
        }
    }
}
