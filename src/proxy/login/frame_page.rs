//! The page of a login in a frame of another site: it tests whether the browser keeps anything there, before the link is used up.
//!
//! Without cookies the login would be lost, and without storage JupyterLab loads again and again. Only a script can tell; it
//! asks for the same address again, and that request comes from this origin. The signed time of the click, in a cookie, says
//! then that the click itself came from the app's own page.

use super::attempt::Attempt;
use super::queue_page::give_ticket;
use crate::config::EmbedCookies;
use crate::login::ValidatedToken;
use crate::pages::Page;
use crate::proxy::embed::Embed;
use crate::proxy::error::ProxyResponse;
use crate::proxy::respond::{self, Continuation};

/// The page, at the address of the link: neither the token nor the link has to be in it.
pub fn page(attempt: &Attempt) -> ProxyResponse {
    let Attempt { proxy, request, .. } = attempt;
    let embed = proxy.shared.embed.as_ref();
    if embed.is_some_and(|embed| embed.cookies() == EmbedCookies::Lax) {
        tracing::warn!(
            "login: a frame of another site, where browsers keep no cookie with embed.cookies = \"lax\": set \"none\" or \
             \"partitioned\""
        );
    }
    let page = Page::Frame { attributes: embed.map_or("", Embed::attributes) };
    let app = attempt.held.token.as_ref().map(ValidatedToken::app);
    let mut response = respond::page_of(proxy, &page, request.accept.format(), app);
    // Without a ticket the person may be asked first, and no more.
    give_ticket(attempt, &mut response)?;
    if let Some(token) = request.token.as_ref().filter(|_| !request.is_token_in_address) {
        // The person may think about the button.
        respond::set_continuation(proxy, &mut response, Continuation::Waiting, token.expose())?;
    }
    Ok(response)
}
