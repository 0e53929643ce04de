//! Several servers that choose their primary themselves: what Sentinels watch, and a cluster.
//!
//! Of each there is one for all tests of the contract, which have their own keys on it; a test that kills has its own.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hublatch::clock::{Clock as _, Moment, SystemClock};
use hublatch::config::Redis;
use hublatch::store::{Inserted, Link, RedisStore, Revoked, TokenStore};

use crate::contract::{Calls as _, LIFE, Rig, link, wait};
use crate::redis::{grants, open};
use crate::server::{RedisServer, until};

/// Servers that choose their primary themselves.
pub trait Fleet: Send + Sync + Sized + 'static {
    /// Started, and agreed on a primary.
    fn start() -> Self;
    /// What hublatch is told of it.
    fn config(&self) -> Redis;
    /// All servers that keep links.
    fn servers(&mut self) -> &mut Vec<RedisServer>;
    /// Which of them is the primary of our keys, if all agree on one.
    fn primary(&self) -> Option<usize>;
    /// Brings the servers that were killed back as replicas, and waits until all agree.
    fn heal(&mut self);
    /// The one that all tests of the contract share.
    fn shared() -> &'static Mutex<Weak<Self>>;
}

/// A store on a fleet.
pub struct Joined<F: Fleet> {
    pub store: RedisStore,
    clock: SystemClock,
    /// Kept for as long as it is needed.
    _shared: Option<Arc<F>>,
}

impl<F: Fleet> Joined<F> {
    /// On a fleet of the test's own.
    pub fn on(config: &Redis) -> Self {
        Self { store: open(config, 100), clock: SystemClock::new(), _shared: None }
    }

    pub fn answers(&self) -> bool {
        wait(self.store.ping()).is_ok()
    }
}

/// On the shared fleet, with keys of its own.
impl<F: Fleet> Rig for Joined<F> {
    fn new(max_tokens: usize) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let fleet = {
            let mut shared = F::shared().lock().unwrap_or_else(PoisonError::into_inner);
            shared.upgrade().unwrap_or_else(|| {
                let fleet = Arc::new(F::start());
                *shared = Arc::downgrade(&fleet);
                fleet
            })
        };
        let mut config = fleet.config();
        config.prefix = format!("{{test-{}}}:", NUMBER.fetch_add(1, Ordering::Relaxed));
        let store = open(&config, max_tokens);
        Self { store, clock: SystemClock::new(), _shared: Some(fleet) }
    }

    fn store(&self) -> &dyn TokenStore {
        &self.store
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn pass(&self, span: Duration) {
        std::thread::sleep(span + Duration::from_millis(10));
    }

    fn short_life(&self) -> Duration {
        Duration::from_millis(400)
    }
}

/// Sets its flag when it goes, in a panic too.
struct SetAtTheEnd<'a>(&'a AtomicBool);

impl Drop for SetAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Kills the primary again and again while tokens are taken: none is taken twice, and all goes on by itself.
pub fn no_failover_admits_a_token_twice<F: Fleet>(failovers: usize) {
    let mut fleet = F::start();
    let clock = SystemClock::new();
    let stores = [open(&fleet.config(), 10_000), open(&fleet.config(), 10_000)];
    let mut away = Vec::new();
    for round in 0..failovers {
        let new = || link(clock.now(), LIFE);
        let (used, revoked) = (new(), new());
        let contested: Vec<Link> = (0..40).map(|_| new()).collect();
        let all = [vec![used.clone(), revoked.clone()], contested.clone()].concat();
        let inserted = wait(stores[0].insert(all, None, clock.now()));
        assert_eq!(inserted.expect("the store answers"), Inserted::New);
        assert!(grants(&stores[1], &used), "round {round}");
        let ended = wait(stores[0].revoke(&revoked.id, "portal", clock.now()));
        assert_eq!(ended.expect("the store answers"), Revoked::Dead);

        let granted: Vec<AtomicUsize> = contested.iter().map(|_| AtomicUsize::new(0)).collect();
        let over = AtomicBool::new(false);
        let mut gone = Duration::ZERO;
        std::thread::scope(|scope| {
            // A failure in here must not wait for racers that nobody stops.
            let _ends_the_race = SetAtTheEnd(&over);
            for racer in 0..4 {
                let (stores, contested, granted, over) = (&stores, &contested, &granted, &over);
                scope.spawn(move || {
                    let mut is_last = false;
                    while !is_last {
                        is_last = over.load(Ordering::Acquire);
                        for (link, granted) in contested.iter().zip(granted) {
                            if grants(&stores[racer % 2], link) {
                                granted.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
            let primary = fleet.primary().expect("a primary");
            fleet.servers()[primary].kill();
            let killed = Instant::now();
            until("a call fails", || stores.iter().any(|store| wait(store.ping()).is_err()));
            until("both stores are back", || stores.iter().all(|store| wait(store.ping()).is_ok()));
            gone = killed.elapsed();
        });
        for (number, granted) in granted.iter().enumerate() {
            assert!(granted.load(Ordering::Relaxed) <= 1, "round {round}: token {number}");
        }
        for link in contested.iter().chain([&used, &revoked]) {
            assert!(!stores.iter().any(|store| grants(store, link)), "round {round}: an old token");
        }
        away.push(gone);
        fleet.heal();
        // Those who choose may have changed their minds in between.
        until("both stores are at the same primary", || {
            let next = new();
            wait(stores[1].insert(vec![next.clone()], None, clock.now())).is_ok_and(|kept| {
                let first = grants(&stores[0], &next);
                assert!(
                    kept == Inserted::New && !(first && grants(&stores[1], &next)),
                    "round {round}: a new token"
                );
                first
            })
        });
    }
    away.sort();
    println!(
        "{failovers} failovers: away for {:?} at the median, {:?} at most",
        away[away.len() / 2],
        away[away.len() - 1]
    );
}

/// Takes `fleet` down whole and back up: the store returns.
pub fn the_store_returns_when_all_servers_were_gone<F: Fleet>() {
    let mut fleet = F::start();
    let rig = Joined::<F>::on(&fleet.config());
    let link = rig.link();
    rig.insert(&[&link]);
    for server in fleet.servers() {
        server.kill();
    }
    until("the store is gone", || !rig.answers());
    for server in fleet.servers() {
        server.start_again();
    }
    until("the store is back", || rig.answers());
    assert!(!rig.admits(&link), "a token of an earlier run");
}
