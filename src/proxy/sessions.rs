//! Requests of sessions that are over: the hub's cookies are taken out of them, and out of the browser.
//!
//! A person is shown a page that says so, or is led to the app; a script gets what the hub says to a stranger. Where others
//! log in at the hub itself (`without_token = "forward"`), the hub's own login is what there is to say.
//!
//! The session id stays in the browser until a login brings another: without it, the cookies of other paths, which did not
//! come with this request, would count again.
//!
//! Whoever has no session id, or the hub's own, costs one search in the Cookie header. What a browser's user takes out of
//! their own cookies is not judged: a session that ends by itself ends for browsers as they are.
//!
//! A page of another server, or of a sibling domain, can plant a second id, for a path or a domain of which nobody here can
//! make the browser forget it. So a session is over only when all its ids are; a dead one beside another is ignored. The
//! name with `__Host-` exists once in a browser, and counts alone where it is: whoever could plant that, of the hub's own
//! origin, has its effect until the next login, which deletes it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hyper::header::{COOKIE, HeaderValue};
use hyper::{HeaderMap, Method, Response};
use memchr::memmem::Finder;

use super::accept::AcceptHeaders;
use super::context::{Proxy, RequestContext, Shared};
use super::ended_session::EndedSession;
use super::error::ProxyError;
use super::login::browser_checks::{is_navigation, is_prefetch};
use super::login::state_cookie::send_to_app;
use super::upstream::ResponseBody;
use super::{cookies, respond};
use crate::clock::Moment;
use crate::config::WithoutToken;
use crate::login::sessions::{SessionIds, SessionState};
use crate::pages::{Format, Page};

/// How often it is asked which sessions other replicas have ended.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The most cookies that one response makes a browser forget.
const EXPIRED_MAX: usize = 16;

/// Finds session ids of our making.
static OURS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("hl1."));

/// Takes the hub's cookies out of a request whose session is over.
pub fn strip(shared: &Shared, headers: &mut HeaderMap) -> Option<EndedSession> {
    let ours = headers.get_all(COOKIE).iter().any(|line| OURS.find(line.as_bytes()).is_some());
    if !ours && shared.ended_sessions.is_empty() {
        return None;
    }
    let ids = cookies::session_ids(headers);
    let now = shared.login.clock().now();
    let is_over = |id: &str| shared.session_ids.judge(id, now) == SessionState::Over;
    let is_dead = |id: &str| is_dead(shared, &shared.session_ids, id, now);
    if !ids.iter().any(|id| is_dead(id)) {
        return None;
    }
    let (counting, is_host) = counting(headers);
    if !counting.iter().all(|id| is_dead(id)) {
        // A tunnel must not be closed for it, either.
        cookies::strip_session_ids(headers, is_dead);
        return None;
    }
    let over = counting.iter().find(|id| is_over(id));
    let id = over.or_else(|| counting.first())?.clone();
    Some(EndedSession { id, by_itself: over.is_some(), is_host, cookies: cookies::strip_hub(headers) })
}

/// Whether one that came with `headers` a while ago is of a session that is over by now, by the rules of now.
pub fn is_over(shared: &Shared, headers: &HeaderMap) -> bool {
    let (policy, now) = (shared.login.policy(), shared.login.clock().now());
    let (ids, _) = counting(headers);
    !ids.is_empty() && ids.iter().all(|id| is_dead(shared, &policy.session_ids, id, now))
}

/// Over by itself, or ended.
fn is_dead(shared: &Shared, session_ids: &SessionIds, id: &str, now: Moment) -> bool {
    session_ids.judge(id, now) == SessionState::Over || shared.ended_sessions.contains(id)
}

/// Whether a login with the session id `new` is worth another session to the browser with `headers`, whose own has an end as
/// well: less than half of the time is left to it that the new one has. Other tabs would rather keep the one they have.
pub fn is_renewed_by(shared: &Shared, headers: &HeaderMap, new: &str) -> bool {
    let now = shared.login.clock().now();
    let left = |id: &str| match shared.session_ids.judge(id, now) {
        SessionState::Until(until) => Some(until.duration_since(now.wall)),
        SessionState::Unlimited | SessionState::Over => None,
    };
    let (ids, _) = counting(headers);
    left(new).is_some_and(|new| ids.iter().filter_map(|id| left(id)).any(|old| old * 2 < new))
}

