//! The login path without a token: the hub's own login, a page of ours, or the way to the app.

use super::responses::page;
use super::{Answer, browser_checks, execute, own_headers, state_cookie};
use crate::config::WithoutToken;
use crate::login::next::form_decode;
use crate::pages::Page;
use crate::proxy::{Proxy, RequestContext, hub_session, launch_page};
use crate::token::Username;

/// The login page without a token: for those whom the hub knows, the hub's; for others, by the configuration, ours.
///
/// `next` is the query's, still encoded.
pub async fn answer(proxy: &Proxy, context: RequestContext, next: Option<&str>) -> Answer {
    let headers = context.request.headers();
    match proxy.shared.rules.without_token {
        WithoutToken::Forward => proxy.forward(context).await,
        WithoutToken::Page | WithoutToken::Redirect => {
            match hub_session::of(proxy, &own_headers(headers.clone())).await {
                None => Ok(page(proxy, &Page::HubDown, context.format())),
                Some((_, None)) => match &proxy.shared.rules.redirect_to {
                    // A script could not follow to another site; it is told what is the matter.
                    Some(app_url)
                        if browser_checks::is_navigation(proxy, headers)
                            && !browser_checks::is_prefetch(headers) =>
                    {
                        let next = next.and_then(form_decode);
                        // A bad one would only be refused when the app asks for the link.
                        let next = next.filter(|next| proxy.shared.token_rules.next.check(next).is_ok());
                        state_cookie::send_to_app(proxy, app_url, headers, next.as_deref())
                    }
                    Some(_) | None => Ok(page(proxy, &Page::NoToken, context.format())),
                },
                Some((lease, Some(name))) => {
                    lease.release();
                    // The hub would lead to its spawn page, which API-only mode does not have.
                    match Username::from_store(&name).and_then(|name| execute::home(proxy, &name)) {
                        Some(home) if next.is_none() => launch_page::lead_to(&home),
                        Some(_) | None => proxy.forward(context).await,
                    }
                }
            }
        }
    }
}
