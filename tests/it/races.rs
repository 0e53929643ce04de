//! One token, many who want it: at most one login, whatever races, threads and failing stores do.

mod failing_store;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use hublatch::audit::Client;
use hublatch::login::{RedeemRequest, Refusal, RefusalReason};
use hublatch::store::MemoryStore;
use serde_json::{Value, json};

use crate::redeem::logins;
use crate::support::proxy::standing_clock;
use crate::support::{FakeHub, PATIENCE, TestProxy, Wire};
use crate::used_links::rules::{block_on, issue, service};

const TOKENS: usize = 1000;
const BROWSERS: usize = 8;

/// Lets threads go on together, again and again. Unlike a `Barrier` it waits for none that has failed.
struct Meeting {
    size: usize,
    /// Who waits, and how often all have met.
    state: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Meeting {
    fn of(size: usize) -> Self {
        Self { size, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits for all others; true for the last one to come.
    fn wait(&self) -> bool {
        let mut state = self.state.lock().expect("nobody fails with the lock in hand");
        state.0 += 1;
        if state.0 == self.size {
            *state = (0, state.1 + 1);
            self.changed.notify_all();
            return true;
        }
        let met = state.1;
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| state.1 == met);
        let (state, late) = waited.expect("nobody fails with the lock in hand");
        drop(state);
        assert!(!late.timed_out(), "another thread of this test has failed");
        false
    }
}

/// A token for each of `count` users, `u0` and so on; good for as long as it takes to try them one after the other.
fn tokens(proxy: &TestProxy, count: usize) -> Vec<String> {
    let order = |number| json!({ "username": format!("u{number}"), "expires_in": 300 });
    let orders: Vec<Value> = (0..count).map(order).collect();
    let body = json!({ "links": orders }).to_string();
    let answer = proxy.links().call("POST", "/api/v1/links/batch", &[], body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let json = answer.json();
    let token = |link: &Value| link["login_token"].as_str().expect("a token").to_owned();
    json["links"].as_array().expect("links").iter().map(token).collect()
}

#[test]
fn of_eight_browsers_that_race_for_each_of_a_thousand_tokens_one_is_logged_in() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).set("public", "threads = 2").portal("rate = \"100000/s\"").start();
    let tokens = tokens(&proxy, TOKENS);
    let (start, end) = (Meeting::of(BROWSERS), Meeting::of(BROWSERS));
    let admitted: Vec<AtomicUsize> = (0..TOKENS).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for browser in 0..BROWSERS {
            let (hub, proxy, tokens, admitted, start, end) = (&hub, &proxy, &tokens, &admitted, &start, &end);
            scope.spawn(move || {
                let mut wire = proxy.connect();
                for (number, token) in tokens.iter().enumerate() {
                    // Every other browser is the user's already: for her a used link leads on.
                    let known = browser % 2 == 1;
                    let cookie = if known { format!("Cookie: jupyterhub-hub-login=u{number}\r\n") } else { String::new() };
                    let agent = format!("User-Agent: {browser}\r\n");
                    let request = format!(
                        "GET /hub/login?login_token={token}&next=/hub/home HTTP/1.1\r\nHost: hub.test\r\n{agent}{cookie}\r\n"
                    );
                    start.wait();
                    let answer = wire.ask(request);
                    match answer.status {
                        302 => drop(admitted[number].fetch_add(1, Ordering::SeqCst)),
                        303 => assert!(known, "a used link led a stranger on"),
                        403 => assert!(!known && !answer.headers.has("set-cookie"), "{answer:?}"),
                        status => panic!("{status}: {}", answer.text()),
                    }
                    if end.wait() {
                        let logins = logins(hub);
                        assert_eq!(logins.len(), 1, "token {number}: {logins:?}");
                        assert_eq!(logins[0].headers.get("remote_user"), Some(format!("u{number}").as_str()));
                        hub.forget();
                    }
                    // Nobody begins the next round before the hub has been looked at.
                    end.wait();
                }
            });
        }
    });
    for (number, admitted) in admitted.iter().enumerate() {
        assert_eq!(admitted.load(Ordering::SeqCst), 1, "token {number}");
    }
    hub.accounts(|accounts| assert!(accounts.refused.is_empty(), "{:?}", accounts.refused));
    assert_eq!(proxy.metric("hublatch_links_redeemed_total"), 1000);
    let events = count_events(&proxy);
    assert_eq!((events["issued"], events["redeemed"]), (TOKENS, TOKENS));
}

