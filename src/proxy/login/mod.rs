//! The login path: from a link to a login at the hub.
//!
//! Nothing is consumed until a person's browser asks for it, the hub is known to be alive, and the connection that
//! carries the login stands. Whatever fails ends in a page and no identity.

pub(super) mod browser_checks;
mod execute;
mod external_token;
mod form;
mod refuse;
mod relay;
mod responses;
mod single_flight;
mod state_cookie;
mod without_token;

use hyper::{HeaderMap, Method, Response, StatusCode};
use tokio::time::Instant;

use super::accept::AcceptHeaders;
use super::error::ProxyError;
use super::headers::Origin;
use super::upstream::ResponseBody;
use super::validate::Rejection;
use super::{Proxy, RequestContext, cookies, hub_session, request_id, without_body};
use crate::audit::Client;
use crate::config::Confirm;
use crate::login::next::{Next, form_decode};
use crate::login::query::LoginQuery;
use crate::login::{RedeemRequest, Refusal};
use crate::token::{OpaqueToken, State};

pub(super) use browser_checks::is_navigation;
use refuse::{hub_down, refuse};
pub use relay::RelaySecret;
use responses::confirm_page;
pub(super) use responses::{location, page, plain};
pub use single_flight::SingleFlight;
use single_flight::Taken;

type Answer = Result<Response<ResponseBody>, ProxyError>;

/// A request that wants to be logged in.
pub(super) struct Click {
    /// The token's text; it may have any shape.
    token: String,
    /// `next`, still encoded.
    next: Option<String>,
    /// The other parameters, byte for byte.
    others: String,
    /// The browser's headers, stripped, without our cookies.
    headers: HeaderMap,
    origin: Origin,
    /// In what form it wants a page: judged only if there is one.
    wishes: AcceptHeaders,
    /// The request asks for another protocol.
    upgrade: bool,
    /// A person pressed the button of our confirm page.
    confirmed: bool,
    /// The request carried our hand-over cookie.
    handed_over: bool,
    /// The states that the browser can prove.
    states: Vec<State>,
    /// Until when it waits for another request with the same token.
    deadline: Instant,
}

impl Click {
    /// Who clicks, for the audit.
    fn client(&self) -> Client<'_> {
        let request_id = self.headers.get(request_id::X_REQUEST_ID).and_then(|id| id.to_str().ok());
        Client { address: Some(self.origin.client), request_id }
    }
}

/// Answers a request for the login path.
pub(super) async fn answer(proxy: &Proxy, mut context: RequestContext) -> Answer {
    let parameter = &proxy.shared.token_rules.parameter;
    let query = context.request.uri().query().unwrap_or_default().to_owned();
    let parsed = LoginQuery::parse(&query, parameter).map_err(|_| Rejection::LoginQuery);
    match *context.request.method() {
        // Link previews ask with HEAD. They learn nothing and cost nothing.
        Method::HEAD if parsed.as_ref().map_or(true, |query| query.token.is_some()) => {
            Ok(plain(StatusCode::OK))
        }
        Method::POST if form::is_urlencoded(context.request.headers()) => form::answer(proxy, context).await,
        Method::GET => {
            let query = parsed?;
            // What no token looks like is not ours: somebody planted it, and it must not stand before the hub's login.
            let in_cookie = cookies::handed_over(context.request.headers())
                .filter(|text| proxy.shared.login.redeemer.parse(text).is_some());
            let handed_over = in_cookie.is_some();
            let Some(token) = query.token.map(token_text).or(in_cookie) else {
                return without_token::answer(proxy, context, query.next).await;
            };
            let click = Click {
                token,
                next: query.next.map(str::to_owned),
                others: query.rest(parameter),
                origin: context.origin,
                wishes: AcceptHeaders::of(context.request.headers()),
                upgrade: context.has_upgrade,
                confirmed: false,
                handed_over,
                states: state_cookie::of(proxy, context.request.headers()),
                deadline: Instant::now() + single_flight::DOUBLE_CLICK,
                headers: own_headers(std::mem::take(context.request.headers_mut())),
            };
            redeem(proxy, click).await
        }
        _ => proxy.forward(context).await,
    }
}

