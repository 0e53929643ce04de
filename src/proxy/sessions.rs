//! Requests of sessions that are over: the hub's cookies are taken out of them, and out of the browser.
//!
//! The session id stays in the browser until a login brings another: without it, the cookies of other paths, which did not
//! come with this request, would count again.
//!
//! Whoever has no session id, or the hub's own, costs one search in the Cookie header. What a browser's user takes out of
//! their own cookies is not judged: a session that ends by itself ends for browsers as they are.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};
use memchr::memmem::Finder;

use super::context::Shared;
use super::cookies;
use crate::login::sessions::SessionState;

/// How often it is asked which sessions other replicas have ended.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The most cookies that one response makes a browser forget.
const EXPIRED_MAX: usize = 16;

/// Finds session ids of our making.
static OURS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("hl1."));

/// A session that is over, whose request goes on without it.
#[derive(Debug)]
pub struct EndedSession {
    /// The names of the hub's cookies that came with it.
    cookies: Vec<String>,
    /// It is over by its id.
    by_itself: bool,
}

/// Takes the hub's cookies out of a request whose session is over.
pub fn strip(shared: &Shared, headers: &mut HeaderMap) -> Option<EndedSession> {
    let ours = headers.get_all(COOKIE).iter().any(|line| OURS.find(line.as_bytes()).is_some());
    if !ours && shared.ended_sessions.is_empty() {
        return None;
    }
    let ids = cookies::session_ids(headers);
    let now = shared.login.clock().now().wall;
    let by_itself = ids.iter().any(|id| shared.session_ids.judge(id, now) == SessionState::Over);
    if !by_itself && !ids.iter().any(|id| shared.ended_sessions.contains(id)) {
        return None;
    }
    Some(EndedSession { cookies: cookies::strip_hub(headers), by_itself })
}

impl EndedSession {
    /// Whether the browser learns now, on this path, that its session is over by its id.
    pub fn is_news(&self) -> bool {
        self.by_itself && !self.cookies.is_empty()
    }

    /// Makes the browser forget the cookies, whichever of the paths above `path` they were set for.
    pub fn expire(&self, shared: &Shared, path: &str, headers: &mut HeaderMap) {
        let ends = path.match_indices('/').map(|(at, _)| &path[..=at]).take(4);
        let paths: Vec<&str> = ends.collect();
        let lines = self.cookies.iter().flat_map(|name| paths.iter().map(move |path| (name, path)));
        for (name, path) in lines.take(EXPIRED_MAX) {
            let secure = if shared.rules.public_secure { "; Secure" } else { "" };
            let line = format!("{name}=; Max-Age=0; Path={path}; HttpOnly{secure}");
            let Ok(line) = HeaderValue::try_from(line) else { continue };
            let lines = match &shared.embed {
                Some(embed) => embed.cookie(&line),
                None => vec![line],
            };
            for line in lines {
                headers.append(SET_COOKIE, line);
            }
        }
    }
}

/// Closes the tunnels of sessions that end: at once where an app ends them here, and within a second where their time
/// comes, or another replica has ended them.
pub async fn keep(shared: Arc<Shared>) {
    let tunnels = shared.tunnels.clone();
    shared.login.session_ender.ended().on_end(move |id| tunnels.close_session(id));
    let mut beat = tokio::time::interval(ASK_EVERY);
    loop {
        beat.tick().await;
        shared.login.session_ender.refresh().await;
        let (policy, now) = (shared.login.policy(), shared.login.clock().now().wall);
        shared.tunnels.close_sessions(|id| policy.session_ids.judge(id, now) == SessionState::Over);
    }
}
