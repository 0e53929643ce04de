//! From an offer to a login: consume, end another user's session, forward the login, pass the hub's answer on.
//!
//! Runs as a task of its own: a browser that goes away in the middle must not leave a login half done.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use hyper::header::{CACHE_CONTROL, HeaderValue, ORIGIN, REFERRER_POLICY};
use hyper::{Request, Response, StatusCode, Uri};
use tokio::sync::oneshot;

use super::refuse::refuse;
use super::relay::RelayKey;
use super::responses::page;
use super::single_flight::{FlightGuard, RequestFingerprint};
use super::{Answer, Click, form, state_cookie};
use crate::body::RequestBody;
use crate::login::next::form_encode;
use crate::login::{Refusal, ValidatedToken, VerifiedUser};
use crate::pages::Page;
use crate::proxy::error::ProxyError;
use crate::proxy::hub_session::Visitor;
use crate::proxy::upstream::{PooledConnection, ResponseBody, UpstreamError};
use crate::proxy::validate::Rejection;
use crate::proxy::{Proxy, api_only, cookies};
use crate::token::Username;

/// How long the second request of a double click may be on its way when the login of the first has ended.
pub const ON_ITS_WAY: Duration = Duration::from_secs(2);
/// How often other replicas are asked for it meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A login that nothing stands against any more.
pub struct Login {
    /// The proxy of this thread.
    pub proxy: Proxy,
    /// What the browser sent.
    pub click: Click,
    /// The browser's `next`, decoded.
    pub asked: Option<String>,
    /// What the hub is asked for.
    pub target: Uri,
    /// The connection over which it is asked.
    pub lease: PooledConnection,
    /// Who is logged in.
    pub current: Option<String>,
}

/// The login's target at the hub: `next` and the other parameters. The browser's own spelling where its own `next` is
/// taken: "value unchanged".
pub fn target(proxy: &Proxy, click: &Click, offer: &ValidatedToken) -> Result<Uri, Rejection> {
    let login = &proxy.shared.login;
    let granted =
        login.policy().spawn_tickets.granted_next(offer.link(), offer.next()).map(|next| form_encode(&next));
    let next = granted.or_else(|| click.next.clone());
    // Left to itself the hub would choose a page of its own, and in API-only mode it has none.
    let next = next.or_else(|| home(proxy, offer.username()).map(|home| form_encode(&home)));
    let next = next.map(|next| format!("next={next}"));
    let others = (!click.others.is_empty()).then(|| click.others.clone());
    let query: Vec<String> = next.into_iter().chain(others).collect();
    let path = &proxy.shared.token_rules.login_path;
    let target = if query.is_empty() { path.clone() } else { format!("{path}?{}", query.join("&")) };
    Uri::try_from(target).map_err(|_| Rejection::LoginQuery)
}

/// In API-only mode: where a user goes whom no link leads elsewhere.
pub fn home(proxy: &Proxy, username: &Username) -> Option<String> {
    let login = &proxy.shared.login;
    let home = login.rules().api_only.then(|| login.rules().home_of(username)).flatten();
    home.map(|home| home.as_str().to_owned())
}

/// What came of it, for the request that waits.
enum Outcome {
    /// The token was consumed.
    Concluded(Answer),
    /// It was not.
    Refused(LostRace),
}

/// A login whose token somebody else has consumed. What its browser gets is for the request that waits to find out; if
/// there is none any more, the refusal is recorded all the same.
struct LostRace(Option<(Box<Login>, Refusal)>);

impl LostRace {
    async fn answer(mut self) -> Answer {
        let Some((login, refusal)) = self.0.take() else { return Err(UpstreamError::Timeout.into()) };
        let Login { proxy, click, asked, lease, .. } = *login;
        lease.release();
        refuse(&proxy, &click, asked.as_deref(), &refusal).await
    }
}

impl Drop for LostRace {
    fn drop(&mut self) {
        if let Some((login, refusal)) = self.0.take() {
            login.proxy.shared.login.recorder.refused(&refusal, login.click.client());
        }
    }
}

impl Login {
    /// Redeems `offer`; the turn ends with the login.
    pub async fn run(self, turn: FlightGuard, offer: ValidatedToken) -> Answer {
        let (done, outcome) = oneshot::channel();
        let shutdown = self.proxy.shared.shutdown.clone();
        // Boxed: a task is moved several times before it runs, and this one is large.
        shutdown.spawn(Box::pin(self.conclude(turn, offer, done)));
        match outcome.await {
            Ok(Outcome::Concluded(answer)) => answer,
            Ok(Outcome::Refused(loser)) => loser.answer().await,
            Err(_) => Err(UpstreamError::Timeout.into()),
        }
    }

