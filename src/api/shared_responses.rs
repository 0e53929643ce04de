//! The responses that endpoints share, as the document says them, and the errors that stand in them as examples.

use std::time::Duration;

use hyper::StatusCode;

use super::body::SMALL_BYTES_MAX;
use super::document::{ResponseDoc, SharedResponse};
use super::error::{ApiError, FaultPlace};
use super::member_error::{MemberError, MemberFault};
use super::oauth::{BASIC_CHALLENGE, OAuthError};
use super::schema::{integer, text};
use crate::hub::{Call, HubError};
use crate::login::hub_token_exchange::ExchangeError;
use crate::login::issue_request::IssueError;
use crate::login::next::NextError;
use crate::login::{Refusal, RefusalReason};
use crate::token::{Username, UsernameError};

pub(super) const BAD_ORDER: SharedResponse = SharedResponse {
    name: "BadOrder",
    status: StatusCode::BAD_REQUEST,
    response: || {
        ResponseDoc::error(
            "The body is not JSON (`invalid_json`) or broke off (`body_broken`), or the order names \
            no user (`invalid_username`) or no place (`invalid_next`, `invalid_path`, \
            `invalid_server`).",
        )
        .when(
            "username",
            ApiError::issue(FaultPlace::Body, IssueError::Username(UsernameError::UpperCase), false),
        )
        .when("batch", ApiError::issue(FaultPlace::Link(3), IssueError::Next(NextError::OtherOrigin), false))
    },
};

pub(super) const NO_KEY: SharedResponse = SharedResponse {
    name: "NoKey",
    status: StatusCode::UNAUTHORIZED,
    response: || {
        ResponseDoc::error("No key, one that is not known, or one sent by another scheme (`unauthorized`).")
            .when("unknown", ApiError::Unauthenticated { key_given: true })
            .header("WWW-Authenticate", "", text())
    },
};

pub(super) const NOT_ALLOWED: SharedResponse = SharedResponse {
    name: "NotAllowed",
    status: StatusCode::FORBIDDEN,
    response: || {
        ResponseDoc::error(
            "A rule of the app (`username_not_allowed`, `next_not_allowed`, `path_not_allowed`, \
            `insufficient_scope`), a hub token whose owner may not issue links by it \
            (`owner_not_listed`), groups or claims that the app may not say (`groups_not_allowed`, \
            `claims_not_allowed`), a browser (`browser_request`), or, without a key, a foreign host \
            name (`host_not_allowed`).",
        )
        .when("user", not_allowed())
    },
};

pub(super) const NO_SUCH_LINK: SharedResponse = SharedResponse {
    name: "NoSuchLink",
    status: StatusCode::NOT_FOUND,
    response: || {
        ResponseDoc::error(
            "This app has no such link, or it ended more than 10 minutes ago (`link_not_found`).",
        )
        .when("unknown", ApiError::NoSuchLink)
    },
};

pub(super) const TOO_SLOW: SharedResponse = SharedResponse {
    name: "TooSlow",
    status: StatusCode::REQUEST_TIMEOUT,
    response: || {
        ResponseDoc::error("The body did not arrive in time (`body_timeout`).")
            .when("slow", ApiError::BodyTimeout)
    },
};

pub(super) const TOO_LARGE: SharedResponse = SharedResponse {
    name: "TooLarge",
    status: StatusCode::PAYLOAD_TOO_LARGE,
    response: || {
        ResponseDoc::error("The body is too large (`body_too_large`).")
            .when("large", ApiError::BodyTooLarge { bytes_max: SMALL_BYTES_MAX })
    },
};

pub(super) const NOT_JSON: SharedResponse = SharedResponse {
    name: "NotJson",
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    response: || {
        ResponseDoc::error(
            "The body is not sent as JSON (`unsupported_media_type`), or compressed \
            (`unsupported_encoding`).",
        )
        .when("form", ApiError::NotJson)
        .header("Accept-Encoding", "`identity`, where the body was compressed.", text())
    },
};

pub(super) const BAD_FIELD: SharedResponse = SharedResponse {
    name: "BadField",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    response: || {
        ResponseDoc::error(
            "A field that is not known (`unknown_field`), has the wrong type or range \
            (`invalid_field`), is missing (`missing_field`), contradicts another \
            (`conflicting_fields`), is missing because `login.require_state` is on \
            (`state_required`) or needs what is not configured (`unsupported_field`); a life above \
            the maximum (`invalid_expires_in`); too many claims (`claims_too_large`); an \
            Idempotency-Key that is malformed (`invalid_idempotency_key`) or was sent with another \
            body (`idempotency_key_reused`); a batch above the app's rate (`batch_above_rate`).",
        )
        .when(
            "unknown",
            ApiError::member(FaultPlace::Body, MemberError::new("expires", MemberFault::Unknown)),
        )
    },
};

