//! The login path: from a link to a login at the hub, by parse, decide and execute.
//!
//! Nothing is consumed until a person's browser asks for it, the hub is known to be alive, and the connection that
//! carries the login stands. Whatever fails ends in a page and no identity.

pub(super) mod admission;
pub(super) mod browser_checks;
pub(super) mod click_ticket;
pub(super) mod parked;
pub(super) mod parse;
pub(super) mod recent_logins;
pub(super) mod refuse;
pub(super) mod single_flight;

mod attempt;
mod confirm;
mod decide;
mod destination;
mod execute;
mod external_token;
mod frame_page;
mod hub_oauth;
mod own_forms;
mod queue_page;
pub(super) mod state_cookie;
mod without_token;

use std::time::Instant;

use hyper::header::{HOST, HeaderValue};
use hyper::{Response, StatusCode};

use super::context::{Proxy, RequestContext};
use super::cookies::OurCookies;
use super::error::ProxyError;
use super::respond;
use super::upstream::ResponseBody;
use super::validate::Rejection;
use attempt::Attempt;
use decide::{Decision, Step, decide};
use parse::{LoginRequest, Parsed, parse};

/// Characters of a foreign Host in the log.
const HOST_SHOWN: usize = 100;

/// Handles a request for the login path.
pub(super) async fn handle(
    proxy: &Proxy,
    context: RequestContext,
) -> Result<Response<ResponseBody>, ProxyError> {
    let mut ours = OurCookies::read(context.request.headers(), &proxy.shared.rules.cookie_names);
    let spoilt = std::mem::take(&mut ours.spoilt);
    let mut response = respond_to(proxy, context, ours).await?;
    respond::forget(proxy, &mut response, &spoilt);
    Ok(response)
}

async fn respond_to(
    proxy: &Proxy,
    context: RequestContext,
    ours: OurCookies,
) -> Result<Response<ResponseBody>, ProxyError> {
    let client = context.origin.client;
    // Under another name than `public.url`'s a browser has other cookies, so that who is logged in could not be known.
    let headers = context.request.headers();
    let is_at_home = proxy.shared.rules.is_public_host(headers);
    let foreign = if is_at_home { None } else { headers.get(HOST).cloned() };
    match parse(proxy, context, ours).await? {
        Parsed::Login(_) | Parsed::ForeignForm(_) | Parsed::Unverified(_) | Parsed::ForgetCookies(..)
            if !is_at_home =>
        {
            tell_of_host(proxy, foreign.as_ref());
            Err(Rejection::Misdirected.into())
        }
        Parsed::Login(request) => log_in(proxy, *request).await,
        Parsed::ForeignForm(form) => execute::continue_by_get(proxy, &form),
        Parsed::Unverified(form) => Ok(refuse::unverified(proxy, &form)),
        Parsed::ForgetCookies(names, token, target) => {
            execute::forget_cookies(proxy, &names, token.as_ref(), &target)
        }
        Parsed::HubForm(request) => without_token::forward_form(proxy, client, request).await,
        Parsed::WithoutToken(context, next) => {
            without_token::handle(proxy, context, next.as_deref(), is_at_home).await
        }
        Parsed::Preview => Ok(respond::bare(StatusCode::OK)),
        Parsed::Other(context) => proxy.forward(context).await,
    }
}

/// Logs it once a minute, because clients choose the name. A front proxy that sends its own Host in place of the browser's
/// lets no login through.
fn tell_of_host(proxy: &Proxy, host: Option<&HeaderValue>) {
    if let Some(unlogged) = proxy.shared.failure_log.admit("foreign_host", "", Instant::now()) {
        let host = host.map(|host| {
            String::from_utf8_lossy(host.as_bytes()).chars().take(HOST_SHOWN).collect::<String>()
        });
        tracing::warn!(
            host,
            unlogged,
            "login: refused under another Host than that of public.url (421): if all are, let what stands before hublatch pass \
             Host as it is"
        );
    }
}

/// Finds out what there is to know until it can be decided, and carries the decision out.
async fn log_in(proxy: &Proxy, request: LoginRequest) -> Result<Response<ResponseBody>, ProxyError> {
    proxy.find_hub().await;
    let mut attempt = Box::new(Attempt::new(proxy, request));
    if attempt.request.accept.a_stream() && attempt.ticket.is_some() {
        return events(*attempt).await;
    }
    loop {
        let plan = match decide(&attempt.facts) {
            Step::Ask(question) => {
                attempt.find_out(question).await;
                continue;
            }
            Step::Do(Decision::Login(plan)) => plan,
            Step::Do(Decision::Queue) => {
                if attempt.keep_link().await {
                    return queue_page::page(&attempt);
                }
                continue;
            }
            Step::Do(Decision::TestFrame) => return frame_page::page(&attempt),
            Step::Do(decision) => {
                let held = std::mem::take(&mut attempt.held);
                let own_next = attempt.own_next.as_deref();
                return execute::respond(proxy, &attempt.request, own_next, &decision, held);
            }
        };
        match execute::log_in(attempt, plan).await {
            Ok(response) => return response,
            // Somebody else has consumed the token: what that means for this browser is decided as before.
            Err(lost) => attempt = lost,
        }
    }
}

/// The events of the page of a browser in line.
async fn events(mut attempt: Attempt) -> Result<Response<ResponseBody>, ProxyError> {
    let own = attempt.request.headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin");
    if !own {
        return Err(Rejection::NotANavigation.into());
    }
    attempt.find_out(decide::Question::Link).await;
    // A link that has ended meanwhile is no refusal here: the page asks again, and says why.
    if let Some(unrecorded) = attempt.held.unrecorded.take() {
        unrecorded.forget();
    }
    Ok(queue_page::events(&attempt))
}
