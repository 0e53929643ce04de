//! The waiting page of a launched server, `{base}hub/hublatch/launch/TICKET`, and its events, `…/TICKET/events`.
//!
//! A login that launches leads here, not to the server: by then the token is consumed, once, by all the rules of a
//! redeeming, so this page is worth nothing to a scanner, and a refresh of it costs nobody a link. Who may see it is the
//! hub's to say, on each request: the browser's session there must be that of the ticket's user. How the server stands
//! is the hub's to say too. So nothing is kept here, and any replica answers.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::context::{Proxy, RequestContext};
use super::cookies;
use super::error::ProxyResponse;
use super::hub_session::{self, HubTrouble};
use super::login::browser_checks;
use super::login::parse::own_headers;
use super::login::refuse;
use super::respond::{self, page};
use super::spawn_queue;
use super::tunnel::event_stream::EventStream;
use super::tunnel::registry::Registered;
use super::upstream::ResponseBody;
use crate::body::Pieces;
use crate::hub::start_queue::StartStanding;
use crate::hub::{Call, HubError, LaunchOrder, ServerState, SpawnEvent, written};
use crate::login::spawn_ticket::Ticket;
use crate::pages::{Format, LinkRefusal, Page, Start};

/// What the waiting page ends in where its events are.
const EVENTS: &str = "/events";
/// The same while the start waits for its turn: its place.
const QUEUE: &str = "/queue";

/// What is asked for below the waiting path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitingPart {
    Page,
    Events,
    Queue,
}

impl WaitingPart {
    /// The path of the page, and what of it `path` is for.
    fn of(path: &str) -> (&str, Self) {
        if let Some(page) = path.strip_suffix(EVENTS) {
            (page, Self::Events)
        } else if let Some(page) = path.strip_suffix(QUEUE) {
            (page, Self::Queue)
        } else {
            (path, Self::Page)
        }
    }
}

/// Handles a request below the waiting path.
pub(super) async fn handle(proxy: &Proxy, context: RequestContext) -> ProxyResponse {
    let (request, format) = (&context.request, context.format());
    let headers = request.headers();
    let (own_path, asked) = WaitingPart::of(request.uri().path());
    let events = asked != WaitingPart::Page;
    let post = match *request.method() {
        Method::GET | Method::HEAD => false,
        Method::POST if !events => true,
        _ => return Ok(page(proxy, &Page::NotFound, format)),
    };
    if browser_checks::is_prefetch(headers) {
        return Ok(respond::bare(StatusCode::SERVICE_UNAVAILABLE));
    }
    // The page is for a person's browser, its events for the page, its button for the page as well.
    let fits = if events {
        headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin")
    } else if post {
        browser_checks::is_from_this_origin(headers, &proxy.shared.rules.public_origin)
    } else {
        browser_checks::check_navigation(headers, proxy.shared.embed.is_some())?;
        true
    };
    let prefix = proxy.shared.token_rules.waiting_path.as_str();
    let ticket =
        own_path.strip_prefix(prefix).and_then(|text| proxy.shared.login.policy().spawn_tickets.read(text));
    let Some(ticket) = ticket.filter(|_| fits) else { return Ok(page(proxy, &Page::NotWaiting, format)) };
    // Before the hub is asked who this is: a session that ends meanwhile takes its events with it.
    let registered = events.then(|| proxy.shared.tunnels.register(cookies::session_ids(headers)));
    if let Some(refusal) = wrong_user(proxy, context.origin.client, headers, &ticket, format).await {
        return Ok(refusal);
    }
    let pending = SpawnPending { proxy, ticket, path: own_path, format };
    match (asked, registered) {
        (WaitingPart::Queue, Some(registered)) => Ok(pending.queue_events(registered)),
        (WaitingPart::Events, Some(registered)) => {
            // Each takes a connection to the hub. Without them the page asks for itself.
            let Ok(watcher) = Arc::clone(&proxy.shared.watchers).try_acquire_owned() else {
                return Ok(respond::bare(StatusCode::SERVICE_UNAVAILABLE));
            };
            Ok(ended_with_session(pending.events().await?, registered, Some(watcher)))
        }
        _ if post => pending.start_again().await,
        _ => pending.show().await,
    }
}

/// `response`, whose events end with the session in which they are shown.
fn ended_with_session(
    response: Response<ResponseBody>,
    registered: Registered,
    watcher: Option<OwnedSemaphorePermit>,
) -> Response<ResponseBody> {
    response.map(|body| ResponseBody::EventStream(Box::new(EventStream::new(body, registered, watcher))))
}

/// The response to a browser whom the hub does not know as the ticket's user.
async fn wrong_user(
    proxy: &Proxy,
    client: IpAddr,
    headers: &HeaderMap,
    ticket: &Ticket,
    format: Format,
) -> Option<Response<ResponseBody>> {
    match hub_session::identify(proxy, client, hub_session::question(&own_headers(headers.clone()))).await {
        Err(HubTrouble::Down) => Some(page(proxy, &Page::BadGateway, format)),
        Err(trouble) => Some(refuse::trouble_page(proxy, trouble, format, (None, None), None)),
        Ok((_, None)) => Some(page(proxy, &Page::NoToken, format)),
        Ok((connection, Some(name))) => {
            connection.release();
            (name != ticket.username.as_str()).then(|| page(proxy, &Page::NotWaiting, format))
        }
    }
}