pub(super) const TOO_FAST: SharedResponse = SharedResponse {
    name: "TooFast",
    status: StatusCode::TOO_MANY_REQUESTS,
    response: || {
        ResponseDoc::error(
            "The app issues links faster than its rate (`rate_limited`), too many of its links wait \
            to be used (`too_many_live_links`), or the hub has no room for another server and no \
            start may wait for it (`server_limit`; the hub may not say for how long).",
        )
        .when("fast", issue(IssueError::RateLimited { retry_after: Duration::from_secs(1) }))
        .header("Retry-After", "Seconds.", integer())
    },
};

pub(super) const OAUTH_REFUSED: SharedResponse = SharedResponse {
    name: "OAuthRefused",
    status: StatusCode::BAD_REQUEST,
    response: || {
        ResponseDoc::oauth_error(
            "`invalid_request`: malformed, or `subject_token` is not good (`code` says why: \
            `unknown`, `expired`, `used`, `revoked`, `not_allowed`, `bound`, `confirm_required`), or \
            the hub does not know its user (`no_such_user`); `invalid_scope`: a scope that the app \
            may not have, or its user does not; `unauthorized_client`: the app may have no hub \
            tokens; `unsupported_grant_type`; `invalid_target`. Nothing was consumed.",
        )
        .when_oauth("used", &ExchangeError::Subject(refused(RefusalReason::Used)).into())
    },
};

pub(super) const NO_HUB_OAUTH: SharedResponse = SharedResponse {
    name: "NoHubOAuth",
    status: StatusCode::NOT_FOUND,
    response: || ResponseDoc::error("There is no `[hub_oauth]` here."),
};

pub(super) const OAUTH_NO_CLIENT: SharedResponse = SharedResponse {
    name: "OAuthNoClient",
    status: StatusCode::UNAUTHORIZED,
    response: || {
        ResponseDoc::oauth_error("No key of an app, or one that is not known (`invalid_client`).")
            .when_oauth("unknown", &OAuthError::no_client(BASIC_CHALLENGE))
            .header("WWW-Authenticate", "", text())
    },
};

fn oauth_body() -> ResponseDoc {
    ResponseDoc::oauth_error(
        "The body did not arrive in time (`body_timeout`), is larger than 64 KiB \
        (`body_too_large`), or is compressed (`unsupported_encoding`).",
    )
    .when_oauth("slow", &ApiError::BodyTimeout.into())
}

pub(super) const OAUTH_BODY: [SharedResponse; 3] = [
    SharedResponse { name: "OAuthBody", status: StatusCode::REQUEST_TIMEOUT, response: oauth_body },
    SharedResponse { name: "OAuthBody", status: StatusCode::PAYLOAD_TOO_LARGE, response: oauth_body },
    SharedResponse { name: "OAuthBody", status: StatusCode::UNSUPPORTED_MEDIA_TYPE, response: oauth_body },
];

fn oauth_hub() -> ResponseDoc {
    ResponseDoc::oauth_error(
        "The hub makes no sense or says no to hublatch (502, `hub_error`), is out of reach (503, \
        `hub_unavailable`), as the store may be (503, `store_unavailable`), or is slow (504, \
        `hub_timeout`). Nothing was consumed. Or hublatch itself ends (503, `draining`).",
    )
    .when_oauth("down", &OAuthError::hub(&HubError::TimedOut { call: Call::CreateToken }))
}

pub(super) const OAUTH_HUB: [SharedResponse; 3] = [
    SharedResponse { name: "OAuthHub", status: StatusCode::BAD_GATEWAY, response: oauth_hub },
    SharedResponse { name: "OAuthHub", status: StatusCode::SERVICE_UNAVAILABLE, response: oauth_hub },
    SharedResponse { name: "OAuthHub", status: StatusCode::GATEWAY_TIMEOUT, response: oauth_hub },
];

pub(super) const NO_SUCH_TOKEN: SharedResponse = SharedResponse {
    name: "NoSuchToken",
    status: StatusCode::NOT_FOUND,
    response: || {
        ResponseDoc::error(
            "The hub does not know the token (`unknown`), or the configuration has no `[hub_tokens]` \
            (`no_hub_tokens`).",
        )
        .when("unknown", ApiError::NoSuchToken)
    },
};

pub(super) const HUB_FAULT: SharedResponse = SharedResponse {
    name: "HubFault",
    status: StatusCode::BAD_GATEWAY,
    response: || {
        ResponseDoc::error(
            "The hub, or what answers in its place, makes no sense (`hub_error`). Nothing was done.",
        )
        .when("page", ApiError::Hub(page(Call::WhoAmI)))
    },
};

