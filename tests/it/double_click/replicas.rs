//! A second click that reaches another hublatch, which shares the store; and who must not profit from it.

use std::sync::Arc;

use tokio::sync::watch;

use super::slow_hub;
use crate::support::browser::Sending;
use crate::support::faulty_store::{At, Fault, FaultyStore};
use crate::support::form::Form;
use crate::support::proxy::wait_until;
use crate::support::{Answer, Browser, FakeHub, Gate, Issued, TestProxy, Wire};

/// Two hublatch with one store, before a hub that answers a login when the gate is open.
struct Twins {
    proxies: [TestProxy; 2],
    store: Arc<FaultyStore>,
    hub: FakeHub,
    gate: Gate,
}

impl Twins {
    fn new(login: &str) -> Self {
        let (hub, gate) = slow_hub();
        let store = Arc::new(FaultyStore::shared());
        let builder = TestProxy::before(&hub).set("login", login).store(Arc::clone(&store) as _);
        Self { proxies: [builder.another(), builder.another()], store, hub, gate }
    }

    /// Sends `browser` to the other one.
    fn other<'b>(&self, browser: &'b mut Browser) -> &'b mut Browser {
        browser.sent_to(self.proxies[1].address())
    }

    /// Closes the only connection of the first one when its login has reached the hub, and waits until that is noticed.
    fn give_up(&self, first: Wire) {
        self.hub.wait_for_path("/hub/login");
        first.close();
        wait_until("it is noticed", || self.proxies[0].metric("hublatch_connections") == 0);
    }

    /// One browser's two requests for `link`: the first is given up when the second, which `change` may change, has asked
    /// at the other one. Then the hub answers; what the second one gets.
    fn second_click(&self, link: &Issued, change: impl FnOnce(Sending<'_>) -> Sending<'_>) -> Answer {
        let mut browser = self.proxies[0].browser();
        let first = browser.navigate(&link.target()).begin();
        self.hub.wait_for_path("/hub/login");
        let mut second = change(self.other(&mut browser).navigate(&link.target())).begin();
        self.wait_for_call("ask");
        self.give_up(first);
        self.gate.open();
        second.answer_to("GET").expect("an answer")
    }

    fn wait_for_call(&self, name: &str) {
        wait_until(name, || self.store.calls().contains(&name));
    }

    fn assert_one_login(&self) {
        assert_eq!(self.hub.seen_at("/hub/login").len(), 1, "one login");
        let lines = self.proxies.iter().flat_map(TestProxy::audit);
        assert_eq!(lines.filter(|line| line["event"] == "redeemed").count(), 1);
    }
}

#[track_caller]
fn assert_nobody(answer: &Answer) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.headers.get("set-cookie"), None);
}

#[test]
fn the_same_browser_gets_the_login_at_the_other() {
    let twins = Twins::new("");
    let link = twins.proxies[0].link("alice");
    let answer = twins.second_click(&link, |request| request);
    assert_eq!((answer.status, answer.location()), (302, "/hub/home"), "{}", answer.text());
    assert_eq!(answer.headers.get("set-cookie"), Some("jupyterhub-hub-login=alice; Path=/hub/"));
    twins.assert_one_login();
    let sealed = twins.store.sealed();
    assert_eq!(sealed.len(), 1);
    let plain = |word: &str| sealed[0].windows(word.len()).any(|bytes| bytes == word.as_bytes());
    assert!(!["alice", "hub-login", "302"].into_iter().any(plain), "the store can read it");
}

