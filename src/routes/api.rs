//! The REST API of configurable-http-proxy, by which `JupyterHub` reads and writes the table.
//!
//! | call | success | else |
//! | --- | --- | --- |
//! | `GET /api/routes[?inactive_since=T]` | 200, every route | 400 not a date |
//! | `GET /api/routes/PATH` | 200, the route of exactly this path | 404 |
//! | `POST /api/routes/PATH` | 201, put in force on all threads and replicas | 400 no JSON, no target; 409 not the hub |
//! | `DELETE /api/routes/PATH` | 204 | 404 |
//!
//! With a table in Redis both are 503 while that is away.
//!
//! `Authorization: token T` (or `Bearer T`): 403 without, in empty words, as the hub expects. It opens nothing else, and
//! no key of an app opens this. Nor does any request of a browser. Answers while hublatch drains, reloads or has lost its store: a hub that finds no API for
//! 30 seconds stops the servers that it has just started.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{ALLOW, AUTHORIZATION, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{AddError, ApiCall, Route, Routes, key};
use crate::body::whole_response::{WholeResponse, json_response, response};
use crate::body::{CollectError, collect};

/// Where it is.
pub const PATH: &str = "/api/routes";
/// The largest body of a POST.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The responses of the API; who may ask is the configuration's to say.
#[derive(Debug)]
pub struct RoutesApi {
    routes: Arc<Routes>,
    token: Option<Zeroizing<String>>,
    body_timeout: Duration,
    /// What happens is told in the words of configurable-http-proxy, for which its users look.
    in_its_words: bool,
}

impl RoutesApi {
    /// The API of `routes`. Without a token everybody may.
    pub fn new(routes: Arc<Routes>, token: Option<Zeroizing<String>>, body_timeout: Duration) -> Self {
        Self { routes, token, body_timeout, in_its_words: false }
    }

    /// The same, which tells what happens in the words of configurable-http-proxy.
    #[must_use]
    pub fn in_its_words(self) -> Self {
        Self { in_its_words: true, ..self }
    }

    /// Whether a request for `path` is this API's.
    pub fn covers(path: &str) -> bool {
        path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers one request below [`PATH`].
    pub async fn handle<B>(&self, request: Request<B>) -> WholeResponse
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let response = self.dispatch(&head, body).await;
        let status = response.status();
        if self.in_its_words {
            tracing::info!("{} {} {}", status.as_u16(), head.method, head.uri.path());
        }
        if let Some(counters) = self.routes.counters() {
            let is_table = head.uri.path().trim_end_matches('/') == PATH;
            let call = match head.method {
                Method::GET if status == StatusCode::OK && is_table => Some(ApiCall::Get),
                Method::POST if status == StatusCode::CREATED => Some(ApiCall::Add),
                Method::DELETE if status == StatusCode::NO_CONTENT => Some(ApiCall::Delete),
                _ => None,
            };
            counters.called(call, status);
        }
        response
    }

