//! Links that work in one browser only: the browser is sent to the app with a `state`, and comes back with a link for it.
//!
//! The browser gets a random secret of 256 bits in a cookie; the app, and so the link and the store, get its SHA-256.
//! A link with a state is honoured only where the cookie's SHA-256 is that state. Nothing has to be signed and nothing
//! is kept here, so any number of replicas with one store agree. Whoever reads the state (an address, the app's log,
//! the store) cannot make the cookie from it, and so cannot use a stolen link.
//!
//! It does not keep a link from being planted: whoever knows a state and has an account of their own at the app can ask it
//! for a link of that account with this state, and a browser that opens it is logged in as them. Only the app can rule
//! that out, by issuing a state's link to the session that came with the state; the manual says so.

use hyper::{HeaderMap, Response};
use url::Url;

use crate::pages::{Format, Page};
use crate::proxy::context::Proxy;
use crate::proxy::cookies;
use crate::proxy::error::ProxyError;
use crate::proxy::respond::{self, OurCookie};
use crate::proxy::upstream::ResponseBody;
use crate::token::BrowserSecret;

/// The browser's secrets: one, unless somebody has planted another.
pub fn secrets(proxy: &Proxy, headers: &HeaderMap) -> impl Iterator<Item = BrowserSecret> {
    let values = cookies::states(headers, proxy.shared.rules.public_secure);
    values.into_iter().filter_map(|value| BrowserSecret::parse(&value))
}

/// Sends the browser to the app. One that has a secret keeps it, so that two of its tabs do not spoil each other's
/// link.
///
/// `next`: where the person wanted to go, decoded and checked.
pub fn send_to_app(
    proxy: &Proxy,
    app_url: &Url,
    headers: &HeaderMap,
    next: Option<&str>,
) -> Result<Response<ResponseBody>, ProxyError> {
    let login = &proxy.shared.login;
    let mut known = secrets(proxy, headers);
    let secret = match (known.next(), known.next()) {
        (Some(secret), None) => secret,
        (None, _) | (_, Some(_)) => match login.browser_secret() {
            Ok(secret) => secret,
            Err(error) => {
                tracing::error!(%error, "login: make a browser's secret");
                return Ok(respond::page(proxy, &Page::Unavailable, Format::preferred(headers)));
            }
        },
    };
    let mut url = app_url.clone();
    let mut query = url.query_pairs_mut();
    query.append_pair("state", &secret.state().to_string());
    if let Some(next) = next {
        query.append_pair("next", next);
    }
    query.append_pair("redirect_uri", &format!("{}{}", login.rules().origin, login.rules().login_path));
    drop(query);
    let mut response = respond::see_other(url.as_str())?;
    respond::set_cookie(proxy, &mut response, OurCookie::State, secret.expose())?;
    Ok(response)
}
