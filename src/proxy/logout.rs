//! `{base}hub/logout`: the session's tunnels end with it, and the browser goes where the operator says.
//!
//! The hub does the logout itself; tunnels would survive it, because nobody asks the hub again about an open one. Only its
//! response says that there was somebody to log out: whoever merely sends a session's id must not end its tunnels.
//!
//! An app's own logout page may lead here with a `logout_token` that it has signed, as for back-channel logout: then all
//! sessions of the user end whom it names, whatever cookies come, and the browser goes back to the app.

use std::sync::Arc;

use hyper::{Method, Response};

use super::context::{Proxy, RequestContext};
use super::error::ProxyError;
use super::forward::with_query;
use super::login::browser_checks::{is_navigation, is_prefetch};
use super::respond;
use super::upstream::ResponseBody;
use super::{api_only, cookies};
use crate::config::App;
use crate::login::{EndError, LoggedOut, LogoutTokenError};
use crate::pages::{LinkRefusal, Page};

/// The parameter with the token of an app's logout page.
const TOKEN: &str = "logout_token";

/// Passes a logout to the hub. If that ends the session, its tunnels are closed. Unless the hub refuses, a person's browser
/// is sent to `login.after_logout_url` instead of the hub's page, or shown ours in API-only mode.
pub(super) async fn handle(
    proxy: &Proxy,
    mut context: RequestContext,
) -> Result<Response<ResponseBody>, ProxyError> {
    let shared = &proxy.shared;
    let token = take_token(&mut context)?;
    let headers = context.request.headers();
    let format = context.format();
    let sessions = cookies::session_ids(headers);
    let opens_page = *context.request.method() == Method::GET
        && context.upgrade.is_none()
        && is_navigation(proxy, headers);
    let mut back = None;
    if let Some(token) = token.filter(|_| opens_page && !is_prefetch(headers)) {
        match end_sessions_named_by(proxy, &token, &context).await {
            Ok(app) => back = app.url.as_deref().and_then(|url| respond::see_other(url).ok()),
            Err(page) => return Ok(respond::page(proxy, &page, format)),
        }
    }
    let response = proxy.forward(context).await?;
    if cookies::end_session(response.headers()) {
        for session in sessions {
            shared.tunnels.close_session(&session);
        }
    }
    if response.status().is_client_error() || response.status().is_server_error() {
        return Ok(response);
    }
    if let Some(back) = back {
        return Ok(respond::with_cookies_of(back, response.headers()));
    }
    Ok(match &shared.rules.after_logout_url {
        Some(url) if opens_page => {
            // The hub's cookies go with our redirect; its page is not shown.
            respond::with_cookies_of(respond::see_other_value(url.clone()), response.headers())
        }
        None if opens_page && shared.token_rules.api_only => api_only::of_logout(proxy, &response, format),
        Some(_) | None => response,
    })
}

/// Takes the token out of the request: it is for us alone.
fn take_token(context: &mut RequestContext) -> Result<Option<String>, ProxyError> {
    let Some(query) = context.request.uri().query().filter(|query| query.contains(TOKEN)) else {
        return Ok(None);
    };
    let is_token = |pair: &str| pair.split('=').next() == Some(TOKEN);
    let (tokens, rest): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| is_token(pair));
    // Of two tokens none counts: nobody can say which was meant.
    let token = match tokens.as_slice() {
        [one] => one.split_once('=').map(|(_, token)| token.to_owned()),
        _ => None,
    };
    let uri = with_query(context.request.uri(), &rest.join("&"))?;
    *context.request.uri_mut() = uri;
    Ok(token)
}

/// Ends the sessions of whom `token` names. One that has done so before is a page that was loaded again.
async fn end_sessions_named_by(
    proxy: &Proxy,
    token: &str,
    context: &RequestContext,
) -> Result<Arc<App>, Page<'static>> {
    let logout = &proxy.shared.login.backchannel_logout;
    match logout.log_out(token, Some(context.origin.client), &proxy.shared.shutdown).await {
        Ok(LoggedOut { app, .. }) | Err(LogoutTokenError::Used { app }) => Ok(app),
        Err(error) => {
            tracing::warn!(%error, "logout: a logout token has ended nothing");
            Err(match error {
                LogoutTokenError::Keys(_) | LogoutTokenError::End(EndError::Hub(_)) => {
                    Page::HubDown { retries: true }
                }
                LogoutTokenError::End(EndError::UserNotAllowed { .. } | EndError::NoAssertion) => {
                    Page::Refused(LinkRefusal::NotAllowed)
                }
                LogoutTokenError::Store(_) | LogoutTokenError::NoRandomness(_) | LogoutTokenError::End(_) => {
                    Page::StoreDown
                }
                LogoutTokenError::Unverified(_)
                | LogoutTokenError::Used { .. }
                | LogoutTokenError::Scope(_)
                | LogoutTokenError::Username(_) => Page::Refused(LinkRefusal::Unknown),
            })
        }
    }
}
