//! Links that work in one browser only: the browser is sent to the app with a `state`, and comes back with a link for it.
//!
//! For each pending login the browser gets a random secret of 256 bits in a cookie of its own; the app, and so the link and
//! the store, get its SHA-256. A link with a state is honoured only where a cookie's SHA-256 is that state. Nothing has to be
//! signed and nothing is kept here, so any number of replicas with one store agree. Whoever reads the state (an address,
//! the app's log, the store) cannot make the cookie from it, and so cannot use a stolen link. Tabs that are restored
//! together come without each other's cookies; each has its own, and none spoils another's link.
//!
//! It does not keep a link from being planted: whoever knows a state and has an account of their own at the app can ask it
//! for a link of that account with this state, and a browser that opens it is logged in as them. Only the app can rule
//! that out, by issuing a state's link to the session that came with the state; the manual says so.

use hyper::{HeaderMap, Response};
use url::Url;

use crate::pages::{Format, Page};
use crate::proxy::context::Proxy;
use crate::proxy::cookies::OurCookies;
use crate::proxy::error::ProxyError;
use crate::proxy::respond;
use crate::proxy::upstream::ResponseBody;
use crate::token::BrowserSecret;

/// The most pending logins of one browser: each cookie comes with every request to this host.
const PENDING_MAX: usize = 32;

/// Gives the browser the secret of another pending login. `known`: those that it has, the oldest first, which makes room.
pub fn give(
    proxy: &Proxy,
    response: &mut Response<ResponseBody>,
    secret: &BrowserSecret,
    known: &[BrowserSecret],
) -> Result<(), ProxyError> {
    let others: Vec<_> =
        known.iter().map(BrowserSecret::state).filter(|state| *state != secret.state()).collect();
    for state in others.iter().take((others.len() + 1).saturating_sub(PENDING_MAX)) {
        respond::clear_secret(proxy, response, *state)?;
    }
    respond::set_secret(proxy, response, secret)
}

/// Sends the browser to the app.
///
/// `next`: where the person wanted to go, decoded.
pub fn send_to_app(
    proxy: &Proxy,
    app_url: &Url,
    headers: &HeaderMap,
    next: Option<&str>,
) -> Result<Response<ResponseBody>, ProxyError> {
    let login = &proxy.shared.login;
    let secret = match login.browser_secret() {
        Ok(secret) => secret,
        Err(error) => {
            tracing::error!(%error, "login: make a browser's secret");
            return Ok(respond::page(proxy, &Page::Unavailable, Format::preferred(headers)));
        }
    };
    let known = OurCookies::read(headers, &proxy.shared.rules.cookie_names).secrets;
    // A bad one would only be refused when the app asks for the link.
    let next = next.filter(|next| proxy.shared.token_rules.next.check(next).is_ok());
    let mut url = app_url.clone();
    let mut query = url.query_pairs_mut();
    query.append_pair("state", &secret.state().to_string());
    if let Some(next) = next {
        query.append_pair("next", next);
    }
    query.append_pair("redirect_uri", &format!("{}{}", login.rules().origin, login.rules().login_path));
    drop(query);
    let mut response = respond::see_other(url.as_str())?;
    give(proxy, &mut response, &secret, &known)?;
    Ok(response)
}