#[test]
fn another_browser_does_not_and_nothing_is_left_for_it() {
    for (name, value) in [
        ("User-Agent", "another"),
        ("Cookie", "jupyterhub-hub-login=bob"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Referer", "https://evil.example/"),
    ] {
        let twins = Twins::new("");
        let link = twins.proxies[0].link("alice");
        assert_nobody(&twins.second_click(&link, |request| request.header(name, value)));
        twins.wait_for_call("end");
        assert!(twins.store.sealed().is_empty(), "{name}");
        twins.assert_one_login();
    }
}

#[test]
fn whoever_else_asks_there_does_not_cost_her_the_login() {
    let twins = Twins::new("");
    let link = twins.proxies[0].link("alice");
    let mut browser = twins.proxies[0].browser();
    let first = browser.navigate(&link.target()).begin();
    twins.hub.wait_for_path("/hub/login");
    let mut stranger =
        twins.other(&mut browser).navigate(&link.target()).header("User-Agent", "another").begin();
    twins.wait_for_call("ask");
    let mut second = browser.navigate(&link.target()).begin();
    wait_until("both ask", || twins.store.askers() == 2);
    twins.give_up(first);
    twins.gate.open();
    assert_eq!(second.answer_to("GET").expect("an answer").status, 302);
    assert_nobody(&stranger.answer_to("GET").expect("an answer"));
    twins.assert_one_login();
}

#[test]
fn an_answer_that_nobody_asks_for_is_not_left() {
    let twins = Twins::new("");
    let link = twins.proxies[0].link("alice");
    let mut browser = twins.proxies[0].browser();
    let first = browser.navigate(&link.target()).begin();
    twins.give_up(first);
    twins.gate.open();
    twins.wait_for_call("end");
    assert!(twins.store.sealed().is_empty());
    for late in [browser.get(&link.target()), twins.other(&mut browser).get(&link.target())] {
        assert_nobody(&late);
    }
    twins.assert_one_login();
}

#[test]
fn whoever_would_have_been_asked_gets_no_answer_that_was_not() {
    for at_the_other in [false, true] {
        let twins = Twins::new("confirm = \"always\"");
        let link = twins.proxies[0].link("mallory");
        // He presses the button himself, and gives up.
        let form = Form::of("/hub/login", &[("login_token", &link.token)]);
        let first = twins.proxies[0].browser().post(&form).begin();
        twins.hub.wait_for_path("/hub/login");
        // She is sent to his link: of the same address, with the same program, without cookies.
        let mut victim = twins.proxies[usize::from(at_the_other)].browser();
        let mut second = victim.navigate(&link.target()).begin();
        if at_the_other {
            twins.wait_for_call("ask");
            twins.give_up(first);
        } else {
            wait_until("both are there", || twins.proxies[0].metric("hublatch_connections") == 2);
            first.close();
            wait_until("one has gone", || twins.proxies[0].metric("hublatch_connections") == 1);
        }
        twins.gate.open();
        assert_nobody(&second.answer_to("GET").expect("an answer"));
        twins.assert_one_login();
    }
}

#[test]
fn an_operator_who_wants_no_replay_has_none() {
    for at_the_other in [false, true] {
        let twins = Twins::new("replay_grace = \"0s\"");
        let link = twins.proxies[0].link("alice");
        let mut browser = twins.proxies[0].browser();
        let first = browser.navigate(&link.target()).begin();
        twins.give_up(first);
        let again = if at_the_other { twins.other(&mut browser) } else { &mut browser };
        let mut second = again.navigate(&link.target()).begin();
        twins.gate.open();
        let answer = second.answer_to("GET").expect("an answer");
        assert_nobody(&answer);
        assert_eq!(answer.headers.get("refresh"), None);
        twins.assert_one_login();
    }
}

#[test]
fn a_login_does_not_wait_for_a_store_that_is_silent() {
    let twins = Twins::new("");
    let (silent, until) = watch::channel(());
    twins.store.arm(At::Each("begin"), Fault::Hangs(until));
    twins.gate.open();
    let link = twins.proxies[0].link("alice");
    assert_eq!(twins.proxies[0].browser().get(&link.target()).status, 302);
    assert!(!twins.store.calls().contains(&"end"), "it is silent still");
    drop(silent);
    twins.wait_for_call("end");
}

#[test]
fn a_store_that_fails_between_replicas_costs_nobody_the_login() {
    for call in ["begin", "ask", "is_asked_for", "end"] {
        let twins = Twins::new("");
        twins.store.arm(At::Each(call), Fault::Fails);
        let link = twins.proxies[0].link("alice");
        let mut browser = twins.proxies[0].browser();
        let mut first = browser.navigate(&link.target()).begin();
        twins.hub.wait_for_path("/hub/login");
        let mut second = twins.other(&mut browser).navigate(&link.target()).begin();
        twins.gate.open();
        assert_eq!(first.answer_to("GET").expect("an answer").status, 302, "{call}");
        assert_nobody(&second.answer_to("GET").expect("an answer"));
        twins.assert_one_login();
    }
}