    async fn dispatch<B>(&self, head: &Parts, body: B) -> WholeResponse
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !self.admits(&head.headers) {
            return empty(StatusCode::FORBIDDEN);
        }
        let rest = head.uri.path().strip_prefix(PATH).unwrap_or_default();
        let Ok(key) = key::of_path(rest) else {
            return text(StatusCode::BAD_REQUEST, "The path has an escape that cannot be decoded");
        };
        match head.method {
            Method::GET if rest.trim_end_matches('/').is_empty() => self.all(head.uri.query()),
            Method::GET => match self.routes.table().get(&key) {
                Some(route) => json_response(StatusCode::OK, &Value::Object(route.to_json())),
                None => empty(StatusCode::NOT_FOUND),
            },
            Method::POST => match collect(body, BODY_BYTES_MAX, self.body_timeout).await {
                Ok(body) => self.add(&key, &body).await,
                Err(CollectError::TooLarge { .. }) => {
                    text(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 1 MiB")
                }
                Err(CollectError::Stalled | CollectError::Broken(_) | CollectError::NoRoom) => {
                    text(StatusCode::BAD_REQUEST, "The body did not come to its end")
                }
            },
            Method::DELETE => match self.routes.erase(&key).await {
                Ok(true) => {
                    if self.in_its_words {
                        tracing::info!("Removing route {key}");
                    } else {
                        tracing::info!(key, "route removed");
                    }
                    empty(StatusCode::NO_CONTENT)
                }
                Ok(false) => empty(StatusCode::NOT_FOUND),
                Err(error) => refused(&error),
            },
            _ => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method not supported");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
                response
            }
        }
    }

    fn all(&self, query: Option<&str>) -> WholeResponse {
        let since = match inactive_since(query) {
            Ok(since) => since,
            Err(bad) => {
                return text(StatusCode::BAD_REQUEST, format!("Invalid datestamp '{bad}' must be ISO8601."));
            }
        };
        let old =
            |route: &&Arc<Route>| since.is_none_or(|since| as_i64(route.last_activity.millis()) < since);
        let table = self.routes.table();
        let rows = table.iter().filter(old);
        json_response(
            StatusCode::OK,
            &Value::Object(rows.map(|route| (route.key.to_string(), route.to_json().into())).collect()),
        )
    }

    async fn add(&self, key: &str, body: &[u8]) -> WholeResponse {
        let data: Value = match serde_json::from_slice(body) {
            Ok(data) => data,
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("Body not valid JSON: {error}")),
        };
        let Value::Object(mut data) = data else { return no_target() };
        let Some(Value::String(target)) = data.remove("target") else { return no_target() };
        data.remove("last_activity");
        if self.routes.table().is_by_host() {
            let host = key.split('/').nth(1).unwrap_or_default();
            data.insert("host".to_owned(), host.into());
        }
        match self.routes.write(key, &target, data).await {
            Ok(()) => {
                if self.in_its_words {
                    tracing::info!("Adding route {key} -> {target}");
                    tracing::info!("Route added {key} -> {target}");
                } else {
                    tracing::info!(key, target, "route added");
                }
                empty(StatusCode::CREATED)
            }
            Err(error) => {
                tracing::error!(key, target, %error, "a route is refused");
                refused(&error)
            }
        }
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        // A page in a browser on this machine reaches a loopback port as well as the hub does.
        if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
            return false;
        }
        let Some(token) = &self.token else { return true };
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let Some((scheme, given)) = line.to_str().ok().and_then(|line| line.split_once(char::is_whitespace))
        else {
            return false;
        };
        let known = ["token", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        known && bool::from(given.trim().as_bytes().ct_eq(token.as_bytes()))
    }
}

/// The date in `inactive_since=T`, in milliseconds since 1970; the bad text if it is none.
fn inactive_since(query: Option<&str>) -> Result<Option<i64>, String> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut wanted = pairs.filter(|(name, _)| name == "inactive_since" || name == "inactiveSince");
    let Some(text) = wanted.next().map(|(_, text)| text).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    // An offset, or a `+` that a form made a space of; else UTC, as the hub writes it; else a day.
    let spelled = text.replace(' ', "+");
    let instant = spelled
        .parse::<jiff::Timestamp>()
        .or_else(|_| format!("{text}Z").parse::<jiff::Timestamp>())
        .or_else(|_| format!("{text}T00:00Z").parse::<jiff::Timestamp>());
    instant.map(|instant| Some(instant.as_millisecond())).map_err(|_| text.into_owned())
}

fn as_i64(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

fn refused(error: &AddError) -> WholeResponse {
    match error {
        AddError::NotTheHub(_) => text(StatusCode::CONFLICT, error.to_string()),
        // The hub tries again for half a minute, in which another Redis has taken over.
        AddError::Shared(_) => {
            let mut response =
                text(StatusCode::SERVICE_UNAVAILABLE, "The shared routing table cannot be written");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

fn no_target() -> WholeResponse {
    text(StatusCode::BAD_REQUEST, "Must specify 'target' as string")
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> WholeResponse {
    response(status, "text/plain; charset=utf-8", text)
}

fn empty(status: StatusCode) -> WholeResponse {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}
