//! Errors as RFC 6749 § 5.2 writes them, with the members of this API's other errors beside them.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{ACCEPT_ENCODING, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::ObjectBuilder;

use crate::api::error::{ApiError, doc_url, hub_status_and_code, refusal_status_and_code, whole_seconds};
use crate::api::response::{CallRefusal, json_response};
use crate::api::schema::word;
use crate::hub::HubError;
use crate::login::hub_token_exchange::ExchangeError;

/// An error of RFC 6749 § 5.2.
#[derive(Debug)]
pub(in crate::api) struct OAuthError {
    status: StatusCode,
    error: &'static str,
    code: &'static str,
    description: String,
    retry_after: Option<Duration>,
    /// For 401: how the client has tried to prove itself.
    challenge: Option<&'static str>,
}

/// An error of RFC 6749, with the members of this API's other errors.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OAuthError)]
pub(in crate::api) struct OAuthErrorJson<'a> {
    #[schema(schema_with = error_words)]
    error: &'a str,
    error_description: &'a str,
    status: u16,
    /// As `error_description`.
    message: &'a str,
    /// More exact than `error`.
    code: &'a str,
    /// Where the code is explained: a path of this API.
    #[schema(format = "uri-reference")]
    doc_url: String,
}

/// All that `error` can be.
fn error_words() -> ObjectBuilder {
    word([
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
        "unsupported_token_type",
        "temporarily_unavailable",
    ])
}

impl OAuthError {
    pub(in crate::api) fn new(error: &'static str, description: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            code: error,
            description,
            retry_after: None,
            challenge: None,
        }
    }

    pub(in crate::api) fn request(description: String) -> Self {
        Self::new("invalid_request", description)
    }

    /// A parameter that must be there.
    pub(in crate::api) fn missing(name: &str) -> Self {
        Self::request(format!("{name} is missing"))
    }

    /// What is no fault of the client's.
    pub(in crate::api) fn unavailable(description: String) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { status, ..Self::new("temporarily_unavailable", description) }
    }

    /// No key of an app. `challenge`: how the client should prove itself.
    pub(in crate::api) fn no_client(challenge: &'static str) -> Self {
        let description = "no key of an app, or one that is not known".to_owned();
        let status = StatusCode::UNAUTHORIZED;
        Self { status, challenge: Some(challenge), ..Self::new("invalid_client", description) }
    }

    pub(in crate::api) fn hub(error: &HubError) -> Self {
        let (status, code) = hub_status_and_code(error);
        let retry_after = error.retry_after();
        Self { status, code, retry_after, ..Self::new("temporarily_unavailable", error.to_string()) }
    }

    /// What the response says.
    pub(in crate::api) fn json(&self) -> OAuthErrorJson<'_> {
        OAuthErrorJson {
            error: self.error,
            error_description: &self.description,
            status: self.status.as_u16(),
            message: &self.description,
            code: self.code,
            doc_url: doc_url(self.code),
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let Self { status, code, retry_after, challenge, .. } = self;
        if status.is_server_error() {
            tracing::error!(code, error = %self.description, "management API");
        }
        let mut response = json_response(self.status, &self.json());
        if let Some(retry_after) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(CallRefusal { code, username: None });
        response.into_response()
    }
}

/// A body that cannot be had.
impl From<ApiError> for OAuthError {
    fn from(error: ApiError) -> Self {
        let (status, code) = error.status_and_code();
        Self { status, code, ..Self::request(error.to_string()) }
    }
}

impl From<ExchangeError> for OAuthError {
    fn from(none: ExchangeError) -> Self {
        let description = none.to_string();
        match none {
            ExchangeError::NoLongerAuthorized => {
                Self { description, ..Self::no_client("Bearer realm=\"hublatch\"") }
            }
            ExchangeError::NotForApp => Self::new("unauthorized_client", description),
            ExchangeError::Scope(_) => Self::new("invalid_scope", description),
            ExchangeError::Refused { message } if message.contains("scope") => {
                Self::new("invalid_scope", description)
            }
            ExchangeError::Lifetime { .. } | ExchangeError::Refused { .. } => Self::request(description),
            ExchangeError::RateLimited { retry_after } => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                code: "rate_limited",
                retry_after: Some(retry_after),
                ..Self::new("temporarily_unavailable", description)
            },
            ExchangeError::Subject(refusal) => match refusal_status_and_code(&refusal) {
                (status, code) if status.is_server_error() => {
                    Self { status, code, ..Self::new("temporarily_unavailable", description) }
                }
                // RFC 8693 § 2.2.2: whatever is wrong with the token.
                (_, code) => Self { code, ..Self::request(description) },
            },
            ExchangeError::NotOfApp => Self { code: "unknown", ..Self::request(description) },
            ExchangeError::ConfirmRequired => Self { code: "confirm_required", ..Self::request(description) },
            ExchangeError::NoSuchUser(_) => Self { code: "no_such_user", ..Self::request(description) },
            ExchangeError::Endless => Self {
                status: StatusCode::BAD_GATEWAY,
                code: "hub_error",
                ..Self::new("temporarily_unavailable", description)
            },
            ExchangeError::Hub(error) => Self::hub(&error),
            ExchangeError::BrokenOff => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: "draining",
                ..Self::new("temporarily_unavailable", description)
            },
        }
    }
}
