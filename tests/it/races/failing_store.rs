//! A store that fails, or that loses the answer to a take: nobody is logged in by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hublatch::clock::Moment;
use hublatch::login::{Asked, Refusal};
use hublatch::store::{
    Consumed, IdempotencyKey, Inserted, Link, MemoryStore, Revoked, StoreError, StoreFuture, TokenStore,
};
use hublatch::token::{LinkId, TokenDigest, Username};

use crate::support::proxy::standing_clock;
use crate::used_links::rules::{block_on, issue, service};

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It cannot be read.
    Find,
    /// It cannot take.
    Consume,
    /// It takes, and its answer is lost.
    ConsumeAnswer,
}

/// A memory store with a fault.
#[derive(Debug)]
struct FailingStore {
    store: MemoryStore,
    fault: Option<Fault>,
    takes: AtomicUsize,
}

impl FailingStore {
    fn with(fault: Option<Fault>) -> Self {
        Self { store: MemoryStore::new(100), fault, takes: AtomicUsize::new(0) }
    }
}

fn down<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Err(StoreError::Unavailable("connection reset".to_owned()))))
}

impl TokenStore for FailingStore {
    fn insert(
        &self,
        links: Vec<Link>,
        key: Option<IdempotencyKey>,
        now: Moment,
    ) -> StoreFuture<'_, Inserted> {
        self.store.insert(links, key, now)
    }

    fn find(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Option<Link>> {
        if self.fault == Some(Fault::Find) { down() } else { self.store.find(digest, now) }
    }

    fn consume(&self, digest: TokenDigest, now: Moment) -> StoreFuture<'_, Consumed> {
        self.takes.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Some(Fault::Consume) => down(),
            Some(Fault::ConsumeAnswer) => {
                drop(self.store.consume(digest, now));
                down()
            }
            Some(Fault::Find) | None => self.store.consume(digest, now),
        }
    }

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Option<Link>> {
        self.store.get(id, app, now)
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Moment) -> StoreFuture<'a, Revoked> {
        self.store.revoke(id, app, now)
    }

    fn revoke_user<'a>(&'a self, user: &'a Username, app: &'a str, now: Moment) -> StoreFuture<'a, usize> {
        self.store.revoke_user(user, app, now)
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.store.ping()
    }

    fn live(&self, now: Moment) -> usize {
        self.store.live(now)
    }
}

#[test]
fn a_store_that_fails_never_makes_anybody_a_verified_user() {
    for (fault, takes) in
        [(None, 1), (Some(Fault::Find), 0), (Some(Fault::Consume), 1), (Some(Fault::ConsumeAnswer), 1)]
    {
        let store = Arc::new(FailingStore::with(fault));
        let login = service(&store, &standing_clock(), "name = \"portal\"", "");
        let token = issue(&login, "alice", None);
        let outcome = block_on(async {
            let offer = login.offer(&token, Asked::default()).await?;
            login.redeem(offer, None).await
        });
        match fault {
            None => assert_eq!(outcome.expect("the one success").username().as_str(), "alice"),
            Some(_) => assert!(matches!(outcome, Err(Refusal::Store(_))), "{fault:?}: {outcome:?}"),
        }
        // A take is never tried again: the first may have succeeded.
        assert_eq!(store.takes.load(Ordering::SeqCst), takes, "{fault:?}");
    }
}

#[test]
fn a_token_whose_take_was_not_answered_is_gone_if_it_was_taken_and_good_if_it_was_not() {
    for (fault, good) in [(Fault::Consume, true), (Fault::ConsumeAnswer, false)] {
        let clock = standing_clock();
        let mut store = FailingStore::with(Some(fault));
        let token = {
            let failing = Arc::new(store);
            let login = service(&failing, &clock, "name = \"portal\"", "");
            let token = issue(&login, "alice", None);
            let offer = block_on(login.offer(&token, Asked::default())).expect("a pending link");
            assert!(block_on(login.redeem(offer, None)).is_err(), "{fault:?}");
            drop(login);
            store = Arc::into_inner(failing).expect("nobody else has it");
            token
        };
        store.fault = None;
        let login = service(&Arc::new(store), &clock, "name = \"portal\"", "");
        let outcome = block_on(login.offer(&token, Asked::default()));
        assert_eq!(outcome.is_ok(), good, "{fault:?}: {outcome:?}");
    }
}
