//! One redeeming at a time for each token: a second request for it (a double click) waits for the first.
//!
//! A browser that is clicked twice gives its first request up. If that one brings the login about all the same, its
//! answer is left here for the second request of the same browser: the one answer of the one login, delivered once.
//!
//! This is comfort and no defence: that a token admits once is the store's promise alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Click;
use crate::login::login_token::LoginToken;
use crate::proxy::Proxy;
use crate::proxy::upstream::ResponseBody;
use crate::token::{State, TokenDigest};

/// How long a second request for a token waits for the first.
pub const DOUBLE_CLICK: Duration = Duration::from_secs(5);

/// The tokens that are being redeemed by this process.
#[derive(Debug, Clone, Default)]
pub struct SingleFlight {
    slots: Arc<Mutex<Slots>>,
}

type Slots = HashMap<TokenDigest, Arc<Slot>>;

#[derive(Debug, Default)]
struct Slot {
    ended: CancellationToken,
    left: Mutex<Option<Left>>,
    /// Something was left, or taken.
    news: Notify,
}

/// An answer whose browser went away before it came.
struct Left {
    by: RequestFingerprint,
    answer: Response<ResponseBody>,
}

/// What two requests of one browser for one link have in common. The cookies among it: with others, somebody else may
/// be logged in, and the answer was not made for that. And all that `browser_checks::asks` looks at: what one request need not be
/// asked is nothing for another that must be.
#[derive(PartialEq, Eq)]
pub struct RequestFingerprint {
    client: IpAddr,
    /// By name.
    headers: Vec<(HeaderName, HeaderValue)>,
    confirmed: bool,
    handed_over: bool,
    next: Option<String>,
    others: String,
    states: Vec<State>,
}

/// The headers that are part of it.
const IN_COMMON: [&str; 6] =
    ["cookie", "user-agent", "origin", "referer", "sec-fetch-site", "sec-fetch-mode"];

impl std::fmt::Debug for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Left(redacted)")
    }
}

impl std::fmt::Debug for RequestFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestFingerprint(redacted)")
    }
}

impl RequestFingerprint {
    /// That of `click`.
    pub(super) fn of(click: &Click) -> Self {
        let in_common = |(name, _): &(&HeaderName, _)| IN_COMMON.contains(&name.as_str());
        let headers = click.headers.iter().filter(in_common);
        let mut headers: Vec<_> = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
        // The order in the map depends on what was removed from it; that of lines of one name is kept.
        headers.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        Self {
            client: click.origin.client,
            headers,
            confirmed: click.confirmed,
            handed_over: click.handed_over,
            next: click.next.clone(),
            others: click.others.clone(),
            states: click.states.clone(),
        }
    }

    /// All of it, so that no two spell the same.
    pub(super) fn spelled(&self) -> Vec<u8> {
        let Self { client, headers, confirmed, handed_over, next, others, states } = self;
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let states: Vec<_> = states.iter().map(State::as_bytes).collect();
        serde_json::to_vec(&(client, headers, confirmed, handed_over, next, others, states))
            .expect("text and numbers are JSON")
    }
}

/// What a request for a token finds.
#[derive(Debug)]
pub enum Turn {
    /// Nobody else is at it: it is taken until the guard is dropped.
    Mine(FlightGuard),
    /// Somebody is.
    Wait(Other),
}

/// What came of waiting for a token's turn.
pub enum Taken {
    /// It is this request's turn.
    Turn(FlightGuard),
    /// The same browser's earlier request has brought the login about, and could not take the answer.
    Answer(Response<ResponseBody>),
    /// The other was not done in time.
    TooLate,
}

/// Waits for another redeeming of the same token, until the click's deadline.
pub async fn take(proxy: &Proxy, click: &Click, token: &LoginToken) -> Taken {
    loop {
        match proxy.shared.turns.enter(token.digest()) {
            Turn::Mine(turn) => return Taken::Turn(turn),
            Turn::Wait(other) => {
                match tokio::time::timeout_at(click.deadline, other.wait(&RequestFingerprint::of(click)))
                    .await
                {
                    Ok(Some(answer)) => return Taken::Answer(answer),
                    Ok(None) => {}
                    Err(_) => return Taken::TooLate,
                }
            }
        }
    }
}

/// Holds a token's turn until it is dropped.
#[derive(Debug)]
pub struct FlightGuard {
    slots: Arc<Mutex<Slots>>,
    digest: TokenDigest,
    slot: Arc<Slot>,
}

/// The redeeming of somebody else.
#[derive(Debug)]
pub struct Other(Arc<Slot>);

impl SingleFlight {
    /// Takes the turn of `digest`, or learns who to wait for.
    pub fn enter(&self, digest: TokenDigest) -> Turn {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&digest) {
            return Turn::Wait(Other(Arc::clone(slot)));
        }
        let slot = Arc::<Slot>::default();
        slots.insert(digest, Arc::clone(&slot));
        Turn::Mine(FlightGuard { slots: Arc::clone(&self.slots), digest, slot })
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Option<Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, accept: impl FnOnce(&mut Left) -> bool) -> Option<Response<ResponseBody>> {
        let taken = self.lock().take_if(accept)?;
        self.news.notify_waiters();
        Some(taken.answer)
    }
}

impl Other {
    /// Waits until the other is done, whatever became of it, or has left an answer for a request of this `likeness`: it is taken.
    pub async fn wait(self, likeness: &RequestFingerprint) -> Option<Response<ResponseBody>> {
        loop {
            // Before the look: what is left after it wakes this.
            let news = self.0.news.notified();
            if let Some(answer) = self.0.take(|left| left.by == *likeness) {
                return Some(answer);
            }
            tokio::select! {
                () = self.0.ended.cancelled() => return None,
                () = news => {}
            }
        }
    }
}

impl FlightGuard {
    /// Leaves an `answer` that its own request did not take for another one of the same browser.
    pub fn leave(&self, by: RequestFingerprint, answer: Response<ResponseBody>) {
        *self.slot.lock() = Some(Left { by, answer });
        self.slot.news.notify_waiters();
    }

    /// Waits until it has been taken.
    pub async fn taken(&self) {
        loop {
            let news = self.slot.news.notified();
            if self.slot.lock().is_none() {
                return;
            }
            news.await;
        }
    }

    /// Takes back what was left, if nobody has taken it.
    pub fn take_back(&self) -> Option<Response<ResponseBody>> {
        self.slot.take(|_| true)
    }
}

impl Drop for FlightGuard {
    fn drop(&mut self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
        self.slot.ended.cancel();
    }
}
