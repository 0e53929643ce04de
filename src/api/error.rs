//! Every way in which a call can fail, and its response:
//! `{"status":…,"message":"…","code":"…","field":"…","doc_url":"/api/v1/errors.md#…"}`.
//!
//! Codes are words that programs may rely on; messages are for people and may change. `field` is there where the fault lies in
//! one; `doc_url` leads to the line about the code in `docs/errors.md`, which this API answers as well.

mod codes;

use std::fmt;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{ACCEPT_ENCODING, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use utoipa::ToSchema;

use super::member_error::MemberError;
use super::response::{CallRefusal, json_response, set_allow};
use crate::config::Scope;
use crate::hub::HubError;
use crate::login::issue_request::IssueError;
use crate::login::{AuthenticationError, EndError, Refusal};
use crate::store::StoreError;
use crate::token::UsernameError;

use codes::{
    STORE_UNAVAILABLE, end_status_and_code, issue_field, issue_message, issue_status_and_code,
    launch_message, launch_status_and_code, member_code,
};
pub(super) use codes::{hub_status_and_code, refusal_status_and_code};

/// Where in the body a fault lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultPlace {
    /// In the body's own object.
    Body,
    /// In one order of a batch.
    Link(usize),
}

impl fmt::Display for FaultPlace {
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
    NotListed(AuthenticationError),
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
    #[error("the body is compressed; send it as it is, without Content-Encoding")]
    EncodedBody,
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
    Member { place: FaultPlace, error: MemberError },
    #[error("{}", issue_message(*place, cause, *by_path))]
    Issue { place: FaultPlace, cause: IssueError, by_path: bool },
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
    #[error("{}", launch_message(*place, cause))]
    Launch { place: FaultPlace, cause: HubError },
    #[error("{error}; {done}")]
    HalfDone { error: Box<ApiError>, done: String },
    #[error("the link was used before")]
    LinkUsed,
    #[error("{0}")]
    Refused(Refusal),
    #[error("this link asks its user first, which only a browser can show")]
    ConfirmRequired,
    #[error("{0}")]
    End(EndError),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// An error of this API.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Error)]
pub(super) struct ErrorJson {
    status: u16,
    message: String,
    code: &'static str,
    /// The field, header or parameter at fault, if it is one: `username`, `links[3].next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    /// Where the code is explained: a path of this API.
    #[schema(format = "uri-reference")]
    doc_url: String,
}

/// Where the codes of errors are explained.
pub(super) const ERRORS_PATH: &str = "/api/v1/errors.md";

/// Where a code is explained: a path of this API, so that it leads to the explanation of the running version.
pub(super) fn doc_url(code: &str) -> String {
    format!("{ERRORS_PATH}#{code}")
}

impl ApiError {
    /// A field that cannot be taken.
    pub(super) fn member(place: FaultPlace, error: MemberError) -> Self {
        Self::Member { place, error }
    }

    /// An order that was refused; `by_path`: it named a path or a server instead of `next`.
    pub(super) fn issue(place: FaultPlace, cause: IssueError, by_path: bool) -> Self {
        Self::Issue { place, cause, by_path }
    }

    /// What the response says.
    pub(super) fn json(&self) -> ErrorJson {
        let (status, code) = self.status_and_code();
        let (message, field, doc_url) = (self.to_string(), self.field(), doc_url(code));
        ErrorJson { status: status.as_u16(), message, code, field, doc_url }
    }

    /// The field, header or parameter at fault, as the message names it, if it is one.
    fn field(&self) -> Option<String> {
        let within = |place: FaultPlace, field: &str| format!("{place}{field}");
        match self {
            Self::Member { place, error } => Some(within(*place, &error.name)),
            Self::Issue { place, cause, by_path } => {
                issue_field(cause, *by_path).map(|field| within(*place, field))
            }
            Self::NotAnOrder { index } => Some(format!("links[{index}]")),
            Self::BadParameter { name, .. } => Some(name.clone()),
            Self::HalfDone { error, .. } => error.field(),
            Self::BadIdempotencyKey | Self::IdempotencyKeyOnBatch => Some("Idempotency-Key".to_owned()),
            Self::BatchAboveRate { .. } => Some("links".to_owned()),
            Self::NotJson | Self::NotForm => Some("Content-Type".to_owned()),
            Self::EncodedBody => Some("Content-Encoding".to_owned()),
            Self::NameNotUtf8 | Self::Username(_) | Self::End(EndError::UserNotAllowed { .. }) => {
                Some("name".to_owned())
            }
            Self::Unauthenticated { .. } | Self::NotListed(_) => Some("Authorization".to_owned()),
            Self::NoSuchPath
            | Self::MethodNotAllowed { .. }
            | Self::BrowserRequest
            | Self::HostNotAllowed
            | Self::NoHubTokens
            | Self::NoSuchToken
            | Self::NotAdmitted(_)
            | Self::Hub(_)
            | Self::Scope { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyTimeout
            | Self::BodyBroken(_)
            | Self::UnreadableJson(_)
            | Self::TwiceNamed(_)
            | Self::NotAnObject
            | Self::NoSuchLink
            | Self::NotLaunched
            | Self::Launch { .. }
            | Self::LinkUsed
            | Self::Refused(_)
            | Self::ConfirmRequired
            | Self::End(_)
            | Self::Store(_) => None,
        }
    }

    /// Whom the call is about, if that was a name that the app may not log in.
    fn username(&self) -> Option<&str> {
        if let Self::Issue { cause: IssueError::UserNotAllowed { username, .. }, .. }
        | Self::End(EndError::UserNotAllowed { username, .. }) = self
        {
            Some(username.as_str())
        } else {
            None
        }
    }

    /// When it is worth trying again, where that is known.
    fn retry_after(&self) -> Option<Duration> {
        if let Self::Issue {
            cause: IssueError::RateLimited { retry_after } | IssueError::TooManyLive { retry_after },
            ..
        } = self
        {
            Some(*retry_after)
        } else if let Self::Launch { cause, .. } | Self::Hub(cause) | Self::End(EndError::Hub(cause)) = self {
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
            Self::EncodedBody => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
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
            Self::End(error) => end_status_and_code(error),
            Self::Store(StoreError::Unavailable(_)) => STORE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        if status.is_server_error() {
            tracing::error!(code, error = %self, "management API");
        }
        let mut response = json_response(status, &self.json());
        if let Self::MethodNotAllowed { allow: methods } = &self {
            set_allow(&mut response, methods);
        }
        if let Self::Unauthenticated { key_given } = self {
            // RFC 6750 § 3: a request without any credentials is not told of an error.
            let challenge = if key_given {
                "Bearer realm=\"hublatch\", error=\"invalid_token\""
            } else {
                "Bearer realm=\"hublatch\""
            };
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if matches!(self, Self::EncodedBody) {
            // RFC 9110 § 15.5.16 with § 12.5.3: which codings would do.
            response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(retry_after) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        let username = self.username().map(str::to_owned);
        response.extensions_mut().insert(CallRefusal { code, username });
        response.into_response()
    }
}

fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Issue => "issue",
        Scope::Read => "read",
        Scope::Revoke => "revoke",
        Scope::End => "end",
    }
}

/// Retry-After counts in whole seconds (RFC 9110 § 10.2.3): too late is polite, too early is refused again.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}
