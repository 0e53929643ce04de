//! T-ROTATE: keys are replaced and apps are taken away under load; nobody is refused wrongly, and nothing is honoured that
//! has been revoked (security.md section 2.4).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use hublatch::token::AppKey;
use serde_json::json;

use crate::redeem::click;
use crate::support::{FakeHub, Issued, Links, TestProxy};

const THREADS: usize = 4;
/// Logins that each step of a rotation must see.
const LOGINS_A_STEP: usize = 40;
/// How long a step may take on a machine that does much else.
const STEP: Duration = Duration::from_secs(60);

fn key() -> AppKey {
    AppKey::generate(&SystemRandom::new()).expect("random bytes")
}

fn rooms(key: &AppKey) -> String {
    format!("[[apps]]\nname = \"rooms\"\nkeys = [\"{}\"]\nrate = \"100000/s\"\n", key.digest())
}

/// Logs people in by one link after the other, with the key that is in use, until it is stopped.
struct Load<'a> {
    proxy: &'a TestProxy,
    key: Mutex<String>,
    logins: AtomicUsize,
    ended: AtomicBool,
}

impl<'a> Load<'a> {
    fn new(proxy: &'a TestProxy, key: &str) -> Self {
        let key = Mutex::new(key.to_owned());
        Self { proxy, key, logins: AtomicUsize::new(0), ended: AtomicBool::new(false) }
    }

    fn run(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            let links = {
                // Held while the link is issued: a key is out of use when nobody issues with it any more.
                let key = self.key.lock().unwrap();
                Links::new(self.proxy.management(), &key).issue(&json!({ "username": "alice" }))
            };
            assert_eq!(click(self.proxy, &links).status, 302, "a good link is refused");
            self.logins.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn use_key(&self, key: &AppKey) {
        *self.key.lock().unwrap() = key.expose().to_owned();
    }

    /// Lets a number of people in before the next step.
    fn go_on(&self) {
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
}

/// Ends the load also when a step of the test fails.
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

#[test]
fn a_key_is_replaced_under_load_and_nobody_is_refused() {
    let hub = FakeHub::start();
    let (first, second) = (key(), key());
    let builder = TestProxy::before(&hub).portal("rate = \"100000/s\"");
    let proxy = builder.clone().keys(&[&first]).start();
    let load = Load::new(&proxy, first.expose());
    let old = Links::new(proxy.management(), first.expose());
    let waiting: Vec<Issued> = (0..10).map(|_| old.issue(&json!({ "username": "bob" }))).collect();
    thread::scope(|scope| {
        let _ending = Ending(&load.ended);
        for _ in 0..THREADS {
            scope.spawn(|| {
                let _ending = Ending(&load.ended);
                load.run();
            });
        }
        load.go_on();
        proxy.reload(&builder.clone().keys(&[&first, &second])).unwrap();
        load.go_on();
        load.use_key(&second);
        load.go_on();
        proxy.reload(&builder.clone().keys(&[&second])).unwrap();
        // From here on the old one is nobody's.
        assert_eq!(old.call("POST", "/api/v1/links", &[], r#"{"username":"bob"}"#).status, 401);
        load.go_on();
    });
    for link in &waiting {
        assert_eq!(click(&proxy, link).status, 302, "the links of before are the app's and not the key's");
    }
}

#[test]
fn an_app_is_taken_away_under_load_and_none_of_its_links_is_honoured_from_then_on() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub).portal("rate = \"100000/s\"\nmax_live_links = 100000");
    let gone = key();
    let proxy = builder.clone().toml(&rooms(&gone)).start();
    let load = Load::new(&proxy, proxy.key());
    let links = Links::new(proxy.management(), gone.expose());
    let pending: Vec<Issued> = (0..200).map(|_| links.issue(&json!({ "username": "bob" }))).collect();
    let (next, revoked) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (honoured, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _ending = Ending(&load.ended);
        for _ in 0..2 {
            scope.spawn(|| {
                let _ending = Ending(&load.ended);
                load.run();
            });
            scope.spawn(|| {
                let _failing = Failing(&load.ended);
                while let Some(link) = pending.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let after = revoked.load(Ordering::SeqCst);
                    match click(&proxy, link).status {
                        302 if after => panic!("a link is honoured after its app is gone"),
                        302 => honoured.fetch_add(1, Ordering::Relaxed),
                        403 => refused.fetch_add(1, Ordering::Relaxed),
                        status => panic!("an answer {status}"),
                    };
                }
            });
        }
        load.until(|| honoured.load(Ordering::Relaxed) >= 20);
        proxy.reload(&builder).unwrap();
        revoked.store(true, Ordering::SeqCst);
        assert_eq!(links.call("POST", "/api/v1/links", &[], r#"{"username":"bob"}"#).status, 401);
        load.go_on();
    });
    let (honoured, refused) = (honoured.into_inner(), refused.into_inner());
    assert_eq!(honoured + refused, pending.len());
    assert!(refused > 0, "the reload came too late to show anything");
}

#[test]
fn a_link_that_was_taken_back_under_load_admits_nobody() {
    let hub = FakeHub::start();
    let builder = TestProxy::before(&hub).portal("rate = \"100000/s\"");
    let proxy = builder.start();
    let load = Load::new(&proxy, proxy.key());
    thread::scope(|scope| {
        let _ending = Ending(&load.ended);
        for _ in 0..2 {
            scope.spawn(|| {
                let _ending = Ending(&load.ended);
                load.run();
            });
        }
        for _ in 0..LOGINS_A_STEP {
            let link = proxy.link("bob");
            let path = format!("/api/v1/links/{}", link.id);
            assert_eq!(proxy.links().call("DELETE", &path, &[], "").status, 204);
            assert_eq!(click(&proxy, &link).status, 403);
        }
    });
}
