//! Responses of the management API, and the time in them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

/// A response of the API that is there as a whole.
pub type ApiResponse = Response<Full<Bytes>>;

/// The body of any response: whole, or events as they happen.
pub use axum::body::Body as ApiBody;

/// Why a call came to nothing; every response that is an error bears one, for the trace of the call.
#[derive(Debug, Clone)]
pub(super) struct CallRefusal {
    pub(super) code: &'static str,
    /// About whom, if that is why.
    pub(super) username: Option<String>,
}

pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> ApiResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response with `value` as JSON. A value that cannot be written becomes 500; ours all can.
pub(super) fn json_response(status: StatusCode, value: &impl Serialize) -> ApiResponse {
    match serde_json::to_vec(value) {
        Ok(json) => response(status, "application/json", json),
        Err(error) => {
            tracing::error!(%error, "write an answer as JSON");
            response(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}")
        }
    }
}

pub(super) fn allow(response: &mut ApiResponse, methods: &str) {
    if let Ok(value) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(ALLOW, value);
    }
}

/// RFC 3339 in UTC, to the millisecond: finer digits are beyond what many a language's parser takes.
pub(super) fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}
