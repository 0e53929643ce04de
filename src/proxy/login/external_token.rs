//! The exchange of a token that only an app can read.

use tokio::sync::oneshot;

use super::parse::LoginRequest;
use super::single_flight::FlightGuard;
use crate::audit::Client;
use crate::login::login_token::LoginToken;
use crate::login::{ExchangeSubject, FailedExchange, Refusal};
use crate::proxy::context::Proxy;

/// Consumes `token`, and asks its app whose it is; gives `flight` back.
///
/// Runs as a task of its own: a browser that is clicked twice gives its first request up, and the second must find the
/// token exchanged and not lost.
pub async fn exchange(
    proxy: &Proxy,
    request: &LoginRequest,
    token: &LoginToken,
    flight: FlightGuard,
) -> Result<FlightGuard, FailedExchange> {
    let (done, outcome) = oneshot::channel();
    let (proxy, token, address) = (proxy.clone(), token.clone(), request.origin.client);
    let request_id = request.client().request_id.map(str::to_owned);
    let shutdown = proxy.shared.shutdown.clone();
    shutdown.spawn(async move {
        let client = Client { address: Some(address), request_id: request_id.as_deref() };
        let exchanged = proxy.shared.login.redeemer.exchange(&token, client).await;
        // If nobody receives it, the flight ends here.
        let _received = done.send(exchanged.map(|()| flight));
    });
    let given_up = || FailedExchange { refusal: Refusal::unknown(), subject: ExchangeSubject::default() };
    outcome.await.unwrap_or_else(|_| Err(given_up()))
}
