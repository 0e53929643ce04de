//! A memory store that goes wrong at a chosen call; and one that replicas share.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use hublatch::clock::Moment;
use hublatch::store::{
    Consumed, IdempotencyKey, Inserted, Link, MemoryStore, Relay, Revoked, SealedAnswer, Seen, StoreError,
    StoreFuture, TokenStore,
};
use hublatch::token::{LinkId, TokenDigest, Username};
use tokio::sync::watch;

/// What it does wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It does not do what it is asked.
    Fails,
    /// It does it, and its answer is lost.
    LosesAnswer,
    /// It does it, and is silent until the sender is gone; then its answer is lost.
    Hangs(watch::Receiver<()>),
    /// It does not do what it is asked, and panics.
    Panics,
}

/// A memory store with a fault.
#[derive(Debug)]
pub struct FaultyStore {
    store: MemoryStore,
    state: Mutex<State>,
    words: Option<Mutex<Words>>,
}

/// What replicas have told each other. Nothing of it runs out.
#[derive(Debug, Default)]
struct Words {
    under_way: HashSet<[u8; 32]>,
    asked_for: HashSet<[u8; 32]>,
    left: HashMap<[u8; 32], Vec<u8>>,
    /// All that was ever left.
    sealed: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct State {
    /// The call of this number, or each of this name, goes wrong.
    at: Option<(At, Fault)>,
    calls: Vec<&'static str>,
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
        Self { store: MemoryStore::new(1000), state: Mutex::default(), words: None }
    }

    /// A sound one that replicas share.
    pub fn shared() -> Self {
        Self { words: Some(Mutex::default()), ..Self::new() }
    }

    /// How many likenesses have asked for an answer.
    pub fn askers(&self) -> usize {
        self.words.as_ref().map_or(0, |words| words.lock().unwrap().asked_for.len())
    }

    /// All answers that were ever left in it.
    pub fn sealed(&self) -> Vec<Vec<u8>> {
        self.words.as_ref().map_or_else(Vec::new, |words| words.lock().unwrap().sealed.clone())
    }

    fn word<T: Send + 'static>(
        &self,
        name: &'static str,
        told: impl FnOnce(&mut Words) -> T,
    ) -> StoreFuture<'_, T> {
        let words = self.words.as_ref().expect("replicas share it");
        self.call(name, || {
            let told = told(&mut words.lock().unwrap());
            Box::pin(async { Ok(told) })
        })
    }

    /// Goes wrong so from now on; forgets what calls there were.
    pub fn arm(&self, at: At, fault: Fault) {
        *self.state.lock().unwrap() = State { at: Some((at, fault)), calls: Vec::new() };
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
                    let _gone = until.changed().await;
                    down()
                }
            }
        })
    }
}

impl TokenStore for FaultyStore {
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

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>> {
        self.call("get", || self.store.get(id, app, now))
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Revoked> {
        self.call("revoke", || self.store.revoke(id, app, now))
    }

    fn revoke_user<'a>(&'a self, user: &'a Username, app: &'a str, now: Moment) -> StoreFuture<'a, usize> {
        self.call("revoke_user", || self.store.revoke_user(user, app, now))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.store.ping()
    }

    fn live(&self, now: Moment) -> usize {
        self.store.live(now)
    }

    fn relay(&self) -> Option<&dyn Relay> {
        self.words.as_ref().map(|_| self as &dyn Relay)
    }
}

impl Relay for FaultyStore {
    fn begin(&self, digest: TokenDigest, _life: Duration) -> StoreFuture<'_, ()> {
        self.word("begin", |words| {
            words.under_way.insert(*digest.as_bytes());
        })
    }

    fn ask(&self, digest: TokenDigest, name: [u8; 32], _life: Duration) -> StoreFuture<'_, Seen> {
        self.word("ask", |words| {
            let under_way = words.under_way.contains(digest.as_bytes());
            let sealed = words.left.remove(&name);
            if under_way && sealed.is_none() {
                words.asked_for.insert(name);
            }
            Seen { under_way, sealed }
        })
    }

    fn is_asked_for(&self, name: [u8; 32]) -> StoreFuture<'_, bool> {
        self.word("is_asked_for", |words| words.asked_for.contains(&name))
    }

    fn end(&self, digest: TokenDigest, left: Option<SealedAnswer>) -> StoreFuture<'_, ()> {
        self.word("end", |words| {
            words.under_way.remove(digest.as_bytes());
            if let Some(left) = left {
                words.sealed.push(left.sealed.clone());
                words.left.insert(left.name, left.sealed);
            }
        })
    }
}
