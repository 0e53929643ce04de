//! Who a browser is at the hub, and how its session there is ended: asked with its own cookies, over the connection
//! that will carry the login.

use std::net::IpAddr;
use std::time::Duration;

use hyper::header::{ACCEPT, HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use serde::Deserialize;

use super::context::{Proxy, ProxyRules};
use super::cookies;
use super::upstream::limit::Purpose;
use super::upstream::{HubConnection, UpstreamError};
use crate::body::{CollectError, RequestBody, collect};
use crate::client_network::Share;

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
        /// After how many seconds it may be asked again, as it says.
        retry_after: Option<u64>,
        /// It is the hub's own: a front proxy answers in HTML.
        is_json: bool,
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

/// Why the hub does not say who a browser is. Nothing may be consumed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubTrouble {
    /// It does not answer, or what it answers cannot be read.
    Down,
    /// It has no time.
    Busy {
        /// After how many seconds it may be asked again, as it says.
        retry_after: Option<u64>,
    },
    /// It was not asked: its client, or all together, have all the connections to it that they may have.
    NoRoom,
    /// The browser's cookies are more than it takes.
    TooManyCookies,
    /// It answers what nobody would expect: the configuration is wrong, or what stands between.
    Unexpected(StatusCode),
}

/// Fewer bytes of cookies are too many for nobody: with them a 400 has another reason.
const LARGE_COOKIES: usize = 4096;

impl HubTrouble {
    /// What `error` means to a browser with these `headers`.
    fn of(error: &HubSessionError, headers: &HeaderMap) -> Self {
        let (status, retry_after, is_json) = match error {
            HubSessionError::Status { status, retry_after, is_json, .. } => (*status, *retry_after, *is_json),
            HubSessionError::Upstream(UpstreamError::Busy) => return Self::NoRoom,
            HubSessionError::Upstream(_)
            | HubSessionError::Body(_)
            | HubSessionError::Json(_)
            | HubSessionError::Assembly(_)
            | HubSessionError::Timeout => return Self::Down,
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS => Self::Busy { retry_after },
            // Of a front proxy, without more, it means that the hub is not there.
            StatusCode::SERVICE_UNAVAILABLE if is_json || retry_after.is_some() => Self::Busy { retry_after },
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::TooManyCookies,
            // So nginx and others say it.
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::URI_TOO_LONG
                if cookies::size(headers) >= LARGE_COOKIES =>
            {
                Self::TooManyCookies
            }
            status if status.is_server_error() => Self::Down,
            status => Self::Unexpected(status),
        }
    }

    /// Whether it may be over soon, also for the same request.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Down | Self::Busy { .. } | Self::NoRoom => true,
            Self::TooManyCookies | Self::Unexpected(_) => false,
        }
    }
}

/// Who the hub says that a browser is, and over which connection.
pub type Identified = Result<(HubConnection, Option<String>), HubTrouble>;

#[derive(Deserialize)]
struct UserModel {
    name: String,
}

/// A response of the hub.
struct SessionReply {
    status: StatusCode,
    retry_after: Option<u64>,
    body: bytes::Bytes,
}

impl SessionReply {
    /// It says nothing about `what`.
    fn unexpected(&self, what: &'static str) -> HubSessionError {
        let is_json =
            serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&self.body).is_ok();
        HubSessionError::Status { status: self.status, what, retry_after: self.retry_after, is_json }
    }
}

/// What kind of connection is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkout {
    /// An unused one of the pool, or else a new one.
    Pooled,
    /// A new one: an idle one may have been closed by the other side a moment ago.
    New,
}

/// A connection to the hub for a browser's login, which waits for the hub as long as a login may. The one place where the
/// login path asks where the hub is.
pub async fn hub_connection(proxy: &Proxy, checkout: Checkout) -> Result<HubConnection, UpstreamError> {
    let mut connection = match checkout {
        Checkout::Pooled => proxy.upstream.lease().await?,
        Checkout::New => proxy.upstream.connect().await?,
    };
    connection.set_head_limit(proxy.shared.rules.login_hub_timeout);
    Ok(connection)
}

