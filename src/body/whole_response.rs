//! Responses of our own that are there as a whole.
//!
//! Pages for people are made in `pages`; this is for programs.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// A response that is there as a whole.
pub type WholeResponse = Response<Full<Bytes>>;

/// A response with `body`.
pub fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> WholeResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response with `value` as JSON. A value that cannot be written becomes 500; ours all can.
pub fn json_response(status: StatusCode, value: &impl Serialize) -> WholeResponse {
    match serde_json::to_vec(value) {
        Ok(json) => response(status, "application/json", json),
        Err(error) => {
            tracing::error!(%error, "write a response as JSON");
            response(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}")
        }
    }
}