pub(super) const HUB_DOWN: SharedResponse = SharedResponse {
    name: "HubDown",
    status: StatusCode::SERVICE_UNAVAILABLE,
    response: || {
        ResponseDoc::error("The hub is out of reach, or busy (`hub_unavailable`). Nothing was done.")
            .when("down", ApiError::Hub(unreachable(Call::WhoAmI)))
            .header("Retry-After", "Seconds, if the hub has said them.", integer())
    },
};

pub(super) const HUB_TIMEOUT: SharedResponse = SharedResponse {
    name: "HubTimeout",
    status: StatusCode::GATEWAY_TIMEOUT,
    response: || {
        ResponseDoc::error("The hub did not answer in time (`hub_timeout`).")
            .when("slow", ApiError::Hub(HubError::TimedOut { call: Call::WhoAmI }))
    },
};

pub(super) const STORE_UNAVAILABLE: SharedResponse = SharedResponse {
    name: "StoreUnavailable",
    status: StatusCode::SERVICE_UNAVAILABLE,
    response: || {
        ResponseDoc::error(
            "The token store is out of reach (`store_unavailable`) or full (`store_full`); or, for a \
            hub token, the hub is out of reach (`hub_unavailable`). Nothing was done.",
        )
        .when("full", issue(IssueError::Full))
    },
};

pub(super) const NO_LINK_UNAVAILABLE: SharedResponse = SharedResponse {
    name: "NoLinkUnavailable",
    status: StatusCode::SERVICE_UNAVAILABLE,
    response: || {
        ResponseDoc::error(
            "The token store is out of reach (`store_unavailable`) or full (`store_full`), or the \
            hub is out of reach (`hub_unavailable`), or the system has no random bytes \
            (`no_randomness`). No link was issued; the message says what was done at the hub before, \
            if anything was.",
        )
        .when("hub", launch(unreachable(Call::ReadUser)))
        .when("half", half_done())
    },
};

pub(super) const SERVER_REFUSED: SharedResponse = SharedResponse {
    name: "ServerRefused",
    status: StatusCode::CONFLICT,
    response: || {
        ResponseDoc::error("The hub does not start a server (`server_refused`). No link was issued.")
            .when("stopping", server_refused(FaultPlace::Link(3)))
    },
};

pub(super) const NO_LINK_HUB_ERROR: SharedResponse = SharedResponse {
    name: "NoLinkHubError",
    status: StatusCode::BAD_GATEWAY,
    response: || {
        ResponseDoc::error(
            "The hub answers nothing that makes sense (`hub_error`), it does not know the token in \
            `hub.api_token_file` or the role of hublatch's service lacks a scope (`hub_forbidden`), \
            or the server failed at once (`server_failed`). No link was issued.",
        )
        .when("page", launch(page(Call::ReadUser)))
        .when(
            "token",
            launch(HubError::Refused {
                call: Call::ReadUser,
                status: StatusCode::FORBIDDEN,
                message: "Missing or invalid credentials.".to_owned(),
                retry_after: None,
            }),
        )
    },
};

pub(super) const NO_LINK_HUB_TIMEOUT: SharedResponse = SharedResponse {
    name: "NoLinkHubTimeout",
    status: StatusCode::GATEWAY_TIMEOUT,
    response: || {
        ResponseDoc::error("The hub did not answer in time (`hub_timeout`). No link was issued.")
            .when("slow", launch(HubError::TimedOut { call: Call::StartServer }))
    },
};

fn issue(cause: IssueError) -> ApiError {
    ApiError::issue(FaultPlace::Body, cause, false)
}

fn launch(cause: HubError) -> ApiError {
    ApiError::Launch { place: FaultPlace::Body, cause }
}

/// The hub does not start the server of the order at `place`.
pub(super) fn server_refused(place: FaultPlace) -> ApiError {
    let message = "me:named is pending stop".to_owned();
    let (call, status) = (Call::StartServer, StatusCode::BAD_REQUEST);
    ApiError::Launch { place, cause: HubError::Refused { call, status, message, retry_after: None } }
}

/// A link that is not honoured.
pub(super) fn refused(reason: RefusalReason) -> Refusal {
    Refusal::Link { reason, link: None }
}

fn not_allowed() -> Option<ApiError> {
    let username = Username::from_store("admin")?;
    Some(issue(IssueError::UserNotAllowed { app: "portal".to_owned(), username }))
}

fn half_done() -> ApiError {
    let done = "no link was issued; created at the hub: me; servers running or starting: 1".to_owned();
    ApiError::HalfDone { error: Box::new(issue(IssueError::Full)), done }
}

fn page(call: Call) -> HubError {
    HubError::Unreadable { call, status: StatusCode::OK, what: "a page (HTML)" }
}

fn unreachable(call: Call) -> HubError {
    HubError::Unreachable { call, cause: "Connection refused (os error 111)".to_owned() }
}
