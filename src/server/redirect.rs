//! The answer of a plain listener beside TLS: everything is at the public URL.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};

use super::{ConnectionInfo, Service};

/// Sends every request to the same target at another origin, and does nothing else.
#[derive(Debug, Clone)]
pub struct Redirect {
    origin: std::sync::Arc<str>,
}

impl Redirect {
    /// To `origin`: scheme, host and port.
    pub fn to(origin: &str) -> Self {
        Self { origin: origin.into() }
    }
}

impl Service for Redirect {
    type Body = Empty<Bytes>;

    async fn call(&self, _: ConnectionInfo, request: Box<Request<Incoming>>) -> Response<Empty<Bytes>> {
        // `*` and the authority of a CONNECT are no targets of a browser; both become the front page.
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target } else { "/" };
        let mut response = Response::new(Empty::new());
        // 308 keeps the method (RFC 9110 § 15.4.9).
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        if let Ok(location) = HeaderValue::try_from(format!("{}{target}", self.origin)) {
            response.headers_mut().insert(LOCATION, location);
        }
        // The target may hold a login token, and a permanent redirect is kept by browsers.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
