//! The login path: from a link to a login at the hub (contract.md section 3, steps 1 to 8).
//!
//! Nothing is consumed until a person's browser asks for it, the hub is known to be alive, and the connection that
//! carries the login stands. Whatever fails ends in a page and no identity.

mod conclude;
mod exchange;
mod form;
mod gate;
mod state;
mod turns;

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER};
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::error::ProxyError;
use super::headers::Origin;
use super::target::Rejection;
use super::upstream::{Lease, ResponseBody};
use super::visitor::Visitor;
use super::{Passing, Proxy, cookies, without_body};
use crate::config::{Confirm, WithoutToken};
use crate::login::next::{Next, form_decode};
use crate::login::presented::Presented;
use crate::login::query::LoginQuery;
use crate::login::{Asked, Refusal, RefusalReason};
use crate::pages::{Format, Page, Refused};
use crate::store::Link;
use crate::token::{LoginToken, State};

/// How long a second request for a token waits for the first.
const DOUBLE_CLICK: Duration = Duration::from_secs(5);

pub use turns::Turns;
use turns::{Browser, Redeeming, Turn};

type Answer = Result<Response<ResponseBody>, ProxyError>;

/// A request that wants to be logged in.
struct Click {
    /// The token's text; it may have any shape.
    token: String,
    /// `next`, still encoded.
    next: Option<String>,
    /// The other parameters, byte for byte.
    others: String,
    /// The browser's headers, stripped, without our cookies.
    headers: HeaderMap,
    origin: Origin,
    format: Format,
    /// The request asks for another protocol.
    upgrade: bool,
    /// A person pressed the button of our confirm page.
    confirmed: bool,
    /// The request carried our hand-over cookie.
    handed_over: bool,
    /// The states that the browser can prove.
    states: Vec<State>,
}

/// Answers a request for the login path.
pub(super) async fn answer(proxy: &Proxy, passing: Passing) -> Answer {
    let parameter = &proxy.shared.login.rules().parameter;
    let query = passing.request.uri().query().unwrap_or_default().to_owned();
    let parsed = LoginQuery::parse(&query, parameter).map_err(|_| Rejection::LoginQuery);
    match *passing.request.method() {
        // Link previews ask with HEAD. They learn nothing and cost nothing.
        Method::HEAD if parsed.as_ref().map_or(true, |query| query.token.is_some()) => {
            Ok(plain(StatusCode::OK))
        }
        Method::POST if form::is_urlencoded(passing.request.headers()) => form::answer(proxy, passing).await,
        Method::GET => {
            let query = parsed?;
            // What no token looks like is not ours: somebody planted it, and it must not stand before the hub's login.
            let in_cookie = cookies::handed_over(passing.request.headers())
                .filter(|text| proxy.shared.login.present(text).is_some());
            let handed_over = in_cookie.is_some();
            let Some(token) = query.token.map(token_text).or(in_cookie) else {
                return without_token(proxy, passing, query.next).await;
            };
            let click = Click {
                token,
                next: query.next.map(str::to_owned),
                others: query.rest(parameter),
                headers: own_headers(passing.request.headers()),
                origin: passing.origin,
                format: passing.format(),
                upgrade: passing.has_upgrade,
                confirmed: false,
                handed_over,
                states: state::of(proxy, passing.request.headers()),
            };
            redeem(proxy, click).await
        }
        _ => proxy.pass(passing).await,
    }
}

/// The token that a parameter's value spells. Ours is written as it is; an app may have made one that is not, or that
/// its library has encoded.
fn token_text(value: &str) -> String {
    form_decode(value)
        .filter(|decoded| LoginToken::parse(decoded).is_none())
        .unwrap_or_else(|| value.to_owned())
}

/// The login page without a token: for those whom the hub knows, the hub's; for others, by the configuration, ours.
///
/// `next` is the query's, still encoded.
async fn without_token(proxy: &Proxy, passing: Passing, next: Option<&str>) -> Answer {
    let headers = passing.request.headers();
    match proxy.shared.rules.without_token {
        WithoutToken::Forward => proxy.pass(passing).await,
        WithoutToken::Page | WithoutToken::Redirect => match visitor_of(proxy, &own_headers(headers)).await {
            None => Ok(page(proxy, &Page::HubDown, passing.format())),
            Some((_, None)) => match &proxy.shared.rules.redirect_to {
                // A script could not follow to another site; it is told what is the matter.
                Some(app_url) if is_navigation(proxy, headers) && !gate::is_prefetch(headers) => {
                    let next = next.and_then(form_decode);
                    // A bad one would only be refused when the app asks for the link.
                    let next = next.filter(|next| proxy.shared.login.rules().next.check(next).is_ok());
                    state::send_to_app(proxy, app_url, headers, next.as_deref())
                }
                Some(_) | None => Ok(page(proxy, &Page::NoToken, passing.format())),
            },
            Some((lease, Some(_))) => {
                lease.release();
                proxy.pass(passing).await
            }
        },
    }
}