fn count_events(proxy: &TestProxy) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for line in proxy.audit() {
        *counts.entry(line["event"].as_str().expect("an event").to_owned()).or_insert(0) += 1;
    }
    counts
}

#[test]
fn a_browser_and_a_program_that_race_for_a_token_do_not_both_win() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).portal("rate = \"100000/s\"").start();
    let tokens = tokens(&proxy, 100);
    let start = Meeting::of(4);
    let won: Vec<AtomicUsize> = tokens.iter().map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for runner in 0..4 {
            let (proxy, tokens, won, start) = (&proxy, &tokens, &won, &start);
            scope.spawn(move || {
                let address = if runner < 2 { proxy.address() } else { proxy.management() };
                let mut wire = Wire::connect(address);
                for (number, token) in tokens.iter().enumerate() {
                    let request = if runner < 2 {
                        format!("GET /hub/login?login_token={token} HTTP/1.1\r\nHost: hub.test\r\n\r\n")
                    } else {
                        let body = format!("{{\"token\":\"{token}\"}}");
                        let length = body.len();
                        let head =
                            "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
                        format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}")
                    };
                    start.wait();
                    match wire.ask(request).status {
                        200 | 302 => drop(won[number].fetch_add(1, Ordering::SeqCst)),
                        403 | 404 => {}
                        status => panic!("{status}"),
                    }
                }
            });
        }
    });
    for (number, won) in won.iter().enumerate() {
        assert_eq!(won.load(Ordering::SeqCst), 1, "token {number}");
    }
}

#[test]
fn a_revocation_that_races_with_a_click_either_comes_first_or_is_told_that_it_did_not() {
    let hub = FakeHub::start();
    let proxy = TestProxy::before(&hub).portal("rate = \"100000/s\"").start();
    let links: Vec<_> = (0..100).map(|_| proxy.link("alice")).collect();
    for link in &links {
        hub.forget();
        let (clicked, revoked) = std::thread::scope(|scope| {
            let clicking = scope.spawn(|| proxy.browser().get(&link.target()).status);
            let path = format!("/api/v1/links/{}", link.id);
            let proxy = &proxy;
            let revoking = scope.spawn(move || proxy.links().call("DELETE", &path, &[], "").status);
            (clicking.join().unwrap(), revoking.join().unwrap())
        });
        match (clicked, revoked) {
            (302, 409) => assert_eq!(logins(&hub).len(), 1),
            (403, 204) => assert!(logins(&hub).is_empty()),
            other => panic!("click and revocation: {other:?}"),
        }
    }
}

#[test]
fn of_eight_threads_with_an_offer_each_one_makes_a_verified_user() {
    let login = service(
        &Arc::new(MemoryStore::new(10_000)),
        &standing_clock(),
        "name = \"portal\"\nrate = \"100000/s\"",
        "",
    );
    let tokens: Vec<_> = (0..2_000).map(|_| issue(&login, "alice", None)).collect();
    let start = Meeting::of(BROWSERS);
    let won: Vec<AtomicUsize> = tokens.iter().map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..BROWSERS {
            scope.spawn(|| {
                // All offers first: between offer and take, anything may have happened.
                let look = |token| {
                    block_on(login.redeemer.validate_opaque(token, RedeemRequest::default()))
                        .expect("a pending link")
                };
                let offers: Vec<_> = tokens.iter().map(look).collect();
                start.wait();
                for (offer, won) in offers.into_iter().zip(&won) {
                    match block_on(login.redeemer.consume(offer, Client::default())) {
                        Ok(user) => {
                            won.fetch_add(usize::from(user.username().as_str() == "alice"), Ordering::SeqCst)
                        }
                        Err(Refusal::Link { reason: RefusalReason::Used, .. }) => 0,
                        Err(other) => panic!("{other}"),
                    };
                }
            });
        }
    });
    assert!(won.iter().all(|won| won.load(Ordering::SeqCst) == 1));
}
