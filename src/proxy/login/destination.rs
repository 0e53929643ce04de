//! Where a login leads: the address at which the hub is asked for it, and the page of a user who is logged in already.

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::parse::LoginRequest;
use crate::login::ValidatedToken;
use crate::login::next::form_encode;
use crate::proxy::context::Proxy;
use crate::proxy::validate::Rejection;
use crate::store::Link;
use crate::token::Username;

/// What the hub is asked for: the login path with `next` and the other parameters. The browser's own spelling where its
/// own `next` is taken: "value unchanged".
pub fn at_hub(proxy: &Proxy, request: &LoginRequest, token: &ValidatedToken) -> Result<Uri, Rejection> {
    let login = &proxy.shared.login;
    let granted =
        login.policy().spawn_tickets.granted_next(token.link(), token.next()).map(|next| form_encode(&next));
    let next = granted.or_else(|| request.next.clone());
    // Left to itself the hub would choose a page of its own, and in API-only mode it has none.
    let next = next.or_else(|| home(proxy, token.username()).map(|home| form_encode(&home)));
    let next = next.map(|next| format!("next={next}"));
    let others = Some(request.other_parameters.clone()).filter(|others| !others.is_empty());
    let query: Vec<String> = next.into_iter().chain(others).collect();
    let path = &proxy.shared.token_rules.login_path;
    let target = if query.is_empty() { path.clone() } else { format!("{path}?{}", query.join("&")) };
    Uri::try_from(target).map_err(|_| Rejection::LoginQuery)
}

/// How many bytes the head of a GET of `target` with `headers` has.
pub fn head_bytes<'a>(
    target: &Uri,
    headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> usize {
    let target = target.path_and_query().map_or(0, |target| target.as_str().len());
    let lines = headers.into_iter().map(|(name, value)| name.as_str().len() + ": \r\n".len() + value.len());
    "GET  HTTP/1.1\r\n\r\n".len() + target + lines.sum::<usize>()
}

/// Where a user goes whom `link` has logged in before: refresh, back, double click, another tab. `own_next` is the
/// request's own `next`, decoded.
pub fn of_used(proxy: &Proxy, link: &Link, own_next: Option<&str>) -> Result<String, Rejection> {
    let policy = proxy.shared.login.policy();
    let next = policy.destination_of(link, own_next).map_err(|_| Rejection::Next)?;
    Ok(policy
        .spawn_tickets
        .waiting_page(link, next.as_ref())
        .or_else(|| next.map(|next| next.as_str().to_owned()))
        .or_else(|| home(proxy, &link.grant.username))
        .unwrap_or_else(|| format!("{}hub/", proxy.shared.rules.base_url)))
}

/// In API-only mode: where a user goes whom no link leads elsewhere.
pub fn home(proxy: &Proxy, username: &Username) -> Option<String> {
    let rules = proxy.shared.login.rules();
    let home = rules.api_only.then(|| rules.home_of(username)).flatten();
    home.map(|home| home.as_str().to_owned())
}
