//! The login path without a token: the hub's own login, a page of ours, or the way to the app.

use std::net::IpAddr;

use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};

use super::parse::own_headers;
use super::{browser_checks, destination, refuse, state_cookie};
use crate::body::RequestBody;
use crate::config::WithoutToken;
use crate::login::next::form_decode;
use crate::pages::Page;
use crate::proxy::context::{Proxy, RequestContext};
use crate::proxy::error::{ProxyError, ProxyResponse};
use crate::proxy::hub_session::HubTrouble;
use crate::proxy::upstream::limit::Purpose;
use crate::proxy::validate::Rejection;
use crate::proxy::{cookies, hub_session, respond, sessions};
use crate::token::Username;

/// What becomes of the login page without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginPageDecision {
    /// The hub's own login.
    Forward,
    /// The page that says a link is needed.
    NoToken,
    /// The way to the app, which issues a link.
    ToApp,
    /// The first page of the user's server: the hub would lead to its spawn page, which API-only mode does not have.
    Home,
    /// The page of a hub that does not answer.
    HubDown,
    /// The page of a hub that answers, but does not say who the browser is.
    Unidentified(HubTrouble),
}

/// Whom the hub knows the browser as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visitor {
    HubDown,
    Unidentified(HubTrouble),
    Nobody,
    User { has_home: bool },
}

/// `visitor`: none where the configuration does not care.
fn decide(
    rule: WithoutToken,
    visitor: Option<Visitor>,
    navigates: bool,
    has_next: bool,
) -> LoginPageDecision {
    match (rule, visitor) {
        (WithoutToken::Forward, _) | (_, None) => LoginPageDecision::Forward,
        (_, Some(Visitor::HubDown)) => LoginPageDecision::HubDown,
        (_, Some(Visitor::Unidentified(trouble))) => LoginPageDecision::Unidentified(trouble),
        // A script could not follow a redirect to another site; it gets an error that says so.
        (WithoutToken::Redirect, Some(Visitor::Nobody)) if navigates => LoginPageDecision::ToApp,
        (_, Some(Visitor::Nobody)) => LoginPageDecision::NoToken,
        (_, Some(Visitor::User { has_home: true })) if !has_next => LoginPageDecision::Home,
        (_, Some(Visitor::User { .. })) => LoginPageDecision::Forward,
    }
}

/// The login page without a token: for those whom the hub knows, the hub's; for others, by the configuration, ours.
///
/// `next` is the query's, still encoded. `is_at_home`: its Host is that of `public.url`.
pub async fn handle(
    proxy: &Proxy,
    context: RequestContext,
    next: Option<&str>,
    is_at_home: bool,
) -> ProxyResponse {
    let rule = proxy.shared.rules.without_token;
    let headers = context.request.headers();
    let (visitor, home) = match rule {
        WithoutToken::Forward => (None, None),
        WithoutToken::Page | WithoutToken::Redirect => identify(proxy, context.origin.client, headers).await,
    };
    let navigates = browser_checks::is_navigation(proxy, headers) && !browser_checks::is_prefetch(headers);
    if visitor == Some(Visitor::Nobody)
        && context.ended.is_none()
        && navigates
        // A browser that has any of these keeps cookies: its user has logged out, or the session is over.
        && !cookies::has_of_a_login(headers)
        && let Some(place) = next.and_then(form_decode)
        && let Some(username) = proxy.shared.recent_logins.take(context.origin.client, headers, &place)
    {
        let frame = headers.get("sec-fetch-dest").filter(|dest| *dest != "document");
        tracing::warn!(
            username,
            frame = ?frame,
            "login: a browser was logged in a moment ago, and is back without the hub's cookie: it keeps none from here, \
             or this is a frame of another site ([embed] cookies)"
        );
        return Ok(respond::page(proxy, &Page::CookieLost, context.format()));
    }
    match (decide(rule, visitor, navigates, next.is_some()), home, &proxy.shared.rules.redirect_to) {
        (LoginPageDecision::Forward, ..) | (LoginPageDecision::Home, None, _) => proxy.forward(context).await,
        (LoginPageDecision::Home, Some(home), _) => respond::see_other(&home),
        (LoginPageDecision::HubDown, ..) => {
            Ok(respond::page(proxy, &Page::HubDown { retries: true }, context.format()))
        }
        (LoginPageDecision::Unidentified(trouble), ..) => {
            let next = next.and_then(form_decode);
            Ok(refuse::trouble_page(proxy, trouble, context.format(), (None, next.as_deref()), None))
        }
        // The link that the app issues is for `public.url`, where the browser would not have the cookie that it needs.
        (LoginPageDecision::ToApp, _, Some(_)) if !is_at_home => Err(Rejection::Misdirected.into()),
        (LoginPageDecision::ToApp, _, Some(app_url)) => {
            let next = next.and_then(form_decode);
            state_cookie::send_to_app(proxy, app_url, headers, next.as_deref())
        }
        (LoginPageDecision::NoToken, ..) | (LoginPageDecision::ToApp, _, None) => Ok(match &context.ended {
            Some(ended) => sessions::page(proxy, ended, context.format()),
            None => respond::page(proxy, &Page::NoToken, context.format()),
        }),
    }
}

