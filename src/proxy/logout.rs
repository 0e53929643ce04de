//! `{base}hub/logout`: the session's tunnels end with it, and the browser goes where the operator says.
//!
//! The hub does the logout itself; tunnels would survive it, because nobody asks the hub again about an open one. Only its
//! response says that there was somebody to log out: whoever merely sends a session's id must not end its tunnels.

use hyper::{Method, Response};

use super::context::{Proxy, RequestContext};
use super::error::ProxyError;
use super::login::browser_checks::is_navigation;
use super::respond;
use super::upstream::ResponseBody;
use super::{api_only, cookies};

/// Passes a logout to the hub. If that ends the session, its tunnels are closed. Unless the hub refuses, a person's browser
/// is sent to `login.after_logout_url` instead of the hub's page, or shown ours in API-only mode.
pub(super) async fn handle(
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
    let response = proxy.forward(context).await?;
    if cookies::end_session(response.headers()) {
        for session in sessions {
            shared.tunnels.close_session(&session);
        }
    }
    if response.status().is_client_error() || response.status().is_server_error() {
        return Ok(response);
    }
    Ok(match &shared.rules.after_logout_url {
        Some(url) if leads_on => {
            // The hub's cookies with another destination. What its page says is not wanted.
            respond::with_cookies_of(respond::see_other_value(url.clone()), response.headers())
        }
        None if leads_on && shared.token_rules.api_only => api_only::of_logout(proxy, &response, format),
        Some(_) | None => response,
    })
}