/// Whether a person's browser is to show the answer, as far as can be told.
pub(super) fn is_navigation(proxy: &Proxy, headers: &HeaderMap) -> bool {
    gate::check_navigation(headers, proxy.shared.embed.is_some()).is_ok()
}

/// The headers of `headers` for requests of our own that stand for the browser's.
fn own_headers(headers: &HeaderMap) -> HeaderMap {
    let mut own = without_body(headers);
    cookies::strip_ours(&mut own);
    own
}

/// Steps 1 to 4, and the rule of the used link; then [`conclude`].
async fn redeem(proxy: &Proxy, click: Click) -> Answer {
    let login = &proxy.shared.login;
    if gate::is_prefetch(&click.headers) {
        return Ok(plain(StatusCode::SERVICE_UNAVAILABLE));
    }
    gate::check_navigation(&click.headers, proxy.shared.embed.is_some())?;
    if click.upgrade {
        return Err(Rejection::LoginUpgrade.into());
    }
    let asked = match click.next.as_deref().map(form_decode) {
        Some(None) => return Err(Rejection::Next.into()),
        Some(Some(next)) => Some(next),
        None => None,
    };
    let Some(token) = login.present(&click.token) else {
        let refusal = Refusal::Link { reason: RefusalReason::Unknown, link: None };
        return refuse(proxy, &click, None, &refusal).await;
    };
    let turn = match take_turn(proxy, &click, &token).await {
        Taken::Turn(turn) => Some(turn),
        Taken::Answer(answer) => return Ok(answer),
        Taken::TooLate => None,
    };
    let asks = Asked { next: asked.as_deref(), states: &click.states };
    let (turn, unnamed) = match turn {
        None => (None, false),
        Some(turn) => match exchange::run(proxy, &click, &token, asks, turn).await {
            // Whoever pressed a button for this did not see a name on it.
            Ok((turn, exchanged)) => (Some(turn), exchanged && click.confirmed),
            Err(answer) => return answer,
        },
    };
    let offer = match login.offer_presented(&token, asks).await {
        Ok(offer) => offer,
        Err(refusal) => return refuse(proxy, &click, asked.as_deref(), &refusal).await,
    };
    // The other redeeming has not ended, and has not consumed the token either: the hub must be very slow.
    let Some(turn) = turn else { return Ok(hub_down(proxy, &click, Some(offer.link()))) };
    // Put together before anything is consumed: what cannot be sent must cost nobody a link.
    let target = conclude::target(proxy, &click, &offer)?;
    let Some((mut lease, current)) = visitor_of(proxy, &click.headers).await else {
        return Ok(hub_down(proxy, &click, Some(offer.link())));
    };
    let other = current.as_deref().filter(|name| *name != offer.username().as_str());
    let another = other.is_some() && login.rules().confirm != Confirm::Never;
    if (!click.confirmed && gate::asks(proxy, &click, &offer, another)) || (unnamed && another) {
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
    let login = conclude::Login { proxy: proxy.clone(), click, asked, target, lease, current };
    login.run(turn, offer).await
}

/// What came of waiting for a token's turn.
enum Taken {
    Turn(Redeeming),
    /// The same browser's earlier request has brought the login about, and could not take the answer.
    Answer(Response<ResponseBody>),
    TooLate,
}

/// Waits for another redeeming of the same token, at most [`DOUBLE_CLICK`].
async fn take_turn(proxy: &Proxy, click: &Click, token: &Presented) -> Taken {
    let deadline = tokio::time::Instant::now() + DOUBLE_CLICK;
    loop {
        match proxy.shared.turns.enter(token.digest()) {
            Turn::Mine(turn) => return Taken::Turn(turn),
            Turn::Wait(other) => {
                match tokio::time::timeout_at(deadline, other.wait(&Browser::of(click))).await {
                    Ok(Some(answer)) => return Taken::Answer(answer),
                    Ok(None) => {}
                    Err(_) => return Taken::TooLate,
                }
            }
        }
    }
}

/// Asks the hub who the browser is. `None`: the hub is not to be had, and nothing may be consumed.
async fn visitor_of(proxy: &Proxy, headers: &HeaderMap) -> Option<(Lease, Option<String>)> {
    let visitor = Visitor::new(&proxy.shared.rules, headers);
    let error = match proxy.upstream.lease().await {
        Ok(mut lease) => match visitor.name(&mut lease).await {
            Ok(name) => return Some((lease, name)),
            // An idle connection may have been closed by the other side a moment ago: one more try on a new one.
            Err(error) if lease.is_reused() && !error.is_timeout() => match proxy.upstream.connect().await {
                Ok(mut lease) => match visitor.name(&mut lease).await {
                    Ok(name) => return Some((lease, name)),
                    Err(_) => error,
                },
                Err(_) => error,
            },
            Err(error) => error,
        },
        Err(error) => error.into(),
    };
    tracing::warn!(%error, "login: ask the hub who the visitor is");
    None
}

/// The page of a hub that is not to be had; `link` stays as it is.
fn hub_down(proxy: &Proxy, click: &Click, link: Option<&Link>) -> Response<ResponseBody> {
    proxy.shared.login.refused_for("hub_unavailable", link, Some(click.origin.client));
    page(proxy, &Page::HubDown, click.format)
}

/// The page of a link that is not honoured, or the way on for one whom it has served already.
async fn refuse(proxy: &Proxy, click: &Click, asked: Option<&str>, refusal: &Refusal) -> Answer {
    let login = &proxy.shared.login;
    match refusal {
        Refusal::Link { reason, link: Some(link) }
            if (*reason == RefusalReason::Used && login.is_within_grace(link))
                || *reason == RefusalReason::Bound =>
        {
            if let Some((lease, current)) = visitor_of(proxy, &click.headers).await {
                lease.release();
                if current.as_deref() == Some(link.grant.username.as_str()) {
                    return go_on(proxy, click, link, asked);
                }
            }
        }
        Refusal::Link { .. } | Refusal::Next { .. } | Refusal::Store(_) => {}
    }
    if matches!(refusal, Refusal::Link { reason: RefusalReason::Unknown, .. }) {
        login.unknown_from(click.origin.client);
        if let Some(wait) = login.must_wait(click.origin.client) {
            return form::take_back(proxy, click, too_many_tries(proxy, click, wait));
        }
    }
    login.refused(refusal, Some(click.origin.client));
    let refused = match refusal {
        Refusal::Next { error, .. } => {
            tracing::debug!(%error, "login: next refused");
            return Err(Rejection::Next.into());
        }
        Refusal::Store(error) => {
            tracing::error!(%error, "login: token store");
            return Ok(page(proxy, &Page::StoreDown, click.format));
        }
        Refusal::Link { reason, .. } => match reason {
            RefusalReason::Unknown => Refused::Unknown,
            RefusalReason::Expired => Refused::Expired,
            RefusalReason::Used => Refused::Used,
            RefusalReason::Revoked => Refused::Revoked,
            RefusalReason::NotAllowed => Refused::NotAllowed,
            RefusalReason::Bound => Refused::Bound,
            RefusalReason::NeedsState => Refused::NeedsState,
        },
    };
    form::take_back(proxy, click, page(proxy, &Page::Refused(refused), click.format))
}

/// An address that has brought too many unknown tokens waits.
fn too_many_tries(proxy: &Proxy, click: &Click, wait: Duration) -> Response<ResponseBody> {
    proxy.shared.login.refused_for("too_many_tries", None, Some(click.origin.client));
    let mut answer = page(proxy, &Page::TooManyTries, click.format);
    // Whole seconds, and none too few (RFC 9110 § 10.2.3).
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    answer
}

/// Refresh, back, double click, another tab: this very user is logged in; she goes where the link leads, without a
/// login.
fn go_on(proxy: &Proxy, click: &Click, link: &Link, asked: Option<&str>) -> Answer {
    let next = proxy.shared.login.destination_of(link, asked).map_err(|_| Rejection::Next)?;
    let home = format!("{}hub/", proxy.shared.rules.base_url);
    let mut answer = plain(StatusCode::SEE_OTHER);
    answer.headers_mut().insert(LOCATION, location(next.as_ref().map_or(&home, |next| next.as_str()))?);
    form::take_back(proxy, click, answer)
}

/// "Continue as alice", or only "Continue" before the name is known: the form carries the token and `next`; the other parameters stay in its address, byte for byte.
fn confirm_page(
    proxy: &Proxy,
    click: &Click,
    token: &Presented,
    username: Option<&str>,
    next: Option<&str>,
    other: Option<&str>,
) -> Response<ResponseBody> {
    let rules = proxy.shared.login.rules();
    let action = if click.others.is_empty() {
        rules.login_path.clone()
    } else {
        format!("{}?{}", rules.login_path, click.others)
    };
    let mut fields = vec![(rules.parameter.name(), token.expose())];
    fields.extend(next.map(|next| ("next", next)));
    page(proxy, &Page::Confirm { username, current: other, action: &action, fields: &fields }, click.format)
}

fn page(proxy: &Proxy, page: &Page<'_>, format: Format) -> Response<ResponseBody> {
    proxy.shared.pages.answer(page, format).map(ResponseBody::Whole)
}

/// An answer without a body that nobody keeps.
fn plain(status: StatusCode) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::Whole(Bytes::new()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// `text` as a Location: characters outside ASCII are percent-encoded, as a browser would.
fn location(text: &str) -> Result<HeaderValue, ProxyError> {
    let encoded = percent_encoding::utf8_percent_encode(text, &percent_encoding::AsciiSet::EMPTY).to_string();
    HeaderValue::try_from(encoded).map_err(|error| ProxyError::Assembly(error.into()))
}
