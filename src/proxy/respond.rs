//! Every response of our own: pages, redirects, bare statuses, and the cookies that they set or clear.
//!
//! The one place that writes them, so that none of them is cached and none tells its address to another site. Decides
//! nothing: callers say which page, and which cookies have served.

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, SET_COOKIE,
};
use hyper::{Response, StatusCode};

use super::context::{Proxy, Shared};
use super::error::ProxyError;
use super::upstream::ResponseBody;
use crate::config::App;
use crate::pages::{self, Format, Page};
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::token::{BrowserSecret, State, TokenDigest};

/// Tells nginx to hold nothing back: it would keep events until there are some thousand bytes of them.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a token may lie in the login-continuation cookie.
const CONTINUATION_SECONDS: i64 = 30;
/// How long a browser may take to come back from the app with a link, or to have its turn (`login::WAIT_MAX`).
const STATE_SECONDS: i64 = 600;
/// How many bytes of lines a response spends on making a browser forget cookies that are not ours: the whole head of a
/// response must pass a front proxy, which takes 4 KiB of it by default.
const FORGET_BYTES_MAX: usize = 2048;

/// For how long a token may lie in the login-continuation cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// From another site's form to the request that redeems it.
    AtOnce,
    /// Until a browser has its turn.
    Waiting,
}

/// A page in the form that the client prefers.
pub fn page(proxy: &Proxy, page: &Page<'_>, format: Format) -> Response<ResponseBody> {
    proxy.shared.pages.response(page, format).map(ResponseBody::Whole)
}

/// The same for the people of an app; none: nobody's in particular.
pub fn page_of(proxy: &Proxy, page: &Page<'_>, format: Format, app: Option<&str>) -> Response<ResponseBody> {
    let app = app.and_then(|name| proxy.shared.login.policy().applications.by_name(name));
    proxy.shared.pages.response_for(page, format, app.as_deref()).map(ResponseBody::Whole)
}

/// The same for the people of `app`, if it is known.
pub fn page_for(proxy: &Proxy, page: &Page<'_>, format: Format, app: Option<&App>) -> Response<ResponseBody> {
    proxy.shared.pages.response_for(page, format, app).map(ResponseBody::Whole)
}

