//! A browser that the hub is to start a server for, by `{base}hub/spawn…`, and for which it has no room for a moment: in
//! place of the hub's 429 it is shown a page with its place in line, which goes on by itself.
//!
//! The start waits with those that apps have ordered (`hub::start_queue`), and it is asked for as the browser has asked: by
//! the same GET with the same cookies, so that who may start what remains the hub's to say. When the hub has accepted it, the
//! page asks for its own address again, and the hub leads on. Without a browser's session nothing waits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::header::{ACCEPT, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use url::form_urlencoded;

use super::accept::AcceptHeaders;
use super::context::{Proxy, RequestContext};
use super::error::ProxyResponse;
use super::hub_session;
use super::login::browser_checks;
use super::login::parse::own_headers;
use super::login::single_flight::RequestFingerprint;
use super::respond::{self, page as shown, with_cookies_of};
use super::upstream::ResponseBody;
use super::upstream::limit::Purpose;
use super::{api_only, cookies, sessions};
use crate::body::{PieceError, Pieces, RequestBody};
use crate::client_network::Share;
use crate::hub::start_queue::{AcceptedStart, StartEnd, StartStanding, Starter, Starting, start_key};
use crate::hub::{Call, HubError, written};
use crate::pages::{Format, Page, QueuedFor};
use crate::turns::line::Group;

/// How often a browser is told its place.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// After how many seconds a program comes again.
const COME_AGAIN_SECONDS: u64 = 5;

/// Handles a request that starts a server at the hub, or only looks like one.
pub(super) async fn handle(proxy: &Proxy, mut context: RequestContext) -> ProxyResponse {
    // First of all: what waits is asked for again as it is now, and must hold no login parameter and no bad `next`.
    proxy.strip_query(&mut context.request)?;
    let headers = context.request.headers();
    let accept = AcceptHeaders::of(headers);
    let starts = proxy.shared.login.hub();
    let Some(key) = key(&context) else { return pass(proxy, context).await };
    if accept.a_stream() {
        return Ok(events(proxy, move || starts.starts().standing(&key)));
    }
    let format = accept.format();
    if format == Format::Json || !browser_checks::is_navigation(proxy, headers) {
        return pass(proxy, context).await;
    }
    let start = BrowserStart {
        proxy: proxy.clone(),
        target: context.request.uri().clone(),
        headers: own_headers(headers.clone()),
        client: context.origin.client,
    };
    let group = Group::new(context.origin.client, "");
    match starts.starts().standing(&key) {
        Some(StartStanding::Waiting { number, wait }) => {
            return Ok(page(proxy, (number, wait), ("", "#"), format));
        }
        // The hub itself says what is the matter.
        Some(StartStanding::Failed(_)) => {
            starts.starts().forget_failure(&key);
            return pass(proxy, context).await;
        }
        None => {}
    }
    let response = pass(proxy, context).await?;
    if let Some(accepted) = start.accepted(response.status(), response.headers()) {
        starts.starts().accepted(accepted);
        return Ok(response);
    }
    let Some(refused) = refusal(response.status(), response.headers()) else { return Ok(response) };
    if !starts.starts().join(&key, group, Arc::new(start), Some(&refused)) {
        return Ok(response);
    }
    let (number, wait) = match starts.starts().standing(&key) {
        Some(StartStanding::Waiting { number, wait }) => (number, wait),
        Some(StartStanding::Failed(_)) | None => (1, None),
    };
    Ok(with_cookies_of(page(proxy, (number, wait), ("", "#"), format), response.headers()))
}

async fn pass(proxy: &Proxy, context: RequestContext) -> ProxyResponse {
    if proxy.shared.token_rules.api_only {
        api_only::forward(proxy, context).await
    } else {
        proxy.forward(context).await
    }
}

