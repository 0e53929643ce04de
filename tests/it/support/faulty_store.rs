//! A memory store that goes wrong at a chosen call.

use std::sync::Mutex;
use std::time::Duration;

use hublatch::clock::Moment;
use hublatch::store::{
    Consumed, IdempotencyKey, Inserted, Link, MemoryStore, Revoked, StoreError, StoreFuture, TokenStore,
};
use hublatch::token::{LinkId, TokenDigest, Username};
use jiff::SignedDuration;
use tokio::sync::watch;

/// What it does wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It does not do what it is asked.
    Fails,
    /// It does it, and its answer is lost.
    LosesAnswer,
    /// It does it, and is silent until something is sent, and answers; or until the sender is gone: then its answer is lost.
    Hangs(watch::Receiver<()>),
    /// It does not do what it is asked, and panics.
    Panics,
}

/// A memory store with a fault.
#[derive(Debug)]
pub struct FaultyStore {
    store: MemoryStore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The call of this number, or each of this name, goes wrong.
    at: Option<(At, Fault)>,
    calls: Vec<&'static str>,
    skew: Option<SignedDuration>,
}

/// Which calls go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The one with this number, counted from 1 since the store was armed.
    Call(usize),
    /// All of this name.
    Each(&'static str),
}

impl FaultyStore {
    /// A sound one.
    pub fn new() -> Self {
        Self { store: MemoryStore::new(1000), state: Mutex::default() }
    }

    /// Goes wrong so from now on; forgets what calls there were.
    pub fn arm(&self, at: At, fault: Fault) {
        *self.state.lock().unwrap() = State { at: Some((at, fault)), ..State::default() };
    }

    /// From now on its clock is so far ahead.
    pub fn run_ahead(&self, by: SignedDuration) {
        self.state.lock().unwrap().skew = Some(by);
    }

    /// Is sound again.
    pub fn heal(&self) {
        self.state.lock().unwrap().at = None;
    }

    /// The calls since it was armed.
    pub fn calls(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().calls.clone()
    }

    fn call<'a, T: Send + 'a>(
        &'a self,
        name: &'static str,
        make: impl FnOnce() -> StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let mut state = self.state.lock().unwrap();
        state.calls.push(name);
        let number = state.calls.len();
        let fault = state.at.as_ref().filter(|(at, _)| *at == At::Call(number) || *at == At::Each(name));
        let fault = fault.map(|(_, fault)| fault.clone());
        drop(state);
        let done = match &fault {
            Some(Fault::Fails | Fault::Panics) => None,
            Some(Fault::LosesAnswer | Fault::Hangs(_)) | None => Some(make()),
        };
        let down = || Err(StoreError::unavailable("connection reset"));
        Box::pin(async move {
            let done = match done {
                Some(done) => done.await,
                None => down(),
            };
            match fault {
                None => done,
                Some(Fault::Fails | Fault::LosesAnswer) => down(),
                Some(Fault::Panics) => panic!("the store is broken"),
                Some(Fault::Hangs(mut until)) => {
                    if until.changed().await.is_ok() {
                        done
                    } else {
                        down()
                    }
                }
            }
        })
    }
}

impl TokenStore for FaultyStore {
    fn skew(&self, _now: Moment) -> Option<SignedDuration> {
        self.state.lock().unwrap().skew
    }

    fn insert(
        &self,
        links: Vec<Link>,
        key: Option<IdempotencyKey>,
        now: Moment,
    ) -> StoreFuture<'_, Inserted> {
        self.call("insert", || self.store.insert(links, key, now))
    }

    fn find(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Option<Link>> {
        self.call("find", || self.store.find(digest, now))
    }

    fn consume(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Consumed> {
        self.call("consume", || self.store.consume(digest, now))
    }

    fn reserve(&self, digest: TokenDigest, until: Moment, now: Moment) -> StoreFuture<'_, bool> {
        self.call("reserve", || self.store.reserve(digest, until, now))
    }

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>> {
        self.call("get", || self.store.get(id, app, now))
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Revoked> {
        self.call("revoke", || self.store.revoke(id, app, now))
    }

    fn revoke_user<'a>(&'a self, user: &'a Username, app: &'a str, now: Moment) -> StoreFuture<'a, usize> {
        self.call("revoke_user", || self.store.revoke_user(user, app, now))
    }

    fn end_sessions(&self, sessions: Vec<String>, remembered: Duration) -> StoreFuture<'_, ()> {
        self.call("end_sessions", || self.store.end_sessions(sessions, remembered))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.store.ping()
    }

    fn live(&self, now: Moment) -> usize {
        self.store.live(now)
    }
}
