//! The response of a plain listener beside TLS: everything is at the public URL.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HOST, HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};

use super::{ConnectionInfo, Service};

/// Sends every request to the same target at another origin, and does nothing else.
#[derive(Debug, Clone)]
pub struct Redirect(To);

#[derive(Debug, Clone)]
enum To {
    Origin(std::sync::Arc<str>),
    Port(u16),
}

impl Redirect {
    /// To `origin`: scheme, host and port.
    pub fn to(origin: &str) -> Self {
        Self(To::Origin(origin.into()))
    }

    /// To https on `port` of the host that a request names, as configurable-http-proxy does.
    pub fn to_port(port: u16) -> Self {
        Self(To::Port(port))
    }
}

impl Service for Redirect {
    type Body = Empty<Bytes>;

    async fn call(&self, _: Arc<ConnectionInfo>, request: Box<Request<Incoming>>) -> Response<Empty<Bytes>> {
        // `*` and the authority of a CONNECT are no targets of a browser; both become the front page.
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target } else { "/" };
        let mut response = Response::new(Empty::new());
        let location = match &self.0 {
            To::Origin(origin) => Some(format!("{origin}{target}")),
            To::Port(port) => host(&request).map(|host| format!("https://{host}:{port}{target}")),
        };
        let Some(location) = location else {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        };
        *response.status_mut() = match self.0 {
            // 308 keeps the method (RFC 9110 § 15.4.9).
            To::Origin(_) => StatusCode::PERMANENT_REDIRECT,
            To::Port(_) => StatusCode::MOVED_PERMANENTLY,
        };
        if let Ok(location) = HeaderValue::try_from(location) {
            response.headers_mut().insert(LOCATION, location);
        }
        // The target may hold a login token, and a permanent redirect is kept by browsers.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// The host that a request names, without its port.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let host = request.headers().get(HOST)?.to_str().ok().filter(|host| !host.is_empty())?;
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    Some(host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name))
}