/// Under which the start waits: its address, in its browser's session. None: it starts nothing.
fn key(context: &RequestContext) -> Option<String> {
    let (request, headers) = (&context.request, context.request.headers());
    let is_pending_page = request.uri().path().contains("/hub/spawn-pending");
    if *request.method() != Method::GET || context.upgrade.is_some() || is_pending_page {
        return None;
    }
    let sessions = cookies::session_ids(headers);
    let target = request.uri().path_and_query()?.as_str();
    (!sessions.is_empty()).then(|| RequestFingerprint::of(&(target, sessions)).to_string())
}

/// The page of a start that waits: at `(address, events)`.
pub(super) fn page(
    proxy: &Proxy,
    (number, wait): (usize, Option<Duration>),
    (address, events): (&str, &str),
    format: Format,
) -> Response<ResponseBody> {
    let (position, seconds) = told(number, wait);
    let waiting =
        Page::Queue { queued_for: QueuedFor::Start, position, seconds, address, events: Some(events) };
    let mut response = shown(proxy, &waiting, format);
    if format == Format::Json {
        let wait = wait.map_or(COME_AGAIN_SECONDS, |wait| wait.as_secs().max(1));
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// The number, and in how many seconds its turn will come; before a hub of which nothing is known, five seconds each.
fn told(number: usize, wait: Option<Duration>) -> (u64, u64) {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    (number, wait.map_or(number.saturating_mul(5), |wait| wait.as_secs()))
}

#[derive(Serialize)]
#[serde(untagged)]
enum StartEventJson {
    Place { position: u64, seconds: u64 },
    Ready { ready: bool },
}

/// The events of a page whose start waits, by its `standing`: its place each second, and when it waits no more.
pub(super) fn events(
    proxy: &Proxy,
    standing: impl Fn() -> Option<StartStanding> + Send + Sync + 'static,
) -> Response<ResponseBody> {
    let (standing, shutdown) = (Arc::new(standing), proxy.shared.shutdown.clone());
    // Some: how long until the next one.
    let stream = stream::unfold(Some(Duration::ZERO), move |pause| {
        let (standing, shutdown) = (Arc::clone(&standing), shutdown.clone());
        async move {
            tokio::select! {
                () = tokio::time::sleep(pause?) => {}
                () = shutdown.draining() => return None,
            }
            let (event, next) = match standing() {
                Some(StartStanding::Waiting { number, wait }) => {
                    let (position, seconds) = told(number, wait);
                    (StartEventJson::Place { position, seconds }, Some(EVENT_EVERY))
                }
                Some(StartStanding::Failed(_)) | None => (StartEventJson::Ready { ready: true }, None),
            };
            Some((Ok::<_, PieceError>(written(&event)), next))
        }
    });
    respond::event_stream(ResponseBody::Pieces(Pieces::of(stream)))
}

/// What the hub says by 429, as the queue knows it.
fn refusal(status: StatusCode, headers: &HeaderMap) -> Option<HubError> {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    (status == StatusCode::TOO_MANY_REQUESTS).then(|| HubError::Refused {
        call: Call::StartServer,
        status,
        message: String::new(),
        retry_after: seconds.map(Duration::from_secs),
    })
}

/// A start as a browser asks for it.
struct BrowserStart {
    proxy: Proxy,
    /// Without the login parameter.
    target: Uri,
    /// The browser's, with its cookies and without ours.
    headers: HeaderMap,
    client: IpAddr,
}

impl BrowserStart {
    /// The start, if the hub's answer is that there is one: it leads to the page of a start that is pending. To strangers the
    /// hub answers with its login, and for a server that runs with the server.
    fn accepted(&self, status: StatusCode, headers: &HeaderMap) -> Option<AcceptedStart> {
        let location = headers.get(LOCATION).filter(|_| status.is_redirection())?.to_str().ok()?;
        let base_url = &self.proxy.shared.rules.base_url;
        let page = location.strip_prefix(base_url.as_str())?.strip_prefix("hub/spawn-pending/")?;
        // Where a server runs, the hub leads to `next`, which anybody may write.
        let mut pairs = form_urlencoded::parse(self.target.query().unwrap_or_default().as_bytes());
        if pairs.any(|(_, value)| value.contains("spawn-pending")) {
            return None;
        }
        let path = page.split(['?', '#']).next().unwrap_or_default();
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let (user, server, of_server) = match names[..] {
            [user] => (user, "", "server".to_owned()),
            [user, server] => (user, server, format!("servers/{server}")),
            _ => return None,
        };
        let decoded = |name| percent_decode_str(name).decode_utf8_lossy();
        let progress = format!("{base_url}hub/api/users/{user}/{of_server}/progress");
        let (proxy, client) = (self.proxy.clone(), self.client);
        let mut question = hub_session::question(&self.headers);
        question.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        Some(AcceptedStart {
            server: start_key(&decoded(user), &decoded(server)),
            over: Box::pin(async move { over(&proxy, client, &progress, question).await }),
        })
    }
}

/// Follows a start to its end, as its browser would.
async fn over(proxy: &Proxy, client: IpAddr, progress: &str, question: HeaderMap) -> StartEnd {
    // It may take minutes: so long it is one of its client's requests.
    let Ok(share) = proxy.shared.hub_share(client, Purpose::Request).await else { return StartEnd::Unknown };
    let Ok(response) = ask(proxy, progress, question, Some(share)).await else { return StartEnd::Unknown };
    match response.status() {
        StatusCode::OK => {}
        // The hub's word for a server that is not starting any more.
        StatusCode::BAD_REQUEST => return StartEnd::Before,
        _ => return StartEnd::Unknown,
    }
    let mut body = response.into_body();
    // Of a start that is over the hub tells nothing but its end, in one piece.
    let mut pieces = 0;
    loop {
        match body.frame().await {
            Some(Ok(_)) => pieces += 1,
            Some(Err(_)) => return StartEnd::Unknown,
            None if pieces > 1 => return StartEnd::Seen,
            None => return StartEnd::Before,
        }
    }
}

/// Asks the hub with a browser's cookies, over a connection that is none of those kept for logins.
async fn ask(
    proxy: &Proxy,
    target: &str,
    headers: HeaderMap,
    share: Option<Share>,
) -> Result<Response<ResponseBody>, HubError> {
    let call = Call::StartServer;
    let unreachable = |cause: String| HubError::Unreachable { call, cause };
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = Uri::try_from(target).map_err(|error| unreachable(error.to_string()))?;
    *request.headers_mut() = headers;
    let hub = proxy.upstream.hub().map_err(|error| unreachable(error.to_string()))?.into_pool();
    let asking = hub.send(Box::new(request), share, None);
    match tokio::time::timeout(proxy.shared.rules.login_hub_timeout, asking).await {
        Ok(response) => response.map_err(|error| unreachable(error.to_string())),
        Err(_elapsed) => Err(HubError::TimedOut { call }),
    }
}

impl Starter for BrowserStart {
    fn start(&self) -> Starting<'_, Result<Option<AcceptedStart>, HubError>> {
        Box::pin(async {
            // It was judged when it came, and that may be an hour ago. The browser, which goes on, learns it: that its session is
            // over; or it asks by the configuration that has come into force since.
            let shared = &self.proxy.shared;
            let is_outdated = !Arc::ptr_eq(&shared.token_rules, &shared.login.rules());
            if is_outdated || sessions::is_over(shared, &self.headers) {
                return Ok(None);
            }
            let target = self.target.path_and_query().map_or("/", |target| target.as_str());
            // Without a share of its client, of whom few are asked for at a time: who has used theirs up must not hold up the
            // line, at whose head they are.
            let response = ask(&self.proxy, target, self.headers.clone(), None).await?;
            match refusal(response.status(), response.headers()) {
                Some(refused) => Err(refused),
                None if response.status().is_server_error() => Err(HubError::Failed {
                    call: Call::StartServer,
                    status: response.status(),
                    // A hub that is not there has a proxy before it that says so.
                    message: (response.status() == StatusCode::INTERNAL_SERVER_ERROR).then(String::new),
                    retry_after: None,
                }),
                // Whatever else it is, the browser is to see it.
                None => Ok(self.accepted(response.status(), response.headers())),
            }
        })
    }
}
