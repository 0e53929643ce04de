//! Responses of the management API, and the time in them.

use hyper::header::{ALLOW, HeaderValue};
use jiff::Timestamp;

/// The body of any response: whole, or events as they happen.
pub use axum::body::Body as ApiBody;

/// A response of the API that is there as a whole.
pub use crate::body::whole_response::WholeResponse as ApiResponse;
pub(super) use crate::body::whole_response::{json_response, response};

/// Why a call came to nothing: on every response that `ApiError` or `OAuthError` has made, for the access log and the audit.
#[derive(Debug, Clone)]
pub(super) struct CallRefusal {
    pub(super) code: &'static str,
    /// About whom, if that is why.
    pub(super) username: Option<String>,
}

/// Sets `Allow` (RFC 9110 § 10.2.1).
pub(super) fn set_allow(response: &mut ApiResponse, methods: &str) {
    if let Ok(value) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(ALLOW, value);
    }
}

/// RFC 3339 in UTC, to the millisecond: finer digits are beyond what many a language's parser takes.
pub(super) fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}
