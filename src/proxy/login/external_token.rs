//! Before a token that only an app can read is judged: what can be checked without its meaning, then the exchange.

use tokio::sync::oneshot;

use super::refuse::{hub_down, refuse, too_many_tries};
use super::responses::confirm_page;
use super::single_flight::FlightGuard;
use super::{Answer, Click, browser_checks};
use crate::audit::Client;
use crate::login::login_token::LoginToken;
use crate::login::{RedeemRequest, Refusal, RefusalReason};
use crate::proxy::validate::Rejection;
use crate::proxy::{Proxy, hub_session};

/// Exchanges `token`, if need be and if nothing stands against it; gives the turn back, or the answer that ends the
/// request. Nothing is burnt before a person wants it and the hub is known to be alive.
pub async fn run(
    proxy: &Proxy,
    click: &Click,
    token: &LoginToken,
    asked: RedeemRequest<'_>,
    turn: FlightGuard,
) -> Result<(FlightGuard, bool), Answer> {
    let login = &proxy.shared.login;
    match login.redeemer.must_exchange(token).await {
        Ok(true) => {}
        Ok(false) => return Ok((turn, false)),
        Err(error) => return Err(refuse(proxy, click, asked.next, &error.into()).await),
    }
    // Each exchange costs an app a question.
    if let Some(wait) = login.redeemer.must_wait(click.origin.client) {
        return Err(Ok(too_many_tries(proxy, click, wait)));
    }
    if login.rules().require_state {
        let refusal = Refusal::Link { reason: RefusalReason::NeedsState, link: None };
        return Err(refuse(proxy, click, asked.next, &refusal).await);
    }
    if asked.next.is_some_and(|next| login.rules().next.check(next).is_err()) {
        return Err(Err(Rejection::Next.into()));
    }
    let Some((lease, _)) = Box::pin(hub_session::of(proxy, &click.headers)).await else {
        return Err(Ok(hub_down(proxy, click, None)));
    };
    lease.release();
    if !click.confirmed && browser_checks::asks_unnamed(proxy, click) {
        return Err(Ok(confirm_page(proxy, click, token, None, asked.next, None)));
    }
    match Box::pin(exchanged(proxy, click, token, turn)).await {
        Ok(turn) => Ok((turn, true)),
        Err(refusal) => Err(refuse(proxy, click, asked.next, &refusal).await),
    }
}

/// Runs as a task of its own: a browser that is clicked twice gives its first request up, and the second must find the
/// token exchanged and not lost.
async fn exchanged(
    proxy: &Proxy,
    click: &Click,
    token: &LoginToken,
    turn: FlightGuard,
) -> Result<FlightGuard, Refusal> {
    let (done, outcome) = oneshot::channel();
    let (proxy, token, address) = (proxy.clone(), token.clone(), click.origin.client);
    let request_id = click.client().request_id.map(str::to_owned);
    let shutdown = proxy.shared.shutdown.clone();
    shutdown.spawn(async move {
        let client = Client { address: Some(address), request_id: request_id.as_deref() };
        let exchanged = proxy.shared.login.redeemer.exchange(&token, client).await;
        // The turn ends here if nobody takes it.
        let _taken = done.send(exchanged.map(|()| turn));
    });
    outcome.await.unwrap_or_else(|_| Err(Refusal::unknown()))
}
