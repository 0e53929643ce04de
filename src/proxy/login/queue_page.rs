//! The page of a browser that waits for its turn to log in, and its events.
//!
//! The page stands at the address of the link itself, so the token need not be in it; the signed time of the click is in a
//! cookie. Without script it asks again by itself; with script it listens to events from its own address.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use hyper::Response;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde::Serialize;

use super::admission::{LineWaiter, Outlook, PageCall};
use super::attempt::Attempt;
use super::parked::ParkedState;
use super::single_flight::RequestFingerprint;
use super::state_cookie;
use crate::body::{PieceError, Pieces};
use crate::hub::written;
use crate::login::ValidatedToken;
use crate::login::login_token::LoginToken;
use crate::pages::{Format, Page, QueuedFor};
use crate::proxy::context::Proxy;
use crate::proxy::error::{ProxyError, ProxyResponse};
use crate::proxy::respond::{self, Continuation};
use crate::proxy::upstream::ResponseBody;
use crate::token::{BrowserSecret, TokenDigest};

/// How often a browser is told how it stands.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// How long the events stay open when the turn has come: the page asks again meanwhile.
const LINGER: Duration = Duration::from_secs(5);
/// After how many seconds a program comes again.
const COME_AGAIN_SECONDS: u64 = 3;

/// A browser in line: its page, and the signed time of its click.
pub fn page(attempt: &Attempt) -> ProxyResponse {
    let Attempt { proxy, request, outlook, .. } = attempt;
    let format = request.accept.format();
    let (position, seconds) = told(*outlook);
    let queued_for = if outlook.is_hub_down { QueuedFor::LoginHubDown } else { QueuedFor::Login };
    // The empty address is the page's own, which holds the token, so that the page need not. Any text for `events` makes the
    // page's script listen to its own address; a fragment is not sent.
    let (address, events) = ("", Some("#"));
    let app = attempt.held.token.as_ref().map(ValidatedToken::app);
    let of_line = Page::Queue { queued_for, position, seconds, address, events };
    let page = || respond::page_of(proxy, &of_line, format, app);
    // A browser that is sent back because of a reload alone has not waited.
    if !app.is_some_and(|app| attempt.is_outdated(app)) {
        proxy.shared.admission.announce();
    }
    if format == Format::Json {
        let mut response = page();
        let seconds = outlook.wait.map_or(COME_AGAIN_SECONDS, |wait| wait.as_secs().max(1));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        return Ok(response);
    }
    // A form cannot be asked for again: its page is at the address to which it was posted, and the token in a cookie.
    let mut response = if request.is_post { respond::see_other(&own_address(attempt))? } else { page() };
    if !give_ticket(attempt, &mut response)? {
        return Ok(respond::page(proxy, &Page::Unavailable, format));
    }
    if let Some(token) = request.token.as_ref().filter(|_| !request.is_token_in_address) {
        respond::set_continuation(proxy, &mut response, Continuation::Waiting, token.expose())?;
    }
    Ok(response)
}

/// Gives the browser the signed time of its click, and a secret of this login's own, which goes with it; false: there is none.
pub fn give_ticket(attempt: &Attempt, response: &mut Response<ResponseBody>) -> Result<bool, ProxyError> {
    let Attempt { proxy, request, .. } = attempt;
    let own = attempt.line_state.or_else(|| attempt.held.token.as_ref()?.link().grant.state);
    let known = request.secrets.iter().find(|secret| Some(secret.state()) == own);
    let known = known.and_then(|secret| BrowserSecret::parse(secret.expose()));
    let secret = known.map_or_else(|| proxy.shared.login.browser_secret().ok(), Some);
    let (Some(token), Some(secret)) = (&request.token, secret) else { return Ok(false) };
    let ticket = proxy.shared.click_tickets.write(attempt.click, token.digest(), secret.state());
    respond::set_click(proxy, response, token.digest(), Some(&ticket))?;
    state_cookie::give(proxy, response, &secret, &request.secrets)?;
    Ok(true)
}

/// The login path with what the hub will be asked for, and without the token.
fn own_address(attempt: &Attempt) -> String {
    let path = &attempt.proxy.shared.token_rules.login_path;
    let next = attempt.request.next.as_ref().map(|next| format!("next={next}"));
    let others = Some(attempt.request.other_parameters.clone()).filter(|others| !others.is_empty());
    let query: Vec<String> = next.into_iter().chain(others).collect();
    if query.is_empty() { path.clone() } else { format!("{path}?{}", query.join("&")) }
}

