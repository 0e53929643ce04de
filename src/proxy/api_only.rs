//! API-only mode: the hub has no pages there (`hub_routespec = "/hub/api/"`), so people see ours in their place.
//!
//! What a browser navigates to and the hub, or its proxy, answers with an error page without style, becomes one of our
//! pages. Answers to scripts stay: JupyterLab reads their status. So do the pages of a server that runs: its 404 is about
//! a file.

use hyper::{Method, Response, StatusCode};

use super::accept::AcceptHeaders;
use super::context::{Proxy, RequestContext};
use super::error::ProxyResponse;
use super::login::browser_checks;
use super::respond::{self, page, with_cookies_of};
use super::upstream::ResponseBody;
use crate::pages::{Format, Page};

/// Whose pages stand at a path.
enum PageOwner<'p> {
    /// The hub's own.
    Hub,
    /// A user's servers: what follows `user/`.
    Servers(&'p str),
    /// A service's, which looks as its author wants.
    Service,
    /// Nobody's: `/`, and what else the hub's proxy does not route.
    Nobody,
}

/// Passes a request on, and puts a page of ours in the place of one that the hub would not style.
pub(super) async fn forward(proxy: &Proxy, context: RequestContext) -> ProxyResponse {
    let headers = context.request.headers();
    let navigates = *context.request.method() == Method::GET
        && context.upgrade.is_none()
        && context.format() != Format::Json
        && browser_checks::is_navigation(proxy, headers);
    if !navigates {
        return proxy.forward(context).await;
    }
    let (format, path) = (context.format(), context.request.uri().path().to_owned());
    let response = proxy.forward(context).await?;
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return Ok(response);
    }
    let base = &proxy.shared.rules.base_url;
    if response.status() == StatusCode::NOT_FOUND && leads_in(proxy, &path) {
        // The login path knows the way: to the user's server, or to the app.
        let led = respond::see_other(&proxy.shared.rules.login_path)?;
        return Ok(with_cookies_of(led, response.headers()));
    }
    let shown = match owner(path.strip_prefix(base.as_str())) {
        PageOwner::Service => return Ok(response),
        PageOwner::Servers(rest) => {
            // A route without a server behind it is the proxy's 503, and comes with the hub's page too.
            let unreachable = matches!(
                response.status(),
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            );
            if !unreachable && response.status() != StatusCode::NOT_FOUND {
                return Ok(response);
            }
            match runs(proxy, rest).await {
                false => Page::ServerNotRunning,
                true if unreachable => Page::BadGateway,
                // Its own, about a file.
                true => return Ok(response),
            }
        }
        PageOwner::Hub | PageOwner::Nobody if response.status().is_server_error() => Page::BadGateway,
        PageOwner::Hub | PageOwner::Nobody if response.status() == StatusCode::NOT_FOUND => Page::NotFound,
        PageOwner::Hub | PageOwner::Nobody => Page::LoginRefused,
    };
    Ok(with_cookies_of(page(proxy, &shown, format), response.headers()))
}

/// The response to a login that the hub has not followed with a redirect: a page of ours, for a person.
pub(super) fn of_login(
    proxy: &Proxy,
    response: Response<ResponseBody>,
    accept: &AcceptHeaders,
) -> Response<ResponseBody> {
    if !proxy.shared.token_rules.api_only || response.status().is_redirection() {
        return response;
    }
    tracing::warn!(status = response.status().as_u16(), "login: the hub does not let the user in");
    let shown = if response.status().is_server_error() { Page::LoginFailed } else { Page::LoginRefused };
    with_cookies_of(page(proxy, &shown, accept.format()), response.headers())
}

/// The response to a logout: to the app, or a page of ours.
pub(super) fn of_logout(
    proxy: &Proxy,
    response: &Response<ResponseBody>,
    format: Format,
) -> Response<ResponseBody> {
    with_cookies_of(page(proxy, &Page::LoggedOut, format), response.headers())
}

/// Whether people come to `path` who know the address of the notebooks and nothing more.
fn leads_in(proxy: &Proxy, path: &str) -> bool {
    let below = path.strip_prefix(proxy.shared.rules.base_url.trim_end_matches('/'));
    path == "/" || below.is_some_and(|below| matches!(below, "" | "/" | "/hub" | "/hub/" | "/hub/home"))
}

fn owner(below_base: Option<&str>) -> PageOwner<'_> {
    let Some(path) = below_base else { return PageOwner::Nobody };
    match path.split_once('/') {
        Some(("hub", _)) => PageOwner::Hub,
        Some(("user", rest)) => PageOwner::Servers(rest),
        Some(("services", _)) => PageOwner::Service,
        Some(_) | None => PageOwner::Nobody,
    }
}

/// Whether a server runs that could have answered for `rest`, `USER/…` or `USER/SERVER/…`. Where the hub does not say, the
/// response stays as it is.
async fn runs(proxy: &Proxy, rest: &str) -> bool {
    let Ok(_asker) = proxy.shared.askers.try_acquire() else { return true };
    let mut segments =
        rest.split('/').map(|segment| percent_encoding::percent_decode_str(segment).decode_utf8());
    let Some(Ok(name)) = segments.next() else { return true };
    let server = segments.next().and_then(Result::ok).unwrap_or_default();
    match proxy.shared.login.hub().user(&name).await {
        Ok(Some(user)) => {
            ["", &server].iter().any(|server| user.servers.get(*server).is_some_and(|server| server.ready))
        }
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(%error, "API-only mode: ask the hub whether a server runs");
            true
        }
    }
}