/// A new connection in place of `old`, for the same client's share.
pub async fn reconnected(proxy: &Proxy, mut old: HubConnection) -> Result<HubConnection, UpstreamError> {
    let share = old.share.take();
    drop(old);
    let mut connection = hub_connection(proxy, Checkout::New).await?;
    connection.share = share;
    Ok(connection)
}

/// A connection for the login of a browser about which the hub is not asked: a new one, since nothing proves that one of the
/// pool still lives. None: there is none.
pub async fn connect(proxy: &Proxy) -> Option<HubConnection> {
    let connection = hub_connection(proxy, Checkout::New).await;
    connection.inspect_err(|error| tracing::warn!(%error, "login: connect to the hub")).ok()
}

/// Asks the hub who the browser is with whose [`question`] it comes, when its client has a share.
pub async fn identify(proxy: &Proxy, client: IpAddr, question: HeaderMap) -> Identified {
    let share = proxy.shared.hub_share(client, Purpose::Login).await;
    let share = share.inspect_err(|error| tracing::debug!(%error, %client, "login: ask the hub"));
    identify_with(proxy, share.map_err(|_| HubTrouble::NoRoom)?, question).await
}

/// The same with a share that it has already.
pub async fn identify_with(proxy: &Proxy, share: Share, question: HeaderMap) -> Identified {
    let session = HubSession::asking(&proxy.shared.rules, question);
    let identified = match session.identify(proxy, Checkout::Pooled).await {
        // One more try. Boxed: it is rare, and must not make the state of every login larger.
        Err((error, true)) => Box::pin(session.identify(proxy, Checkout::New)).await.map_err(|_| error),
        Err((error, false)) => Err(error),
        Ok(identified) => Ok(identified),
    };
    let identified =
        identified.inspect_err(|error| tracing::warn!(%error, "login: ask the hub who the browser is"));
    let (mut connection, name) = identified.map_err(|error| HubTrouble::of(&error, &session.question))?;
    connection.share = Some(share);
    Ok((connection, name))
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
        let reply = self.ask(connection, "hub/api/").await?;
        if reply.status == StatusCode::OK { Ok(()) } else { Err(reply.unexpected("its version")) }
    }

    /// The name under which the hub knows the browser: `GET {base}hub/api/user`, without `Sec-Fetch-*`, or else the
    /// hub would want an XSRF token. Also tells that the hub is alive.
    pub async fn username(&self, connection: &mut HubConnection) -> Result<Option<String>, HubSessionError> {
        let reply = self.ask(connection, "hub/api/user").await?;
        match reply.status {
            StatusCode::OK => Ok(Some(serde_json::from_slice::<UserModel>(&reply.body)?.name)),
            // The hub answers 403 to a browser that is nobody; with its JSON, which tells it from a front proxy's 403.
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&reply.body)?;
                Ok(None)
            }
            _ => Err(reply.unexpected("who the browser is")),
        }
    }

    /// Ends the browser's session: `GET {base}hub/logout`, which deletes the tokens of that session.
    pub async fn log_out(&self, connection: &mut HubConnection) -> Result<(), HubSessionError> {
        let reply = self.ask(connection, "hub/logout").await?;
        if reply.status.is_client_error() || reply.status.is_server_error() {
            return Err(reply.unexpected("the logout"));
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

    async fn ask(&self, connection: &mut HubConnection, path: &str) -> Result<SessionReply, HubSessionError> {
        let asking = async {
            let mut request = Request::new(RequestBody::Empty);
            *request.uri_mut() =
                Uri::try_from(format!("{}{path}", self.base_url)).map_err(hyper::http::Error::from)?;
            *request.headers_mut() = self.question.clone();
            let response = connection.send_once(request).await?;
            let status = response.status();
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = retry_after.and_then(|seconds| seconds.trim().parse().ok());
            let body = collect(response.into_body(), RESPONSE_BYTES_MAX, self.limit).await?;
            Ok(SessionReply { status, retry_after, body })
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