/// One waiting page, seen by whom it is for.
struct SpawnPending<'a> {
    proxy: &'a Proxy,
    ticket: Ticket,
    /// The page's own path.
    path: &'a str,
    format: Format,
}

impl SpawnPending<'_> {
    /// The server itself if it is ready; else how it stands.
    async fn show(&self) -> ProxyResponse {
        let (user, server) = self.names();
        let hub = self.proxy.shared.login.hub();
        let standing = hub.standing(user, server);
        if let Some(StartStanding::Waiting { number, wait }) = standing {
            let events = format!("{}{QUEUE}", self.path);
            return Ok(spawn_queue::page(self.proxy, (number, wait), (self.path, &events), self.format));
        }
        match (hub.server_state(user, server).await, standing) {
            (Ok(ServerState::Stopped), Some(StartStanding::Failed(error))) => Ok(self.error_page(&error)),
            (state, _) => self.show_state(state),
        }
    }

    /// The place of a start that waits for its turn, as it changes.
    fn queue_events(&self, registered: Registered) -> Response<ResponseBody> {
        let (hub, names) = (self.proxy.shared.login.hub(), self.ticket.clone());
        let standing = move || hub.standing(names.username.as_str(), names.server.as_str());
        ended_with_session(spawn_queue::events(self.proxy, standing), registered, None)
    }

    fn show_state(&self, state: Result<ServerState, HubError>) -> ProxyResponse {
        match state {
            Ok(ServerState::Ready) => respond::see_other(&self.ticket.next),
            Ok(ServerState::Starting { percent, message }) => {
                Ok(self.page(Start::Starting { percent, message: &message }))
            }
            Ok(ServerState::Failed { message }) => Ok(self.page(Start::Failed { message: &message })),
            Ok(ServerState::Stopped) => Ok(self.page(Start::Stopped)),
            Err(error) => Ok(self.error_page(&error)),
        }
    }

    /// What happens, as it happens.
    async fn events(&self) -> ProxyResponse {
        let (user, server) = self.names();
        let body = match self.proxy.shared.login.hub().launch_events(user, server).await {
            Ok(events) => ResponseBody::Pieces(Pieces::of(events)),
            Err(error) => match error.refused_with() {
                // Not on its way: the page asks anew, and says what there is to say.
                Some(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) => {
                    let message = "The server is not starting.".to_owned();
                    let event = SpawnEvent { progress: 100, message, failed: true, ..SpawnEvent::default() };
                    ResponseBody::Whole(written(&event))
                }
                _ => return Ok(self.error_page(&error)),
            },
        };
        Ok(respond::event_stream(body))
    }

    /// The button: the hub starts the server with the options of its last start.
    async fn start_again(&self) -> ProxyResponse {
        if !self.proxy.shared.login.policy().allows(&self.ticket.app, &self.ticket.username) {
            return Ok(page(self.proxy, &Page::Refused(LinkRefusal::NotAllowed), self.format));
        }
        let (user, server) = self.names();
        let order = LaunchOrder { app: &self.ticket.app, user, server, options: None };
        let (login, ticket) = (Arc::clone(&self.proxy.shared.login), self.ticket.clone());
        let rule = Arc::new(move || login.policy().allows(&ticket.app, &ticket.username));
        match self.proxy.shared.login.hub().launch(order, rule).await {
            // Back to the page by a GET, so that a refresh starts nothing.
            Ok(_) => respond::see_other(self.path),
            Err(error) => Ok(self.error_page(&error.cause)),
        }
    }

    fn names(&self) -> (&str, &str) {
        (self.ticket.username.as_str(), self.ticket.server.as_str())
    }

    fn page(&self, start: Start<'_>) -> Response<ResponseBody> {
        let events = format!("{}{EVENTS}", self.path);
        page(self.proxy, &Page::Server { start, action: self.path, events: &events }, self.format)
    }

    /// The page for what the hub answers in place of what it was asked for.
    fn error_page(&self, error: &HubError) -> Response<ResponseBody> {
        tracing::warn!(%error, username = %self.ticket.username, "launch: ask the hub");
        let message = error.message().unwrap_or_default();
        match error {
            HubError::Refused { call: Call::StartServer, status, retry_after, .. }
                if *status == StatusCode::TOO_MANY_REQUESTS =>
            {
                let mut response = self.page(Start::Full { message });
                if let Some(wait) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
                }
                response
            }
            HubError::Refused { call: Call::StartServer, .. } => self.page(Start::Refused { message }),
            HubError::Failed { call: Call::StartServer, message: Some(_), status, .. }
                if *status != StatusCode::SERVICE_UNAVAILABLE =>
            {
                self.page(Start::Failed { message })
            }
            // Not about the server: the role of our token, or the hub as such. An operator reads it in the log.
            HubError::NoToken { .. }
            | HubError::Unreachable { .. }
            | HubError::TimedOut { .. }
            | HubError::Refused { .. }
            | HubError::Failed { .. }
            | HubError::Unreadable { .. } => {
                let timed_out = error.gateway_status() == StatusCode::GATEWAY_TIMEOUT;
                page(
                    self.proxy,
                    if timed_out { &Page::GatewayTimeout } else { &Page::BadGateway },
                    self.format,
                )
            }
        }
    }
}
