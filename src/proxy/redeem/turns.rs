//! One redeeming at a time for each token: a second request for it (a double click) waits for the first.
//!
//! A browser that is clicked twice gives its first request up. If that one has brought the login about by then, its
//! answer is left here for the second request of the same browser: the one answer of the one login, delivered once.
//!
//! This is comfort and no defence: that a token admits once is the store's promise alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{COOKIE, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Response};
use tokio_util::sync::CancellationToken;

use super::Click;
use crate::login::presented::Presented;
use crate::proxy::Proxy;
use crate::proxy::upstream::ResponseBody;
use crate::token::{State, TokenDigest};

/// How long a second request for a token waits for the first.
pub const DOUBLE_CLICK: Duration = Duration::from_secs(5);

/// The tokens that are being redeemed by this process.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    slots: Arc<Mutex<Slots>>,
}

type Slots = HashMap<TokenDigest, Arc<Slot>>;

#[derive(Debug, Default)]
struct Slot {
    ended: CancellationToken,
    left: Mutex<Option<Left>>,
}

/// An answer whose browser went away before it came.
#[derive(Debug)]
struct Left {
    by: Browser,
    answer: Response<ResponseBody>,
}

/// What two requests of one browser for one link have in common. The cookies among it: with others, somebody else may
/// be logged in, and the answer was not made for that.
#[derive(Debug, PartialEq, Eq)]
pub struct Browser {
    client: IpAddr,
    cookies: Vec<HeaderValue>,
    user_agent: Option<HeaderValue>,
    next: Option<String>,
    others: String,
    states: Vec<State>,
}

impl Browser {
    /// The browser of `click`.
    pub(super) fn of(click: &Click) -> Self {
        let headers: &HeaderMap = &click.headers;
        Self {
            client: click.origin.client,
            cookies: headers.get_all(COOKIE).iter().cloned().collect(),
            user_agent: headers.get(USER_AGENT).cloned(),
            next: click.next.clone(),
            others: click.others.clone(),
            states: click.states.clone(),
        }
    }

    /// All of it, so that no two browsers spell the same.
    pub(super) fn spelled(&self) -> Vec<u8> {
        let Self { client, cookies, user_agent, next, others, states } = self;
        let bytes = |value: &HeaderValue| value.as_bytes().to_vec();
        let cookies: Vec<Vec<u8>> = cookies.iter().map(bytes).collect();
        let states: Vec<&[u8; 32]> = states.iter().map(State::as_bytes).collect();
        serde_json::to_vec(&(client, cookies, user_agent.as_ref().map(bytes), next, others, states))
            .expect("text and numbers are JSON")
    }
}

/// What a request for a token finds.
#[derive(Debug)]
pub enum Turn {
    /// Nobody else is at it: it is taken until the guard is dropped.
    Mine(Redeeming),
    /// Somebody is.
    Wait(Other),
}

/// What came of waiting for a token's turn.
pub enum Taken {
    /// It is this request's turn.
    Turn(Redeeming),
    /// The same browser's earlier request has brought the login about, and could not take the answer.
    Answer(Response<ResponseBody>),
    /// The other was not done in time.
    TooLate,
}

/// Waits for another redeeming of the same token, at most [`DOUBLE_CLICK`].
pub async fn take(proxy: &Proxy, click: &Click, token: &Presented) -> Taken {
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

/// Holds a token's turn until it is dropped.
#[derive(Debug)]
pub struct Redeeming {
    slots: Arc<Mutex<Slots>>,
    digest: TokenDigest,
    slot: Arc<Slot>,
}

/// The redeeming of somebody else.
#[derive(Debug)]
pub struct Other(Arc<Slot>);

impl Turns {
    /// Takes the turn of `digest`, or learns who to wait for.
    pub fn enter(&self, digest: TokenDigest) -> Turn {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&digest) {
            return Turn::Wait(Other(Arc::clone(slot)));
        }
        let slot = Arc::<Slot>::default();
        slots.insert(digest, Arc::clone(&slot));
        Turn::Mine(Redeeming { slots: Arc::clone(&self.slots), digest, slot })
    }
}

impl Other {
    /// Waits until the other is done, whatever became of it; an answer that it left for `browser` is taken.
    pub async fn wait(self, browser: &Browser) -> Option<Response<ResponseBody>> {
        self.0.ended.cancelled().await;
        let mut left = self.0.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.take_if(|left| left.by == *browser).map(|left| left.answer)
    }
}

impl Redeeming {
    /// Whether another request of this process waits for the end.
    pub fn is_awaited(&self) -> bool {
        // One is held by the map, and one here.
        Arc::strong_count(&self.slot) > 2
    }

    /// Leaves an `answer` that its own request did not take for another one of the same browser that waits.
    pub fn leave(self, by: Browser, answer: Response<ResponseBody>) {
        *self.slot.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Left { by, answer });
    }
}

impl Drop for Redeeming {
    fn drop(&mut self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
        self.slot.ended.cancel();
    }
}
