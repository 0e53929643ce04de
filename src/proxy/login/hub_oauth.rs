//! A login by the hub's own OAuth: hublatch is the user agent of both legs, and the browser sees only their end.
//!
//! 1. [`begin`] asks the hub for its OAuth login, as the browser would, and reads where the hub sends it. Nothing has been
//!    consumed, so a hub that is set up otherwise costs nobody a link.
//! 2. [`callback`] brings the hub a code for the verified user, together with the cookie of the first leg. What the hub
//!    says to that is the login's response.
//!
//! Redirects through the browser would break what links promise: a double click ends both, and a switch of users keeps
//! the earlier session.

use std::sync::Arc;

use hyper::header::{COOKIE, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use hyper::{Request, StatusCode, Uri};

use super::decide::Plan;
use super::destination;
use crate::body::{CollectError, RequestBody, collect};
use crate::login::VerifiedUser;
use crate::login::hub_oauth::{AuthorizeRequest, HubOAuth, HubOAuthError};
use crate::proxy::context::Proxy;
use crate::proxy::error::ProxyError;
use crate::proxy::hub_session::login_headers;
use crate::proxy::upstream::{HubConnection, UpstreamError};
use crate::token::OpaqueToken;

/// The largest body of the first leg that is read; a redirect has hardly any.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The first leg came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// No response.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A response that is no redirect.
    #[error(
        "the hub was asked for its OAuth login and answered {0}; its authenticator must be an OAuthenticator"
    )]
    Status(StatusCode),
    /// A redirect to somewhere else.
    #[error(transparent)]
    Authorize(#[from] HubOAuthError),
    /// A body that cannot be read.
    #[error("read the hub's answer: {0}")]
    Body(#[from] CollectError),
    /// The request cannot be put together.
    #[error("put a request of the hub together: {0}")]
    Assembly(#[from] hyper::http::Error),
    /// The head of the second leg would be larger than the hub takes.
    #[error("the head of the hub's callback would have {0} bytes, more than hub.head_bytes")]
    TooLarge(usize),
}

/// A login that the hub has begun.
pub struct Begun {
    provider: Arc<HubOAuth>,
    request: AuthorizeRequest,
    /// The cookies that the hub has set with it, as pairs; the browser never sees them.
    cookies: Vec<HeaderValue>,
}

/// Begins the hub's OAuth login for the browser with `headers`, whose login at the hub would be `target`; `None` where
/// the hub learns of its users by headers.
pub async fn begin(
    proxy: &Proxy,
    headers: &HeaderMap,
    plan: Plan,
    target: &Uri,
    connection: &mut HubConnection,
) -> Result<Option<Begun>, BeginError> {
    let Some(provider) = proxy.shared.login.policy().hub_oauth.clone() else { return Ok(None) };
    let rules = &proxy.shared.rules;
    let mut request = Request::new(RequestBody::Empty);
    let path = rules.oauth_login_path.as_deref().unwrap_or(&rules.login_path);
    *request.uri_mut() = match target.query() {
        Some(query) => Uri::try_from(format!("{path}?{query}")),
        None => Uri::try_from(path),
    }
    .map_err(hyper::http::Error::from)?;
    *request.headers_mut() = login_headers(headers.clone(), plan == Plan::KeepSession);
    let asking = async {
        let response = connection.send_once(request).await?;
        let (head, body) = response.into_parts();
        // The same connection carries what follows.
        collect(body, BODY_BYTES_MAX, rules.login_hub_timeout).await?;
        Ok::<_, BeginError>(head)
    };
    let asked = tokio::time::timeout(rules.login_hub_timeout, asking).await;
    let head = asked.unwrap_or(Err(UpstreamError::Timeout.into()))?;
    let location = head.headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let (StatusCode::FOUND | StatusCode::SEE_OTHER, Some(location)) = (head.status, location) else {
        return Err(BeginError::Status(head.status));
    };
    let request = provider.read_authorize(location)?;
    let pair = |line: &HeaderValue| {
        let pair = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        HeaderValue::from_bytes(pair).ok()
    };
    let cookies = head.headers.get_all(SET_COOKIE).iter().filter_map(pair).collect();
    let begun = Begun { provider, request, cookies };
    // Its state, and the cookie with where the login leads, are the hub's own, and may be large.
    let callback = begun.callback(headers.clone(), plan, &"c".repeat(OpaqueToken::BYTES))?;
    let bytes = destination::head_bytes(callback.uri(), callback.headers());
    if bytes > rules.hub_head_bytes { Err(BeginError::TooLarge(bytes)) } else { Ok(Some(begun)) }
}

impl Begun {
    /// The request of the second leg, for the browser with `headers`.
    fn callback(
        &self,
        headers: HeaderMap,
        plan: Plan,
        code: &str,
    ) -> Result<Request<RequestBody>, hyper::http::Error> {
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = Uri::try_from(self.provider.callback(&self.request, code))?;
        let mut headers = login_headers(headers, plan == Plan::KeepSession);
        let own = headers.remove(COOKIE);
        let all: Vec<&[u8]> = own.iter().chain(&self.cookies).map(HeaderValue::as_bytes).collect();
        if let Ok(cookies) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(COOKIE, cookies);
        }
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// The second leg: the hub's callback with a code for `user`, who is told to it once.
pub async fn callback(
    begun: Begun,
    headers: HeaderMap,
    user: VerifiedUser,
    plan: Plan,
) -> Result<Request<RequestBody>, ProxyError> {
    let code = begun.provider.mint_code(user, &begun.request).await?;
    Ok(begun.callback(headers, plan, &code)?)
}