/// The number, and in how many seconds its turn will come; before a hub of which nothing is known, one a second.
fn told(outlook: Outlook) -> (u64, u64) {
    let position = u64::try_from(outlook.number).unwrap_or(u64::MAX);
    (position, outlook.wait.map_or(position, |wait| wait.as_secs()))
}

/// What the page is told.
#[derive(Serialize)]
#[serde(untagged)]
enum QueueEventJson {
    /// How it stands.
    Place { position: u64, seconds: u64, down: bool },
    /// The page asks again.
    Ready { ready: bool },
}

/// Where the events of one page stand.
enum EventsState {
    /// The turn has not come.
    Waiting(LineWaiter<PageCall>),
    /// The hub was asked who the browser is, and has not answered yet.
    Asking,
    /// The page has been told to ask again.
    Told,
    /// Nothing more comes.
    Over,
}

/// The events of a page in line: its number each second, and when its turn has come.
pub fn events(attempt: &Attempt) -> Response<ResponseBody> {
    let fingerprint = attempt.browser();
    let proxy = attempt.proxy.clone();
    let token = attempt.request.token.as_ref().map(LoginToken::digest);
    let kept = token.and_then(|token| proxy.shared.parked.state(token, &fingerprint));
    let state = match (kept, token.zip(attempt.group())) {
        (Some(ParkedState::Pending), _) => EventsState::Asking,
        // The hub has answered, or the link has ended: the page will say so.
        (Some(ParkedState::Ready), _) | (None, None) => EventsState::Told,
        (None, Some((token, group))) => {
            let clicked = attempt.click.at.as_millisecond();
            EventsState::Waiting(proxy.shared.admission.listen(group, clicked, token))
        }
    };
    let begin = if matches!(state, EventsState::Told) { Begin::Ready } else { Begin::Number };
    let events = QueueEvents { proxy, fingerprint, token, state, begin };
    respond::event_stream(ResponseBody::Pieces(Pieces::of(stream::unfold(events, QueueEvents::next))))
}

/// What the first event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// The page asks again.
    Ready,
    /// Its number, at once.
    Number,
    /// It has been sent.
    Sent,
}

/// The events of one page. Thousands wait at a time: what waits is kept once, and nothing is copied for each event.
struct QueueEvents {
    proxy: Proxy,
    fingerprint: RequestFingerprint,
    token: Option<TokenDigest>,
    state: EventsState,
    begin: Begin,
}

impl QueueEvents {
    /// The next event.
    #[allow(clippy::manual_async_fn)] // an async fn would keep what it is called with twice
    fn next(mut self) -> impl Future<Output = Option<(Result<Bytes, PieceError>, Self)>> + Send {
        async move {
            let event = if self.begin == Begin::Ready { Some(self.ready()) } else { self.wait().await };
            self.begin = Begin::Sent;
            event.map(|event| (Ok(event), self))
        }
    }

    /// The page asks again.
    fn ready(&mut self) -> Bytes {
        self.state = EventsState::Told;
        written(&QueueEventJson::Ready { ready: true })
    }

    fn is_asking(&self) -> bool {
        let state = self.token.and_then(|token| self.proxy.shared.parked.state(token, &self.fingerprint));
        state == Some(ParkedState::Pending)
    }

    async fn wait(&mut self) -> Option<Bytes> {
        let (pause, is_over) = match &self.state {
            EventsState::Over => return None,
            EventsState::Told => (LINGER, true),
            EventsState::Waiting(_) if self.begin != Begin::Sent => (Duration::ZERO, false),
            EventsState::Waiting(_) | EventsState::Asking => (EVENT_EVERY, false),
        };
        let turn = async {
            match &mut self.state {
                EventsState::Waiting(waiter) => waiter.turn().await,
                EventsState::Asking | EventsState::Told | EventsState::Over => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            call = turn => {
                call.told();
                return Some(self.ready());
            }
            // A drain ends the stream, and with it the place in line; a page that was told to ask again does so.
            () = self.proxy.shared.shutdown.draining() => if !is_over { return None },
            () = tokio::time::sleep(pause) => {}
        }
        match &self.state {
            EventsState::Waiting(waiter) => {
                // Answers that nobody has come for hold connections to the hub.
                self.proxy.shared.parked.prune();
                let outlook = waiter.outlook();
                let (position, seconds) = told(outlook);
                Some(written(&QueueEventJson::Place { position, seconds, down: outlook.is_hub_down }))
            }
            EventsState::Asking if !self.is_asking() => Some(self.ready()),
            EventsState::Asking => Some(Bytes::from_static(b": \n\n")),
            EventsState::Told | EventsState::Over => {
                self.state = EventsState::Over;
                Some(Bytes::from_static(b": \n\n"))
            }
        }
    }
}