/// The token that a parameter's value spells. Ours is written as it is; an app may have made one that is not, or that
/// its library has encoded.
fn token_text(value: &str) -> String {
    if OpaqueToken::parse(value).is_some() {
        return value.to_owned();
    }
    form_decode(value)
        .filter(|decoded| OpaqueToken::parse(decoded).is_none())
        .unwrap_or_else(|| value.to_owned())
}

/// The headers of `headers` for requests of our own that stand for the browser's.
pub(super) fn own_headers(headers: HeaderMap) -> HeaderMap {
    let mut own = without_body(headers);
    cookies::strip_ours(&mut own);
    own
}

/// Everything before the token is taken; then [`conclude`].
async fn redeem(proxy: &Proxy, click: Click) -> Answer {
    let login = &proxy.shared.login;
    if browser_checks::is_prefetch(&click.headers) {
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE));
    }
    browser_checks::check_navigation(&click.headers, proxy.shared.embed.is_some())?;
    if click.upgrade {
        return Err(Rejection::LoginUpgrade.into());
    }
    let asked = match click.next.as_deref().map(form_decode) {
        Some(None) => return Err(Rejection::Next.into()),
        Some(Some(next)) => Some(next),
        None => None,
    };
    let Some(token) = login.redeemer.parse(&click.token) else {
        let refusal = Refusal::unknown();
        return refuse(proxy, &click, None, &refusal).await;
    };
    let turn = match single_flight::take(proxy, &click, &token).await {
        Taken::Turn(turn) => Some(turn),
        Taken::Answer(answer) => return Ok(answer),
        Taken::TooLate => None,
    };
    let asks = RedeemRequest { next: asked.as_deref(), states: &click.states, by_app: false };
    let (turn, unnamed) = match turn {
        None => (None, false),
        Some(turn) => match external_token::run(proxy, &click, &token, asks, turn).await {
            // Whoever pressed a button for this did not see a name on it.
            Ok((turn, exchanged)) => (Some(turn), exchanged && click.confirmed),
            Err(answer) => return answer,
        },
    };
    let offer = match login.redeemer.validate(&token, asks).await {
        Ok(offer) => offer,
        Err(refusal) => {
            // There is nothing to take turns for any more, and this may wait.
            drop(turn);
            return refuse(proxy, &click, asked.as_deref(), &refusal).await;
        }
    };
    // The other redeeming has not ended, and has not consumed the token either: the hub must be very slow.
    let Some(turn) = turn else { return Ok(hub_down(proxy, &click, Some(offer.link()))) };
    // Put together before anything is consumed: what cannot be sent must cost nobody a link.
    let target = execute::target(proxy, &click, &offer)?;
    let Some((mut lease, current)) = hub_session::of(proxy, &click.headers).await else {
        return Ok(hub_down(proxy, &click, Some(offer.link())));
    };
    let other = current.as_deref().filter(|name| *name != offer.username().as_str());
    let another = other.is_some() && login.rules().confirm != Confirm::Never;
    if (!click.confirmed && browser_checks::asks(proxy, &click, &offer, another)) || (unnamed && another) {
        lease.release();
        let (name, next) = (offer.username().as_str(), offer.next().map(Next::as_str));
        return Ok(confirm_page(proxy, &click, &token, Some(name), next, other));
    }
    // The last thing that can fail before the token is taken.
    if lease.ready().await.is_err() {
        lease = match proxy.upstream.connect().await {
            Ok(lease) => lease,
            Err(error) => {
                tracing::warn!(%error, "login: no connection to the hub");
                return Ok(hub_down(proxy, &click, Some(offer.link())));
            }
        };
    }
    let login = execute::Login { proxy: proxy.clone(), click, asked, target, lease, current };
    login.run(turn, offer).await
}
