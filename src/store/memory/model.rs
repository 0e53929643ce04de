//! A model of taking, expiring and revoking: the store's own code under every interleaving of its calls (shuttle).
//!
//! The store has one lock, so a schedule is an order in which the threads get it. Two threads are tried in every order,
//! more of them in a thousand orders by chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use futures_util::FutureExt as _;
use shuttle::scheduler::{DfsScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

use super::super::{Consumed, Inserted, Link, LinkStatus, Revoked, StoreFuture, TokenStore as _};
use super::MemoryStore;
use crate::clock::Moment;
use crate::token::{LinkId, LoginGrant, NamePattern, OpaqueToken, UsernameCase, UsernameRule};

const APP: &str = "portal";
const MANY: usize = 1000;
const STACK_BYTES: usize = 1024 * 1024;
const LIFE: Duration = Duration::from_secs(30);

/// A moment `seconds` after the beginning, by both clocks.
fn at(seconds: u64) -> Moment {
    Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic: Duration::ZERO }.plus(Duration::from_secs(seconds))
}

fn now<T>(future: StoreFuture<'_, T>) -> T {
    future.now_or_never().expect("an answer at once").expect("this store does not fail")
}

fn link() -> Link {
    let random = SystemRandom::new();
    let rule = UsernameRule::new(NamePattern::new(".*").expect("a pattern"), UsernameCase::Refuse);
    Link {
        id: LinkId::generate(&random).expect("randomness"),
        digest: OpaqueToken::generate(&random).expect("randomness").digest(),
        grant: LoginGrant::new(rule.parse("alice").expect("a name"), APP.into()),
        status: LinkStatus::Pending,
        issued: at(0),
        expires: at(0).plus(LIFE),
        used_at: None,
        note: None,
    }
}

/// A store with this link in it.
fn store_with(link: &Link) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new(4));
    assert_eq!(now(store.insert(vec![link.clone()], None, at(0))), Inserted::New);
    store
}

/// Runs `model` under every schedule of its threads, which must be few; answers how many schedules there were.
fn every_schedule(model: impl Fn(&Link) + Send + Sync + 'static) -> usize {
    let link = link();
    Runner::new(DfsScheduler::new(None, false), config()).run(move || model(&link))
}

/// Runs `model` under schedules by chance.
fn many_schedules(model: impl Fn(&Link) + Send + Sync + 'static) {
    let link = link();
    Runner::new(RandomScheduler::new(MANY), config()).run(move || model(&link));
}

fn config() -> Config {
    let mut config = Config::default();
    // Its 32 KiB are too few for what a debug build puts on the stack.
    config.stack_size = STACK_BYTES;
    config
}

/// What a thread got.
type Outcome<T> = thread::JoinHandle<T>;

fn taking(store: &Arc<MemoryStore>, link: &Link, when: Moment) -> Outcome<bool> {
    let (store, digest) = (Arc::clone(store), link.digest);
    thread::spawn(move || matches!(now(store.consume(digest, when)), Consumed::Granted(_)))
}

fn revoking(store: &Arc<MemoryStore>, link: &Link, when: Moment) -> Outcome<Revoked> {
    let (store, id) = (Arc::clone(store), link.id.clone());
    thread::spawn(move || now(store.revoke(&id, APP, when)))
}

/// Purges, as any insertion does.
fn expiring(store: &Arc<MemoryStore>, when: Moment) -> Outcome<usize> {
    let store = Arc::clone(store);
    thread::spawn(move || store.live(when))
}

/// How many of them were granted.
fn successes(takes: impl IntoIterator<Item = Outcome<bool>>) -> usize {
    takes.into_iter().filter_map(|take| take.join().ok()).filter(|granted| *granted).count()
}

fn status(store: &MemoryStore, link: &Link, when: Moment) -> Option<LinkStatus> {
    now(store.find(link.digest, when)).map(|found| found.status)
}

