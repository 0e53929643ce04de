//! Every response of our own: pages, redirects, bare statuses, and the cookies that they set or clear.
//!
//! The one place that writes them, so that none of them is cached and none tells its address to another site. Decides
//! nothing: callers say which page, and which cookies have served.

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use hyper::{Response, StatusCode};

use super::context::Proxy;
use super::cookies;
use super::error::ProxyError;
use super::request_id::{RequestId, X_REQUEST_ID};
use super::upstream::ResponseBody;
use crate::config::App;
use crate::pages::{self, Format, Page};
use crate::token::TokenDigest;

/// How long a token may lie in the login-continuation cookie.
const CONTINUATION_SECONDS: i64 = 30;
/// How long a browser may take to come back from the app with a link, or to have its turn (`login::WAIT_MAX`).
const STATE_SECONDS: i64 = 600;

/// A cookie of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OurCookie {
    /// It carries a token from another site's form to the request that redeems it.
    Continuation,
    /// The same, for a browser that waits for its turn.
    WaitingContinuation,
    /// It holds the browser's secret, to which links can be bound.
    State,
}

/// A page in the form that the client prefers.
pub fn page(proxy: &Proxy, page: &Page<'_>, format: Format) -> Response<ResponseBody> {
    proxy.shared.pages.response(page, format).map(ResponseBody::Whole)
}

/// The same for the people of `app`, if it is known.
pub fn page_for(proxy: &Proxy, page: &Page<'_>, format: Format, app: Option<&App>) -> Response<ResponseBody> {
    proxy.shared.pages.response_for(page, format, app).map(ResponseBody::Whole)
}

/// Names the request in `response`, if that is one of ours: in a header, and in the footer of a page. The hub's are passed
/// on as they are: another header would cost every one of them as much as half of the forwarding headers.
pub fn sign(proxy: &Proxy, response: &mut Response<ResponseBody>, id: &RequestId) {
    let length = match response.body_mut() {
        ResponseBody::Whole(body) => pages::sign(body, id.as_str(), proxy.shared.login.clock().now().wall),
        ResponseBody::Pieces(_) => None,
        ResponseBody::Upstream { .. } | ResponseBody::EventStream(_) => return,
    };
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers.insert(X_REQUEST_ID, id.to_value());
}

/// A response without a body.
pub fn bare(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Whole(Bytes::new()));
    *response.status_mut() = status;
    forbid_caching(response.headers_mut());
    response
}

/// 303 to `target`, a path or a URL, which the browser follows by a GET.
pub fn see_other(target: &str) -> Result<Response<ResponseBody>, ProxyError> {
    // Characters outside ASCII are percent-encoded, as a browser would.
    let encoded = percent_encoding::utf8_percent_encode(target, &percent_encoding::AsciiSet::EMPTY);
    let target = HeaderValue::try_from(encoded.to_string());
    Ok(see_other_value(target.map_err(|error| ProxyError::Assembly(error.into()))?))
}

/// 303 to a target that is a header value already.
pub fn see_other_value(target: HeaderValue) -> Response<ResponseBody> {
    let mut response = bare(StatusCode::SEE_OTHER);
    response.headers_mut().insert(LOCATION, target);
    response
}

/// Nobody keeps the response, and no other site learns from which address its reader came.
pub fn forbid_caching(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// `response` in place of one of the hub's with `headers`: it sets the same cookies.
pub fn with_cookies_of(mut response: Response<ResponseBody>, headers: &HeaderMap) -> Response<ResponseBody> {
    for cookie in headers.get_all(SET_COOKIE) {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
    response
}

/// Sets `cookie` with the response.
pub fn set_cookie(
    proxy: &Proxy,
    response: &mut Response<ResponseBody>,
    cookie: OurCookie,
    value: &str,
) -> Result<(), ProxyError> {
    let seconds = match cookie {
        OurCookie::Continuation => CONTINUATION_SECONDS,
        OurCookie::WaitingContinuation | OurCookie::State => STATE_SECONDS,
    };
    append_cookie(proxy, response, written(proxy, cookie, value, seconds)?);
    Ok(())
}

/// Makes the browser forget `cookie`.
pub fn clear_cookie(
    proxy: &Proxy,
    response: &mut Response<ResponseBody>,
    cookie: OurCookie,
) -> Result<(), ProxyError> {
    append_cookie(proxy, response, written(proxy, cookie, "", 0)?);
    Ok(())
}

/// Sets the cookie with the signed time of a click with the token of this digest; none: makes the browser forget it.
pub fn set_click(
    proxy: &Proxy,
    response: &mut Response<ResponseBody>,
    digest: TokenDigest,
    ticket: Option<&str>,
) -> Result<(), ProxyError> {
    let (value, seconds) = ticket.map_or(("", 0), |ticket| (ticket, STATE_SECONDS));
    let (name, path) = (cookies::click_name(digest), &proxy.shared.rules.login_path);
    append_cookie(proxy, response, built(proxy, name, path, value, seconds)?);
    Ok(())
}

/// Where `[embed]` amends the hub's cookies, ours are amended as well.
fn append_cookie(proxy: &Proxy, response: &mut Response<ResponseBody>, cookie: HeaderValue) {
    match &proxy.shared.embed {
        Some(embed) => {
            for line in embed.cookie(&cookie) {
                response.headers_mut().append(SET_COOKIE, line);
            }
        }
        None => _ = response.headers_mut().append(SET_COOKIE, cookie),
    }
}

fn written(proxy: &Proxy, cookie: OurCookie, value: &str, seconds: i64) -> Result<HeaderValue, ProxyError> {
    let rules = &proxy.shared.rules;
    let (name, path) = match cookie {
        OurCookie::Continuation | OurCookie::WaitingContinuation => {
            (cookies::CONTINUATION, rules.login_path.as_str())
        }
        OurCookie::State => (cookies::state_name(rules.public_secure), "/"),
    };
    built(proxy, name.to_owned(), path, value, seconds)
}

/// No script sees it, and it comes with no request of another site but a navigation.
fn built(
    proxy: &Proxy,
    name: String,
    path: &str,
    value: &str,
    seconds: i64,
) -> Result<HeaderValue, ProxyError> {
    let rules = &proxy.shared.rules;
    let cookie = cookie::Cookie::build((name, value.to_owned()))
        .path(path.to_owned())
        .max_age(cookie::time::Duration::seconds(seconds))
        .http_only(true)
        .same_site(cookie::SameSite::Lax)
        .secure(rules.public_secure);
    HeaderValue::try_from(cookie.build().to_string()).map_err(|error| ProxyError::Assembly(error.into()))
}