    async fn conclude(self, turn: FlightGuard, offer: ValidatedToken, done: oneshot::Sender<Outcome>) {
        let proxy = self.proxy.clone();
        let login = &proxy.shared.login;
        let (bound, digest) = (offer.is_bound(), offer.link().digest);
        let user = match login.redeemer.consume(offer, self.click.client()).await {
            Ok(user) => user,
            Err(refusal) => {
                let _unread = done.send(Outcome::Refused(LostRace(Some((Box::new(self), refusal)))));
                return;
            }
        };
        // An operator who wants no replay wants this one neither.
        if login.rules().replay_grace.is_zero() {
            let _unread = done.send(Outcome::Concluded(self.log_in(user, bound).await));
            return;
        }
        let likeness = RequestFingerprint::of(&self.click);
        let key = RelayKey::of(&proxy, &self.click.token, digest, &likeness).map(Box::new);
        let telling = pin!(async {
            if let Some(key) = &key {
                key.begin(&proxy).await;
            }
        });
        // The browser waits for the hub, and not for the other replicas to be told.
        let (answer, telling) = match select(pin!(self.log_in(user, bound)), telling).await {
            Either::Left((answer, telling)) => (answer, Some(telling)),
            Either::Right(((), login)) => (login.await, None),
        };
        // It comes back if the browser has gone away meanwhile.
        let asked_elsewhere =
            if let Err(Outcome::Concluded(Ok(answer))) = done.send(Outcome::Concluded(answer)) {
                turn.leave(likeness, answer);
                second_click(&proxy, turn, key.as_deref()).await
            } else {
                drop(turn);
                None
            };
        if let Some(telling) = telling {
            telling.await;
        }
        if let Some(key) = &key {
            key.end(&proxy, asked_elsewhere).await;
        }
    }

    async fn log_in(mut self, user: VerifiedUser, bound: bool) -> Answer {
        let shared = self.proxy.shared.clone();
        let same = self.current.as_deref() == Some(user.username().as_str());
        if self.current.is_some()
            && !same
            && let Err(page) = Box::pin(self.switch(&user)).await
        {
            return form::take_back(&self.proxy, &self.click, page);
        }
        let request = self.request(user, same)?;
        let sent = tokio::time::timeout(shared.rules.login_hub_timeout, self.lease.send_once(request)).await;
        let answer = match sent.unwrap_or(Err(UpstreamError::Timeout)) {
            Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(ProxyError::UnaskedUpgrade);
            }
            Ok(answer) => {
                let mut answer = self.lease.release_with(answer);
                shared.finish(answer.headers_mut());
                answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
                let answer = api_only::of_login(&self.proxy, answer, &self.click.wishes);
                if bound { state_cookie::take_back(&self.proxy, answer)? } else { answer }
            }
            Err(error) => {
                tracing::error!(%error, "login: the hub did not answer, the link is used up");
                page(&self.proxy, &Page::LoginFailed, self.click.wishes.format())
            }
        };
        form::take_back(&self.proxy, &self.click, answer)
    }

    /// Ends the session of whoever is logged in, at the hub and in every open tunnel.
    async fn switch(&mut self, user: &VerifiedUser) -> Result<(), Response<ResponseBody>> {
        let shared = self.proxy.shared.clone();
        let visitor = Visitor::new(&shared.rules, &self.click.headers);
        if let Err(error) = visitor.log_out(&mut self.lease).await {
            tracing::error!(%error, "login: end the earlier user's session");
            return Err(page(&self.proxy, &Page::LogoutFailed, self.click.wishes.format()));
        }
        for session in cookies::session_ids(&self.click.headers) {
            shared.tunnels.close_session(&session);
        }
        shared.login.recorder.switched(user, self.click.client());
        if self.lease.ready().await.is_err() {
            self.lease = self.proxy.upstream.connect().await.map_err(|error| {
                tracing::error!(%error, "login: no connection to the hub, the link is used up");
                page(&self.proxy, &Page::LoginFailed, self.click.wishes.format())
            })?;
        }
        Ok(())
    }

    /// The login as the hub sees it.
    fn request(&mut self, user: VerifiedUser, same: bool) -> Result<Request<RequestBody>, ProxyError> {
        let shared = &self.proxy.shared;
        let mut headers = std::mem::take(&mut self.click.headers);
        // A form of ours that was posted becomes a GET, and a GET that navigates has no Origin.
        headers.remove(ORIGIN);
        if !same {
            cookies::strip_hub_login(&mut headers);
        }
        shared.identity.set(&mut headers, user, shared.login.clock().now())?;
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = std::mem::take(&mut self.target);
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Waits for the second request of a browser that was clicked twice: the first one was given up when it was sent, so it
/// is here or on its way. Gives the answer back if it is asked for at another replica.
async fn second_click(
    proxy: &Proxy,
    turn: FlightGuard,
    key: Option<&RelayKey>,
) -> Option<Response<ResponseBody>> {
    let asked = async {
        let Some(key) = key else { return pending().await };
        loop {
            match key.is_asked_for(proxy).await {
                Some(true) => return,
                Some(false) => tokio::time::sleep(LOOK_EVERY).await,
                None => return pending().await,
            }
        }
    };
    tokio::select! {
        () = turn.taken() => None,
        () = asked => turn.take_back(),
        () = tokio::time::sleep(ON_ITS_WAY) => None,
        // No new request comes here, and there is no other replica that it could reach.
        () = proxy.shared.shutdown.draining(), if key.is_none() => None,
    }
}