async fn identify(proxy: &Proxy, client: IpAddr, headers: &HeaderMap) -> (Option<Visitor>, Option<String>) {
    match hub_session::identify(proxy, client, hub_session::question(&own_headers(headers.clone()))).await {
        Err(HubTrouble::Down) => (Some(Visitor::HubDown), None),
        Err(trouble) => (Some(Visitor::Unidentified(trouble)), None),
        Ok((_, None)) => (Some(Visitor::Nobody), None),
        Ok((connection, Some(name))) => {
            connection.release();
            let home = Username::from_store(&name).and_then(|name| destination::home(proxy, &name));
            (Some(Visitor::User { has_home: home.is_some() }), home)
        }
    }
}

/// Passes the hub's own login form on; its body has been read.
pub async fn forward_form(proxy: &Proxy, client: IpAddr, mut request: Request<RequestBody>) -> ProxyResponse {
    cookies::strip_ours(request.headers_mut());
    proxy.strip_query(&mut request)?;
    let without_bad = |form: &[u8]| proxy.shared.token_rules.next.without_bad(form);
    if let RequestBody::Whole(body, _) = request.body_mut()
        && let Some(rest) = without_bad(body)
    {
        *body = rest.into();
        let length = HeaderValue::from(body.len());
        request.headers_mut().insert(CONTENT_LENGTH, length);
    }
    *request.version_mut() = hyper::Version::HTTP_11;
    let share = proxy.shared.hub_share(client, Purpose::Login).await?;
    let mut response = proxy.upstream.send(Box::new(request), share).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ProxyError::UnaskedUpgrade { server: Box::default() });
    }
    proxy.shared.finish(response.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_without_a_token_goes_where_the_configuration_says() {
        use WithoutToken::{Forward, Page, Redirect};
        let user = |has_home| Some(Visitor::User { has_home });
        for (rule, visitor, navigates, has_next, expected) in [
            (Forward, None, true, false, LoginPageDecision::Forward),
            (Page, Some(Visitor::HubDown), true, false, LoginPageDecision::HubDown),
            (
                Page,
                Some(Visitor::Unidentified(HubTrouble::TooManyCookies)),
                true,
                false,
                LoginPageDecision::Unidentified(HubTrouble::TooManyCookies),
            ),
            (Page, Some(Visitor::Nobody), true, false, LoginPageDecision::NoToken),
            (Redirect, Some(Visitor::Nobody), true, true, LoginPageDecision::ToApp),
            (Redirect, Some(Visitor::Nobody), false, false, LoginPageDecision::NoToken),
            (Redirect, Some(Visitor::HubDown), true, false, LoginPageDecision::HubDown),
            (Page, user(false), true, false, LoginPageDecision::Forward),
            (Page, user(true), true, false, LoginPageDecision::Home),
            (Redirect, user(true), true, true, LoginPageDecision::Forward),
        ] {
            let decided = decide(rule, visitor, navigates, has_next);
            assert_eq!(decided, expected, "{rule:?} {visitor:?} {navigates} {has_next}");
        }
    }
}