/// The ids that count, and whether they have the name with `__Host-`.
fn counting(headers: &HeaderMap) -> (Vec<String>, bool) {
    let host_ids = cookies::host_session_ids(headers);
    if host_ids.is_empty() { (cookies::session_ids(headers), false) } else { (host_ids, true) }
}

/// What a person's browser gets in place of what it asks for, when it comes with cookies of a session that is over; none:
/// the request goes on without them.
pub fn response_to_person(
    proxy: &Proxy,
    context: &RequestContext,
    accept: &AcceptHeaders,
) -> Option<Result<Response<ResponseBody>, ProxyError>> {
    let ended = context.ended.as_ref().filter(|ended| !ended.cookies.is_empty())?;
    let (headers, rules) = (context.request.headers(), &proxy.shared.rules);
    let is_persons = *context.request.method() == Method::GET
        && context.upgrade.is_none()
        && accept.names_html()
        && is_navigation(proxy, headers)
        && !is_prefetch(headers);
    if !is_persons || proxy.is_hub_api || rules.without_token == WithoutToken::Forward {
        return None;
    }
    Some(match &rules.redirect_to {
        None => Ok(page(proxy, ended, accept.format())),
        Some(app_url) => {
            let next = proxy.asked(context.request.uri().path_and_query());
            send_to_app(proxy, app_url, headers, Some(&next))
        }
    })
}

/// The page that says so, with the way back to the app by which the session was begun.
pub fn page(proxy: &Proxy, ended: &EndedSession, format: Format) -> Response<ResponseBody> {
    let policy = proxy.shared.login.policy();
    let app = policy.applications.of_session(&ended.id);
    respond::page_for(proxy, &Page::SessionEnded, format, app.map(|app| &**app))
}

/// Makes the browser forget the cookies, whichever of the paths above `path` they were set for.
pub fn expire(ended: &EndedSession, shared: &Shared, path: &str, headers: &mut HeaderMap) {
    let ends = path.match_indices('/').map(|(at, _)| &path[..=at]).take(4);
    let paths: Vec<&str> = ends.collect();
    let lines = ended.cookies.iter().flat_map(|name| paths.iter().map(move |path| (name, path)));
    for (name, path) in lines.take(EXPIRED_MAX) {
        forget(shared, name, path, headers);
    }
}

/// A login has begun another session. If the id of the last one had the name with `__Host-`, and the new one has not, the
/// hub does not use that name: somebody has planted it, and it would count before the new one.
pub fn forget_planted(ended: &EndedSession, shared: &Shared, headers: &mut HeaderMap) {
    if ended.is_host && !cookies::sets_host_session_id(headers) {
        forget(shared, cookies::HOST_SESSION, "/", headers);
    }
}

fn forget(shared: &Shared, name: &str, path: &str, headers: &mut HeaderMap) {
    // No browser takes a line for a name with the prefix without it.
    let is_secure = shared.rules.public_secure || name == cookies::HOST_SESSION;
    let secure = if is_secure { "; Secure" } else { "" };
    let line = format!("{name}=; Max-Age=0; Path={path}; HttpOnly{secure}");
    if let Ok(line) = HeaderValue::try_from(line) {
        respond::append_cookie(shared, headers, line);
    }
}

/// Closes the tunnels of sessions that end: at once where an app ends them here, and within a second where their time
/// comes, or another replica has ended them.
pub async fn close_ended_tunnels(shared: Arc<Shared>) {
    let tunnels = shared.tunnels.clone();
    shared.login.session_ender.ended().on_end(move |id| tunnels.close_session(id));
    let mut beat = tokio::time::interval(ASK_EVERY);
    loop {
        beat.tick().await;
        shared.login.session_ender.refresh().await;
        let (policy, now) = (shared.login.policy(), shared.login.clock().now());
        // Also those that were ended while the request of a tunnel was on its way here, and the tunnel not registered yet.
        shared.tunnels.close_sessions(|id| is_dead(&shared, &policy.session_ids, id, now));
    }
}
