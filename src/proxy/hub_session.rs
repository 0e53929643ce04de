//! Who a browser is at the hub, and how her session there is ended: asked with her own cookies, over the connection
//! that will carry the login.

use std::time::Duration;

use hyper::header::{ACCEPT, COOKIE, HOST, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use serde::Deserialize;

use super::upstream::{PooledConnection, UpstreamError};
use super::{Proxy, Rules};
use crate::body::{CollectError, RequestBody, collect};

/// The largest answer of the hub that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The hub did not say who the visitor is, or did not let her go.
#[derive(Debug, thiserror::Error)]
pub enum VisitorError {
    /// No answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// An answer that says nothing.
    #[error("the hub was asked for {what} and answered {status}")]
    Status {
        /// Its status.
        status: StatusCode,
        /// What was asked.
        what: &'static str,
    },
    /// An answer that cannot be read.
    #[error("read the hub's answer: {0}")]
    Body(#[from] CollectError),
    /// An answer that is not the expected JSON.
    #[error("the hub's answer is no user model: {0}")]
    Json(#[from] serde_json::Error),
    /// The request cannot be put together.
    #[error("put a request of the hub together: {0}")]
    Assembly(#[from] hyper::http::Error),
    /// It took too long.
    #[error("the hub did not answer in time")]
    Timeout,
}

impl VisitorError {
    /// Whether the hub was given all the time there is.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout | Self::Upstream(UpstreamError::Timeout))
    }
}

#[derive(Deserialize)]
struct UserModel {
    name: String,
}

/// Asks the hub who the browser is. `None`: the hub is not to be had, and nothing may be consumed.
pub async fn of(proxy: &Proxy, headers: &HeaderMap) -> Option<(PooledConnection, Option<String>)> {
    let visitor = Visitor::new(&proxy.shared.rules, headers);
    let error = match proxy.upstream.lease().await {
        Ok(mut lease) => match visitor.name(&mut lease).await {
            Ok(name) => return Some((lease, name)),
            // An idle connection may have been closed by the other side a moment ago: one more try on a new one.
            // Boxed: it is rare, and must not make the state of every login larger.
            Err(error) if lease.is_reused() && !error.is_timeout() => {
                match Box::pin(visitor.again(proxy)).await {
                    Ok(found) => return Some(found),
                    Err(_) => error,
                }
            }
            Err(error) => error,
        },
        Err(error) => error.into(),
    };
    tracing::warn!(%error, "login: ask the hub who the visitor is");
    None
}

/// Asks the hub on behalf of one browser.
#[derive(Debug)]
pub struct Visitor<'a> {
    headers: &'a HeaderMap,
    base_url: &'a str,
    /// How long each answer may take.
    limit: Duration,
}

impl<'a> Visitor<'a> {
    /// The visitor whose request had `headers`; they have been stripped and have our forwarding headers.
    pub fn new(rules: &'a Rules, headers: &'a HeaderMap) -> Self {
        Self { headers, base_url: &rules.base_url, limit: rules.login_hub_timeout }
    }

    /// Whether the hub lives: `GET {base}hub/api/`, its version, which anybody may ask.
    pub async fn version(&self, lease: &mut PooledConnection) -> Result<(), VisitorError> {
        match self.ask(lease, "hub/api/").await? {
            (StatusCode::OK, _) => Ok(()),
            (status, _) => Err(VisitorError::Status { status, what: "its version" }),
        }
    }

    /// The name under which the hub knows the browser: `GET {base}hub/api/user`, without `Sec-Fetch-*`, or else the
    /// hub would want an XSRF token. Also tells that the hub is alive.
    pub async fn name(&self, lease: &mut PooledConnection) -> Result<Option<String>, VisitorError> {
        let (status, body) = self.ask(lease, "hub/api/user").await?;
        match status {
            StatusCode::OK => Ok(Some(serde_json::from_slice::<UserModel>(&body)?.name)),
            // The hub answers 403 to a browser that is nobody; with its JSON, which tells it from a front proxy's 403.
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body)?;
                Ok(None)
            }
            status => Err(VisitorError::Status { status, what: "who the visitor is" }),
        }
    }

    /// Ends the browser's session: `GET {base}hub/logout`, which deletes the tokens of that session.
    pub async fn log_out(&self, lease: &mut PooledConnection) -> Result<(), VisitorError> {
        let (status, _) = self.ask(lease, "hub/logout").await?;
        if status.is_client_error() || status.is_server_error() {
            return Err(VisitorError::Status { status, what: "the logout" });
        }
        Ok(())
    }

    /// [`Self::name`] over a new connection.
    async fn again(&self, proxy: &Proxy) -> Result<(PooledConnection, Option<String>), VisitorError> {
        let mut lease = proxy.upstream.connect().await?;
        let name = self.name(&mut lease).await?;
        Ok((lease, name))
    }

    async fn ask(
        &self,
        lease: &mut PooledConnection,
        path: &str,
    ) -> Result<(StatusCode, bytes::Bytes), VisitorError> {
        let asking = async {
            let mut request = Request::new(RequestBody::Empty);
            *request.uri_mut() =
                Uri::try_from(format!("{}{path}", self.base_url)).map_err(hyper::http::Error::from)?;
            *request.headers_mut() = self.request_headers();
            let answer = lease.send_once(request).await?;
            let status = answer.status();
            let body = collect(answer.into_body(), ANSWER_BYTES_MAX, self.limit).await?;
            Ok((status, body))
        };
        tokio::time::timeout(self.limit, asking).await.unwrap_or(Err(VisitorError::Timeout))
    }

    /// Host, cookies, user agent and where the request came from; nothing else of the browser's request is the hub's
    /// business here.
    fn request_headers(&self) -> HeaderMap {
        let ours = |name: &str| name.starts_with("x-forwarded-") || name == "x-real-ip" || name == "x-scheme";
        let mut headers: HeaderMap = self
            .headers
            .iter()
            .filter(|(name, _)| [HOST, COOKIE, USER_AGENT].contains(name) || ours(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers
    }
}
