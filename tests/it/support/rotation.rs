//! Logins that go on while keys and apps come and go: nobody is refused wrongly, and nothing is honoured that was taken away.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use hublatch::token::AppKey;
use serde_json::json;

use super::proxy::Builder;
use super::{Issued, Links, TestProxy};

const THREADS: usize = 2;
/// Logins that each step must see.
pub const LOGINS_A_STEP: usize = 40;
/// How long a step may take on a machine that does much else.
const STEP: Duration = Duration::from_secs(60);
/// Links that wait while what issued them is taken away; and how many of them are kept for afterwards.
const PENDING: usize = 200;
const KEPT: usize = 50;

pub fn key() -> AppKey {
    AppKey::generate(&SystemRandom::new()).expect("random bytes")
}

fn click(proxy: &TestProxy, link: &Issued) -> u16 {
    proxy.browser().get(&link.target()).status
}

/// Logs people in by one link after the other, with the key that is in use, until it is stopped.
pub struct Load<'a> {
    proxy: &'a TestProxy,
    key: RwLock<String>,
    logins: AtomicUsize,
    ended: AtomicBool,
}

/// Ends the load, also when a step of the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ends the load if this thread fails, and lets it go on if this one has merely done its part.
struct Failing<'a>(&'a AtomicBool);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl<'a> Load<'a> {
    fn new(proxy: &'a TestProxy, key: &str) -> Self {
        let key = RwLock::new(key.to_owned());
        Self { proxy, key, logins: AtomicUsize::new(0), ended: AtomicBool::new(false) }
    }

    /// Runs `steps` while people log in by `key`. A step that fails ends the load, and a login that fails the steps.
    pub fn around(proxy: &'a TestProxy, key: &str, steps: impl FnOnce(&Self)) {
        let load = Load::new(proxy, key);
        thread::scope(|scope| {
            let _ending = Ending(&load.ended);
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let _ending = Ending(&load.ended);
                    load.run();
                });
            }
            steps(&load);
        });
    }

    fn run(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            // Held until the link is used: a key is out of use when no link of it waits any more.
            let key = self.key.read().expect("no login has failed");
            let link = Links::new(self.proxy.management(), &key).issue(&json!({ "username": "alice" }));
            assert_eq!(click(self.proxy, &link), 302, "a good link is refused");
            self.logins.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Uses another key from now on. When this comes back, no link of the one before waits.
    fn use_key(&self, key: &AppKey) {
        *self.key.write().expect("no login has failed") = key.expose().to_owned();
    }

    /// Lets a number of people in before the next step.
    pub fn go_on(&self) {
        let wanted = self.logins.load(Ordering::Relaxed) + LOGINS_A_STEP;
        self.until(|| self.logins.load(Ordering::Relaxed) >= wanted);
    }

    /// Waits for something that the load, or who runs beside it, brings about.
    fn until(&self, reached: impl Fn() -> bool) {
        let deadline = Instant::now() + STEP;
        while !reached() {
            assert!(!self.ended.load(Ordering::Relaxed), "a login went wrong");
            assert!(Instant::now() < deadline, "nobody is let in any more");
            thread::yield_now();
        }
    }

    /// Uses links of `links` while `take_away` takes away what issued them: afterwards none of them is honoured, nor is
    /// their key.
    pub fn assert_voided(&self, links: &Links, take_away: impl FnOnce()) {
        let pending: Vec<Issued> = (0..PENDING).map(|_| links.issue(&json!({ "username": "bob" }))).collect();
        let (next, gone) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (honoured, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let _failing = Failing(&self.ended);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(link) = pending.get(number) else { break };
                        self.until(|| number < PENDING - KEPT || gone.load(Ordering::SeqCst));
                        let after = gone.load(Ordering::SeqCst);
                        match click(self.proxy, link) {
                            302 if after => panic!("a link is honoured after what issued it is gone"),
                            302 => honoured.fetch_add(1, Ordering::Relaxed),
                            403 => refused.fetch_add(1, Ordering::Relaxed),
                            status => panic!("an answer {status}"),
                        };
                    }
                });
            }
            let _failing = Failing(&self.ended);
            self.until(|| honoured.load(Ordering::Relaxed) >= PENDING / 10);
            take_away();
            gone.store(true, Ordering::SeqCst);
            assert_eq!(links.call("POST", "/api/v1/links", &[], r#"{"username":"bob"}"#).status, 401);
        });
        let (honoured, refused) = (honoured.into_inner(), refused.into_inner());
        assert!(refused >= KEPT && honoured + refused == PENDING, "{honoured} {refused}");
    }
}

/// An app changes from one key to another, as the README says: nobody is refused.
pub fn a_key_is_replaced(builder: &Builder) {
    let (first, second) = (key(), key());
    let keys = |keys: &[&AppKey]| builder.clone().keys(keys);
    let proxy = keys(&[&first]).start();
    Load::around(&proxy, first.expose(), |load| {
        load.go_on();
        proxy.reload(&keys(&[&first, &second])).unwrap();
        load.go_on();
        load.use_key(&second);
        load.go_on();
        proxy.reload(&keys(&[&second])).unwrap();
        load.go_on();
    });
    assert!(
        proxy.audit().iter().all(|line| !line["reason"].is_string() || line["event"] != "refused"),
        "nobody is refused"
    );
}

/// One of an app's two keys is taken away: its links are void at once, and those of the other are not.
pub fn a_key_is_taken_away(builder: &Builder) {
    let (stolen, kept) = (key(), key());
    let keys = |keys: &[&AppKey]| builder.clone().keys(keys);
    let proxy = keys(&[&stolen, &kept]).start();
    Load::around(&proxy, kept.expose(), |load| {
        let links = Links::new(proxy.management(), stolen.expose());
        load.assert_voided(&links, || proxy.reload(&keys(&[&kept])).unwrap());
        load.go_on();
    });
    let refused: Vec<_> = proxy
        .audit()
        .into_iter()
        .filter(|line| line["event"] == "refused" && line["reason"].is_string())
        .collect();
    assert!(
        refused.iter().all(|line| line["reason"] == "key_revoked" && line["app"] == "portal"),
        "{refused:?}"
    );
}
