//! `{base}hub/logout`: the session's tunnels end with it, and the browser goes where the operator says.
//!
//! The hub does the logout itself; tunnels would survive it, because nobody asks the hub again about an open one.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE};
use hyper::{Method, Response, StatusCode};

use super::error::ProxyError;
use super::login::is_navigation;
use super::upstream::ResponseBody;
use super::{Proxy, RequestContext, api_only, cookies};

/// Passes a logout to the hub. Unless the hub refuses it, the tunnels of the session are closed, and a person's browser
/// is sent to `login.after_logout_url` instead of the hub's page, or shown ours in API-only mode.
pub(super) async fn answer(
    proxy: &Proxy,
    context: RequestContext,
) -> Result<Response<ResponseBody>, ProxyError> {
    let shared = &proxy.shared;
    let headers = context.request.headers();
    let format = context.format();
    let sessions = cookies::session_ids(headers);
    let leads_on = *context.request.method() == Method::GET
        && context.upgrade.is_none()
        && is_navigation(proxy, headers);
    let answer = proxy.forward(context).await;
    let status = answer.as_ref().map_or(StatusCode::OK, Response::status);
    // No answer is no refusal: the hub may have ended the session.
    if status.is_client_error() || status.is_server_error() {
        return answer;
    }
    for session in sessions {
        shared.tunnels.close_session(&session);
    }
    match &shared.rules.after_logout_url {
        Some(url) if leads_on => answer.map(|answer| lead_on(&answer, url)),
        None if leads_on && shared.token_rules.api_only => {
            answer.map(|answer| api_only::of_logout(proxy, &answer, format))
        }
        Some(_) | None => answer,
    }
}

/// The hub's cookies with another destination. What its page says is not wanted.
fn lead_on(answer: &Response<ResponseBody>, url: &HeaderValue) -> Response<ResponseBody> {
    let mut led = Response::new(ResponseBody::Whole(Bytes::new()));
    *led.status_mut() = StatusCode::SEE_OTHER;
    let headers = led.headers_mut();
    for cookie in answer.headers().get_all(SET_COOKIE) {
        headers.append(SET_COOKIE, cookie.clone());
    }
    headers.insert(LOCATION, url.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    led
}
