//! Who a browser is at the hub, and how its session there is ended: asked with its own cookies, over the connection
//! that will carry the login.

use std::net::IpAddr;
use std::time::Duration;

use hyper::header::{ACCEPT, HeaderValue, ORIGIN};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use serde::Deserialize;

use super::context::{Proxy, ProxyRules};
use super::cookies;
use super::upstream::limit::Purpose;
use super::upstream::{HubConnection, UpstreamError};
use crate::body::{CollectError, RequestBody, collect};

/// The largest response of the hub that is read.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// So many headers a question has, or a few more.
const QUESTION_HEADERS: usize = 12;

/// The hub did not say who the browser is, or did not end its session.
#[derive(Debug, thiserror::Error)]
pub enum HubSessionError {
    /// No response.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A response that says nothing.
    #[error("the hub was asked for {what} and answered {status}")]
    Status {
        /// Its status.
        status: StatusCode,
        /// What was asked.
        what: &'static str,
    },
    /// A response that cannot be read.
    #[error("read the hub's answer: {0}")]
    Body(#[from] CollectError),
    /// A response that is not the expected JSON.
    #[error("the hub's answer is no user model: {0}")]
    Json(#[from] serde_json::Error),
    /// The request cannot be put together.
    #[error("put a request of the hub together: {0}")]
    Assembly(#[from] hyper::http::Error),
    /// It took too long.
    #[error("the hub did not answer in time")]
    Timeout,
}

impl HubSessionError {
    /// Whether the hub was given all the time there is.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout | Self::Upstream(UpstreamError::Timeout))
    }
}

#[derive(Deserialize)]
struct UserModel {
    name: String,
}

/// What kind of connection is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkout {
    /// An unused one of the pool, or else a new one.
    Pooled,
    /// A new one: an idle one may have been closed by the other side a moment ago.
    New,
}

/// A connection to the hub for a browser's login. The one place where the login path asks where the hub is.
pub async fn hub_connection(proxy: &Proxy, checkout: Checkout) -> Result<HubConnection, UpstreamError> {
    match checkout {
        Checkout::Pooled => proxy.upstream.lease().await,
        Checkout::New => proxy.upstream.connect().await,
    }
}

/// Asks the hub who the browser is with whose [`question`] it comes. `None`: the hub does not answer, and nothing may be
/// consumed.
pub async fn identify(
    proxy: &Proxy,
    client: IpAddr,
    question: HeaderMap,
) -> Option<(HubConnection, Option<String>)> {
    let session = HubSession::asking(&proxy.shared.rules, question);
    let share = proxy.shared.hub_share(client, Purpose::Login).await;
    let share = share.inspect_err(|error| tracing::debug!(%error, %client, "login: ask the hub")).ok()?;
    let identified = match session.identify(proxy, Checkout::Pooled).await {
        // One more try. Boxed: it is rare, and must not make the state of every login larger.
        Err((error, true)) => Box::pin(session.identify(proxy, Checkout::New)).await.map_err(|_| error),
        Err((error, false)) => Err(error),
        Ok(identified) => Ok(identified),
    };
    let identified =
        identified.inspect_err(|error| tracing::warn!(%error, "login: ask the hub who the browser is"));
    let (mut connection, name) = identified.ok()?;
    connection.share = Some(share);
    Some((connection, name))
}

/// The browser's headers as a login sends them: a form of ours that was posted becomes a GET, and a GET that navigates has
/// no Origin; a new session has none of the cookies of the last one.
pub fn login_headers(mut headers: HeaderMap, keeps_session: bool) -> HeaderMap {
    headers.remove(ORIGIN);
    if !keeps_session {
        cookies::strip_hub_login(&mut headers);
    }
    headers
}

/// Asks the hub on behalf of one browser.
#[derive(Debug)]
pub struct HubSession<'a> {
    question: HeaderMap,
    base_url: &'a str,
    /// How long each response may take.
    limit: Duration,
}