#[test]
fn of_two_takes_one_is_granted_in_every_order() {
    let schedules = every_schedule(|link| {
        let store = store_with(link);
        let take = taking(&store, link, at(1));
        let mine = matches!(now(store.consume(link.digest, at(1))), Consumed::Granted(_));
        let other = take.join().expect("no panic");
        assert!(mine != other, "{mine} and {other}");
        assert_eq!(store.live(at(1)), 0);
    });
    assert!(schedules >= 2, "{schedules} schedules");
}

#[test]
fn of_many_takes_one_is_granted() {
    many_schedules(|link| {
        let store = store_with(link);
        let takes = (0..6).map(|_| taking(&store, link, at(1))).collect::<Vec<_>>();
        let granted = successes(takes);
        assert_eq!((granted, store.live(at(1))), (1, 0));
    });
}

#[test]
fn a_take_and_a_revocation_never_both_succeed() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let schedules = every_schedule(move |link| {
        let store = store_with(link);
        let take = taking(&store, link, at(1));
        let revoked = now(store.revoke(&link.id, APP, at(1)));
        let granted = take.join().expect("no panic");
        counted.fetch_add(usize::from(granted), Ordering::Relaxed);
        let expected =
            if granted { (Revoked::Used, LinkStatus::Used) } else { (Revoked::Dead, LinkStatus::Revoked) };
        assert_eq!((revoked, status(&store, link, at(1))), (expected.0, Some(expected.1)));
    });
    // Both ends were seen.
    let taken = taken.load(Ordering::Relaxed);
    assert!(0 < taken && taken < schedules, "{taken} of {schedules}");
}

#[test]
fn a_link_whose_time_is_over_is_taken_by_nobody_whoever_notices_first() {
    many_schedules(|link| {
        let store = store_with(link);
        // One thread's clock says that there is time left, the other's that there is none: as with two reads of the
        // clock around the end.
        let late = taking(&store, link, at(30));
        let early = taking(&store, link, at(29));
        let noticed = expiring(&store, at(31));
        let revoked = revoking(&store, link, at(31));
        assert!(!late.join().expect("no panic"), "taken after its end");
        let early = early.join().expect("no panic");
        assert_eq!(noticed.join().expect("no panic"), 0);
        let revoked = revoked.join().expect("no panic");
        assert_eq!(revoked, if early { Revoked::Used } else { Revoked::Dead });
        assert_eq!(status(&store, link, at(31)) == Some(LinkStatus::Used), early);
        assert_eq!(store.live(at(31)), 0);
    });
}

#[test]
fn room_that_an_end_makes_is_given_once() {
    let others = [link(), link()];
    many_schedules(move |first| {
        let others = others.clone();
        let store = Arc::new(MemoryStore::new(1));
        assert_eq!(now(store.insert(vec![first.clone()], None, at(0))), Inserted::New);
        let take = taking(&store, first, at(1));
        let insertions = others.map(|link| {
            let store = Arc::clone(&store);
            thread::spawn(move || now(store.insert(vec![link], None, at(1))))
        });
        assert!(take.join().expect("no panic"));
        let new =
            insertions.into_iter().filter_map(|one| one.join().ok()).filter(|one| *one == Inserted::New);
        let new = new.count();
        assert!(new <= 1, "{new} links in room for one");
        assert_eq!(store.live(at(1)), new);
    });
}

/// A store that looks and takes in two steps: what the model must be able to find.
#[test]
#[should_panic(expected = "two logins")]
fn a_take_in_two_steps_is_found_out() {
    every_schedule(|link| {
        let store = store_with(link);
        let in_two_steps = || {
            let (store, digest) = (Arc::clone(&store), link.digest);
            thread::spawn(move || {
                let found = now(store.find(digest, at(1))).expect("it is there");
                store.lock().end(&found.id, LinkStatus::Used, at(1));
                found.status == LinkStatus::Pending
            })
        };
        let takes = [in_two_steps(), in_two_steps()];
        let granted = successes(takes);
        assert!(granted <= 1, "two logins");
    });
}
