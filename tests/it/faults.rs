//! Every fallible step of a redeem goes wrong once: always no identity, always one audit line, one clear answer, and no
//! step that is tried a second time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::jwt::signer::{AUDIENCE, ISSUER, Signer, claims};
use crate::redeem::{logins, nobody};
use crate::support::faulty_store::{At, Fault, FaultyStore};
use crate::support::proxy::{standing_clock, wait_until};
use crate::support::{Answer, Exchange, FakeHub, Gate, TestProxy, Then};

/// Whose tokens a link may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// hublatch has made it.
    Ours,
    /// The app has signed it.
    Signed,
    /// The app exchanges it.
    Foreign,
}

/// A hublatch with a store that can go wrong, before a hub and an app that can.
struct Deployment {
    hub: FakeHub,
    app: FakeHub,
    store: Arc<FaultyStore>,
    proxy: TestProxy,
    signer: Signer,
    now: i64,
    _files: TempDir,
}

impl Deployment {
    fn new() -> Self {
        let (hub, app) = (FakeHub::start(), FakeHub::start());
        app.on("/login", |exchange| exchange.answer("200 OK", r#"{"name":"alice"}"#));
        let (store, clock, signer) = (Arc::new(FaultyStore::new()), standing_clock(), Signer::ed25519());
        let files = tempfile::tempdir().expect("a directory");
        let key = files.path().join("portal.pem");
        std::fs::write(&key, &signer.pem).expect("write");
        let portal = format!(
            "jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {key:?} }}\n\
             exchange_url = \"{}/login\"",
            app.url()
        );
        let proxy = TestProxy::before(&hub)
            .set("login", "confirm = \"never\"")
            .set("limits", "login_hub_timeout = \"1s\"")
            .portal(&portal)
            .clock(&clock)
            .store(Arc::clone(&store) as _)
            .start();
        clock.advance(Duration::from_secs(10));
        let now = hublatch::clock::Clock::now(&*clock).wall.as_second();
        Self { hub, app, store, proxy, signer, now, _files: files }
    }

    /// A new token, and the id of its link if it has one already.
    fn token(&self, kind: Kind, number: usize) -> (String, Option<String>) {
        match kind {
            Kind::Ours => {
                let link = self.proxy.link("alice");
                (link.token, Some(link.id))
            }
            Kind::Signed => (self.signer.sign(&claims(self.now, &json!({ "sub": "alice" }))), None),
            Kind::Foreign => (format!("fCpXVWZ1n5m2r0XQ3uYbqk9m0Jt-_8a7Zb1sV4c{number:04}"), None),
        }
    }

    /// A click in a browser in which mallory is logged in.
    fn click(&self, token: &str) -> Answer {
        let mut browser = self.proxy.browser();
        browser.set_cookie("jupyterhub-hub-login", "mallory", "/hub/");
        browser.get(&format!("/hub/login?login_token={token}"))
    }

    /// The audit lines since `before` that end a click.
    fn ends(&self, before: usize) -> Vec<(String, Option<String>)> {
        let ends = |line: &Value| line["event"] == "redeemed" || line["event"] == "refused";
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let lines = self.proxy.audit().split_off(before);
        lines
            .iter()
            .filter(|line| ends(line))
            .map(|line| (text(&line["event"]).unwrap(), text(&line["reason"])))
            .collect()
    }

    /// Asserts that a click went wrong: a page that says so, nobody logged in by it, one audit line.
    fn assert_refused(
        &self,
        answer: &Answer,
        code: &str,
        before: (usize, usize),
        end: (&str, Option<&str>),
        what: &str,
    ) {
        assert_eq!(answer.status, 503, "{what}: {}", answer.text());
        assert!(answer.text().contains(code), "{what}: not {code}: {}", answer.text());
        assert_eq!(answer.headers.all("cache-control"), ["no-store"], "{what}");
        assert!(!answer.headers.has("location"), "{what}");
        let cookies = answer.headers.all("set-cookie");
        assert!(!cookies.iter().any(|cookie| cookie.contains("hub-login")), "{what}: {cookies:?}");
        let end = (end.0.to_owned(), end.1.map(str::to_owned));
        assert_eq!(self.ends(before.0), [end], "{what}");
        let carries = |seen: &&crate::support::Seen| seen.headers.count_folded("REMOTE_USER") > 0;
        assert_eq!(
            self.hub.seen().iter().filter(carries).count(),
            before.1,
            "{what}: an identity reached the hub"
        );
    }

    /// How many audit lines and identities there are.
    fn so_far(&self) -> (usize, usize) {
        (self.proxy.audit().len(), logins(&self.hub).len())
    }
}

#[test]
fn a_store_that_fails_at_any_call_of_a_redeem_logs_nobody_in_and_is_asked_once() {
    let deployment = Deployment::new();
    for kind in [Kind::Ours, Kind::Signed, Kind::Foreign] {
        for (fault, name) in [(Fault::Fails, "fails"), (Fault::LosesAnswer, "loses its answer")] {
            let mut call = 1;
            loop {
                let what = format!("{kind:?}, call {call} {name}");
                let (token, id) = deployment.token(kind, deployment.proxy.audit().len());
                let before = deployment.so_far();
                deployment.store.arm(At::Call(call), fault.clone());
                let answer = deployment.click(&token);
                let calls = deployment.store.calls();
                deployment.store.heal();
                if calls.len() < call {
                    // No call was left to go wrong.
                    assert_eq!(answer.status, 302, "{what}: {}", answer.text());
                    break;
                }
                assert_eq!(calls.len(), call, "{what}: it went on after {calls:?}");
                let refused = ("refused", Some("store_unavailable"));
                // What is lost after its app was asked is told as lost.
                let is_lost = kind == Kind::Foreign && calls[..call - 1].contains(&"insert");
                let is_lost = is_lost && calls[call - 1] == "insert";
                let code = if is_lost { "exchange_failed" } else { "store_unavailable" };
                deployment.assert_refused(&answer, code, before, refused, &what);
                // A take that was not answered may have been done: it is good for no second login. An exchange has taken
                // the token from its app, whatever became of it.
                let again = deployment.click(&token).status;
                let mut taken =
                    name == "loses its answer" && ["consume", "insert"].contains(&calls[call - 1]);
                // When one that an app has signed is taken, it is asked whether it was revoked meanwhile.
                taken |= kind == Kind::Signed && calls[..call - 1].contains(&"insert");
                if kind != Kind::Foreign {
                    assert_eq!(again, if taken { 403 } else { 302 }, "{what}");
                }
                assert!(logins(&deployment.hub).len() <= before.1 + 1, "{what}");
                if let Some(id) = id {
                    assert_eq!(deployment.proxy.links().status(&id), "used", "{what}");
                }
                call += 1;
            }
            let least = if kind == Kind::Foreign { 4 } else { 2 };
            assert!(call > least, "{kind:?}: only {call} calls");
        }
    }
}

/// What a hub does instead of answering.
fn instead(way: &'static str, gate: &Gate) -> impl Fn(&mut Exchange<'_>) -> Then + Send + Sync + 'static {
    let gate = gate.clone();
    move |exchange| {
        exchange.read_body();
        match way {
            "500" => return exchange.answer("500 Internal Server Error", "{}"),
            "503 in HTML" => {
                return exchange.answer("503 Service Unavailable\r\nContent-Type: text/html", "<p>");
            }
            "garbage" => exchange.send("SSH-2.0-OpenSSH_9.2\r\n"),
            "half a head" => exchange.send("HTTP/1.1 302 Found\r\nLocation: /hub/"),
            "silence" => gate.pass(),
            "reset" => {}
            way => panic!("unknown: {way}"),
        }
        Then::Close
    }
}

const WAYS: [&str; 6] = ["500", "503 in HTML", "garbage", "half a head", "silence", "reset"];

#[test]
fn a_hub_that_fails_at_any_question_of_a_redeem_logs_nobody_in_and_is_told_of_once() {
    let deployment = Deployment::new();
    for (path, code) in [
        ("/hub/api/user", "hub_unavailable"),
        ("/hub/logout", "logout_failed"),
        ("/hub/login", "login_failed"),
    ] {
        for way in WAYS {
            if path == "/hub/login" && (way == "500" || way == "503 in HTML") {
                // The hub's own word on the login: it goes back as it is.
                continue;
            }
            for kind in [Kind::Ours, Kind::Signed, Kind::Foreign] {
                let what = format!("{path}: {way}, {kind:?}");
                let (token, _) = deployment.token(kind, deployment.proxy.audit().len());
                let (lines, identities) = deployment.so_far();
                let gate = Gate::new();
                deployment.hub.on(path, instead(way, &gate));
                let answer = deployment.click(&token);
                gate.open();
                deployment.hub.on(path, as_mallory(path));
                // What comes after the take was redeemed, though by nobody's profit.
                let taken = path != "/hub/api/user";
                let end = if taken { ("redeemed", None) } else { ("refused", Some("hub_unavailable")) };
                let sent = identities + usize::from(path == "/hub/login");
                deployment.assert_refused(&answer, code, (lines, sent), end, &what);
                let failed = deployment.proxy.audit().split_off(lines);
                let failed = failed.iter().filter(|line| line["event"] == "login_failed").count();
                assert_eq!(failed, usize::from(taken), "{what}: what was redeemed has failed, once");
                let again = deployment.click(&token);
                assert_eq!(again.status, if taken { 403 } else { 302 }, "{what}: {}", again.text());
            }
        }
    }
}

/// A hub that is well again, and knows the browser as mallory.
fn as_mallory(path: &'static str) -> impl Fn(&mut Exchange<'_>) -> Then + Send + Sync + 'static {
    move |exchange| match path {
        "/hub/api/user" => {
            exchange.answer("200 OK\r\nContent-Type: application/json", r#"{"name":"mallory"}"#)
        }
        "/hub/logout" => exchange.answer("200 OK", ""),
        _ => exchange.answer("302 Found\r\nLocation: /hub/home", ""),
    }
}

#[test]
fn an_app_that_fails_in_the_exchange_logs_nobody_in_and_is_asked_once() {
    let deployment = Deployment::new();
    for way in WAYS.iter().filter(|way| **way != "silence") {
        let (token, _) = deployment.token(Kind::Foreign, deployment.proxy.audit().len());
        let (before, asked) = (deployment.so_far(), deployment.app.seen().len());
        deployment.app.on("/login", instead(way, &Gate::new()));
        let answer = deployment.click(&token);
        let refused = ("refused", Some("store_unavailable"));
        deployment.assert_refused(&answer, "exchange_failed", before, refused, way);
        assert_eq!(deployment.app.seen().len(), asked + 1, "{way}");
        deployment.app.on("/login", |exchange| exchange.answer("200 OK", r#"{"name":"alice"}"#));
        // Its app may have burnt it: it is not asked again.
        assert_eq!(deployment.click(&token).status, 403, "{way}");
        assert_eq!(deployment.app.seen().len(), asked + 1, "{way}");
    }
}

#[test]
fn a_login_whose_connection_ends_while_its_token_is_taken_goes_over_a_new_one_once() {
    let deployment = Deployment::new();
    deployment.hub.on("/hub/api/user", nobody);
    let (token, _) = deployment.token(Kind::Ours, 0);
    let (held, silence) = watch::channel(());
    deployment.store.arm(At::Each("consume"), Fault::Hangs(silence));
    let mut click = deployment.proxy.browser().navigate(&format!("/hub/login?login_token={token}")).begin();
    wait_until("the take is under way", || deployment.store.calls().contains(&"consume"));
    deployment.hub.drop_connections();
    // Its thread, the only one, has heard of it when it has served another request.
    deployment.proxy.browser().get("/hub/static/x");
    held.send(()).expect("the store waits");
    let answer = click.answer_to("GET").expect("an answer");
    assert_eq!((answer.status, logins(&deployment.hub).len()), (302, 1), "{}", answer.text());
}

#[test]
fn a_store_that_is_silent_keeps_a_click_waiting_and_logs_nobody_in() {
    let deployment = Deployment::new();
    let (token, id) = deployment.token(Kind::Ours, 0);
    let (held, silence) = watch::channel(());
    let before = deployment.so_far();
    deployment.store.arm(At::Each("consume"), Fault::Hangs(silence));
    let mut click = deployment.proxy.browser().navigate(&format!("/hub/login?login_token={token}")).begin();
    wait_until("the take is under way", || deployment.store.calls().contains(&"consume"));
    assert_eq!(deployment.so_far(), before);
    drop(held);
    let answer = click.answer_to("GET").expect("an answer");
    let refused = ("refused", Some("store_unavailable"));
    deployment.assert_refused(&answer, "store_unavailable", before, refused, "silence");
    deployment.store.heal();
    deployment.hub.on("/hub/api/user", nobody);
    assert_eq!(deployment.click(&token).status, 403);
    assert_eq!(
        (logins(&deployment.hub).len(), deployment.proxy.links().status(&id.unwrap())),
        (before.1, "used".to_owned())
    );
}