impl<'a> HubSession<'a> {
    /// The browser whose request had `headers`; they have been stripped and have our forwarding headers.
    pub fn new(rules: &'a ProxyRules, headers: &HeaderMap) -> Self {
        Self::asking(rules, question(headers))
    }

    fn asking(rules: &'a ProxyRules, question: HeaderMap) -> Self {
        Self { question, base_url: &rules.base_url, limit: rules.login_hub_timeout }
    }

    /// Whether the hub lives: `GET {base}hub/api/`, its version, which anybody may ask.
    pub async fn version(&self, connection: &mut HubConnection) -> Result<(), HubSessionError> {
        match self.ask(connection, "hub/api/").await? {
            (StatusCode::OK, _) => Ok(()),
            (status, _) => Err(HubSessionError::Status { status, what: "its version" }),
        }
    }

    /// The name under which the hub knows the browser: `GET {base}hub/api/user`, without `Sec-Fetch-*`, or else the
    /// hub would want an XSRF token. Also tells that the hub is alive.
    pub async fn username(&self, connection: &mut HubConnection) -> Result<Option<String>, HubSessionError> {
        let (status, body) = self.ask(connection, "hub/api/user").await?;
        match status {
            StatusCode::OK => Ok(Some(serde_json::from_slice::<UserModel>(&body)?.name)),
            // The hub answers 403 to a browser that is nobody; with its JSON, which tells it from a front proxy's 403.
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body)?;
                Ok(None)
            }
            status => Err(HubSessionError::Status { status, what: "who the browser is" }),
        }
    }

    /// Ends the browser's session: `GET {base}hub/logout`, which deletes the tokens of that session.
    pub async fn log_out(&self, connection: &mut HubConnection) -> Result<(), HubSessionError> {
        let (status, _) = self.ask(connection, "hub/logout").await?;
        if status.is_client_error() || status.is_server_error() {
            return Err(HubSessionError::Status { status, what: "the logout" });
        }
        Ok(())
    }

    /// [`Self::username`], with the connection over which it was asked; an error says whether a new connection may do
    /// better.
    async fn identify(
        &self,
        proxy: &Proxy,
        checkout: Checkout,
    ) -> Result<(HubConnection, Option<String>), (HubSessionError, bool)> {
        let mut connection = hub_connection(proxy, checkout).await.map_err(|error| (error.into(), false))?;
        match self.username(&mut connection).await {
            Ok(name) => Ok((connection, name)),
            Err(error) => {
                let may_be_stale = connection.is_reused() && !error.is_timeout();
                Err((error, may_be_stale))
            }
        }
    }

    async fn ask(
        &self,
        connection: &mut HubConnection,
        path: &str,
    ) -> Result<(StatusCode, bytes::Bytes), HubSessionError> {
        let asking = async {
            let mut request = Request::new(RequestBody::Empty);
            *request.uri_mut() =
                Uri::try_from(format!("{}{path}", self.base_url)).map_err(hyper::http::Error::from)?;
            *request.headers_mut() = self.question.clone();
            let response = connection.send_once(request).await?;
            let status = response.status();
            let body = collect(response.into_body(), RESPONSE_BYTES_MAX, self.limit).await?;
            Ok((status, body))
        };
        tokio::time::timeout(self.limit, asking).await.unwrap_or(Err(HubSessionError::Timeout))
    }
}

/// Host, cookies, user agent and where the request came from; nothing else of the browser's request is the hub's business
/// here.
pub fn question(headers: &HeaderMap) -> HeaderMap {
    let is_asked = |name: &str| match name {
        "host" | "cookie" | "user-agent" | "x-real-ip" | "x-scheme" => true,
        _ => name.starts_with("x-forwarded-"),
    };
    let mut question = HeaderMap::with_capacity(QUESTION_HEADERS);
    for (name, value) in headers.iter().filter(|(name, _)| is_asked(name.as_str())) {
        question.append(name, value.clone());
    }
    question.insert(ACCEPT, HeaderValue::from_static("application/json"));
    question
}