/// Names the request in `response`, if that is one of ours: in a header, and in the footer of a page. The hub's are passed
/// on as they are: another header would cost every one of them as much as half of the forwarding headers.
pub fn sign(proxy: &Proxy, response: &mut Response<ResponseBody>, id: &RequestId) {
    let length = match response.body_mut() {
        ResponseBody::Whole(body) => pages::sign(body, id.as_str(), || proxy.shared.login.clock().wall()),
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

/// Server-sent events (HTML § 9.2) for a page of ours.
pub fn event_stream(events: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(events);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    forbid_caching(headers);
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
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

/// Sets the login-continuation cookie with the response.
pub fn set_continuation(
    proxy: &Proxy,
    response: &mut Response<ResponseBody>,
    span: Continuation,
    token: &str,
) -> Result<(), ProxyError> {
    let seconds = match span {
        Continuation::AtOnce => CONTINUATION_SECONDS,
        Continuation::Waiting => STATE_SECONDS,
    };
    let name = proxy.shared.rules.cookie_names.continuation();
    append_cookie(&proxy.shared, response.headers_mut(), built(proxy, name, token, seconds)?);
    Ok(())
}

/// Makes the browser forget it, whoever has set it.
pub fn clear_continuation(proxy: &Proxy, response: &mut Response<ResponseBody>) {
    forget(proxy, response, &[proxy.shared.rules.cookie_names.continuation()]);
}

/// Sets the cookie with the secret of a pending login with the response.
pub fn set_secret(
    proxy: &Proxy,
    response: &mut Response<ResponseBody>,
    secret: &BrowserSecret,
) -> Result<(), ProxyError> {
    let name = proxy.shared.rules.cookie_names.state(secret.state());
    append_cookie(&proxy.shared, response.headers_mut(), built(proxy, name, secret.expose(), STATE_SECONDS)?);
    Ok(())
}

/// Makes the browser forget the secret of the pending login with this `state`.
pub fn clear_secret(
    proxy: &Proxy,
    response: &mut Response<ResponseBody>,
    state: State,
) -> Result<(), ProxyError> {
    let name = proxy.shared.rules.cookie_names.state(state);
    append_cookie(&proxy.shared, response.headers_mut(), built(proxy, name, "", 0)?);
    Ok(())
}

/// Makes the browser forget our cookies of these `names`, in every shape in which they may have been set: of older versions,
/// with and without a partition, and on plain http, where a sibling domain can plant them, for the domains above.
pub fn forget(proxy: &Proxy, response: &mut Response<ResponseBody>, names: &[String]) {
    let rules = &proxy.shared.rules;
    for name in names {
        let is_host = name.starts_with("__Host-");
        let paths: &[&str] = if is_host { &["/"] } else { &["/", &rules.login_path] };
        for path in paths {
            let line = format!("{name}=; Path={path}; Max-Age=0; HttpOnly");
            let mut lines = Vec::new();
            if rules.public_secure {
                lines.push(format!("{line}; SameSite=None; Secure; Partitioned"));
                lines.push(format!("{line}; SameSite=Lax; Secure"));
            } else {
                lines.extend(domains(&rules.public_origin).map(|domain| format!("{line}; Domain={domain}")));
                lines.push(format!("{line}; SameSite=Lax"));
            }
            for line in lines.into_iter().filter_map(|line| HeaderValue::try_from(line).ok()) {
                response.headers_mut().append(SET_COOKIE, line);
            }
        }
    }
}

/// The domains for which a sibling of the host of `origin` can set a cookie.
fn domains(origin: &str) -> impl Iterator<Item = &str> {
    let host = origin.split_once("://").map_or("", |(_, authority)| authority);
    let host = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(host, _)| host);
    let is_name = host.contains(|character: char| character.is_ascii_alphabetic()) && !host.starts_with('[');
    let labels = host.match_indices('.').map(|(at, _)| &host[at + 1..]);
    std::iter::once(host).chain(labels).filter(move |domain| is_name && domain.contains('.')).take(4)
}

/// Makes the browser forget cookies of this host, whoever has set them, in the order of `names`: as many as a response may
/// name. Those for a whole domain are another site's, and stay.
pub fn forget_any(proxy: &Proxy, response: &mut Response<ResponseBody>, names: &[String]) {
    let rules = &proxy.shared.rules;
    let hub = rules.login_path.trim_end_matches("login");
    let mut bytes = 0;
    for name in names {
        let is_host = name.starts_with("__Host-");
        let secure = if rules.public_secure { "; Secure" } else { "" };
        for path in ["/", hub].into_iter().take(if is_host { 1 } else { 2 }) {
            let line = format!("{name}=; Path={path}; Max-Age=0{secure}");
            bytes += line.len();
            if bytes > FORGET_BYTES_MAX {
                return;
            }
            if let Ok(line) = HeaderValue::try_from(line) {
                response.headers_mut().append(SET_COOKIE, line);
            }
        }
    }
}

/// Sets the cookie with the signed time of a click with the token of this digest; none: makes the browser forget it.
pub fn set_click(
    proxy: &Proxy,
    response: &mut Response<ResponseBody>,
    digest: TokenDigest,
    ticket: Option<&str>,
) -> Result<(), ProxyError> {
    let (value, seconds) = ticket.map_or(("", 0), |ticket| (ticket, STATE_SECONDS));
    let name = proxy.shared.rules.cookie_names.click(digest);
    append_cookie(&proxy.shared, response.headers_mut(), built(proxy, name, value, seconds)?);
    Ok(())
}

/// Where `[embed]` amends the hub's cookies, ours are amended as well.
pub(super) fn append_cookie(shared: &Shared, headers: &mut HeaderMap, cookie: HeaderValue) {
    match &shared.embed {
        Some(embed) => {
            for line in embed.cookie(&cookie) {
                headers.append(SET_COOKIE, line);
            }
        }
        None => _ = headers.append(SET_COOKIE, cookie),
    }
}

/// No script sees it, and it comes with no request of another site but a navigation.
fn built(proxy: &Proxy, name: String, value: &str, seconds: i64) -> Result<HeaderValue, ProxyError> {
    let rules = &proxy.shared.rules;
    let cookie = cookie::Cookie::build((name, value.to_owned()))
        .path("/")
        .max_age(cookie::time::Duration::seconds(seconds))
        .http_only(true)
        .same_site(cookie::SameSite::Lax)
        .secure(rules.public_secure);
    HeaderValue::try_from(cookie.build().to_string()).map_err(|error| ProxyError::Assembly(error.into()))
}
