//! A thousand known tokens and keys, each through one outcome: every kind of token, every way in, every way to fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use hublatch::clock::{Clock as _, ManualClock};
use hublatch::token::AppKey;
use serde_json::{Value, json};

use super::sinks::{Sinks, log};
use crate::jwt::signer::{AUDIENCE, ISSUER, Signer, claims};
use crate::redeem::nobody;
use crate::support::form::Form;
use crate::support::proxy::standing_clock;
use crate::support::{Answer, Browser, FakeHub, Issued, TestProxy, Then};

const TOKENS: usize = 1000;
const PORTAL: &str = "https://portal.example";

/// A deployment with every door open: frames, tokens of the app's own, states, and a log of everything.
struct Deployment {
    sinks: Sinks,
    clock: Arc<ManualClock>,
    signer: Signer,
    /// What the app would exchange its tokens for.
    names: Arc<Mutex<HashMap<String, String>>>,
    portal: FakeHub,
    _files: tempfile::TempDir,
}

impl Deployment {
    fn new() -> Self {
        let (clock, signer) = (standing_clock(), Signer::ed25519());
        let files = tempfile::tempdir().expect("a directory");
        let pem = files.path().join("portal.pem");
        std::fs::write(&pem, &signer.pem).expect("write");
        let (portal, names) = (FakeHub::start(), Arc::<Mutex<HashMap<String, String>>>::default());
        let known = Arc::clone(&names);
        portal.on("/login", move |exchange| {
            let question: Value = serde_json::from_slice(exchange.read_body()).expect("JSON");
            let name = known.lock().unwrap().remove(question["token"].as_str().expect("a token"));
            match name.as_deref() {
                Some("down") => exchange.answer("500 Oops", json!({ "was": question }).to_string()),
                Some(name) => exchange.answer("200 OK", json!({ "name": name }).to_string()),
                None => exchange.answer("404 Not Found", json!({ "was": question }).to_string()),
            }
        });
        let app = format!(
            "rate = \"100000/s\"\nexchange_url = \"{}/login\"\n\
             jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {pem:?} }}",
            portal.url()
        );
        let sinks = Sinks::open(|hub| {
            TestProxy::before(hub)
                .set("log", "access = true\nlevel = \"trace\"")
                .set("login", "without_token = \"redirect\"\napp_url = \"https://portal.example/in\"")
                .set("embed", "frame_ancestors = [\"https://lms.example\"]\ncookies = \"lax\"")
                .set("limits", "unknown_tokens_per_minute = 0")
                .portal(&app)
                .clock(&clock)
                .start()
        });
        sinks.hub.on("/hub/api/user", nobody);
        clock.advance(Duration::from_secs(10));
        Self { sinks, clock, signer, names, portal, _files: files }
    }

    fn proxy(&self) -> &TestProxy {
        &self.sinks.proxy
    }

    fn call(&mut self, what: &'static str, status: u16, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.proxy().links().call(method, path, &[], body);
        self.sinks.took(what, status, &answer);
        answer
    }

    /// A token that its app has signed, or that only its app can read: watched from now on.
    fn signed(&mut self, more: &Value) -> String {
        let token = self.signer.sign(&claims(self.clock.now().wall.as_second(), more));
        self.watch_signature(&token);
        token
    }

    /// The head is the same for all, and for the proof to the hub.
    fn watch_signature(&mut self, token: &str) {
        let (_, signature) = token.rsplit_once('.').expect("three parts");
        self.sinks.secrets.push(("a signed token".to_owned(), signature.to_owned()));
    }

    fn foreign(&mut self, name: Option<&str>) -> String {
        let key = AppKey::generate(&SystemRandom::new()).expect("random bytes");
        let token = format!("fl_{}", &key.expose()[3..]);
        self.sinks.secrets.push(("an app's own token".to_owned(), token.clone()));
        if let Some(name) = name {
            self.names.lock().unwrap().insert(token.clone(), name.to_owned());
        }
        token
    }

    fn posted(&self, browser: &mut Browser, body: &str) -> Answer {
        let form = Form::of("/hub/login", &[]);
        let sending = browser.post(&form).header("Origin", PORTAL).without("Sec-Fetch-Site");
        sending.body(body.to_owned()).send()
    }

    /// One outcome of `link`, of those that there are.
    fn outcome(&mut self, number: usize, link: &Issued) {
        let (target, token) = (link.target(), link.token.as_str());
        let by_id = format!("/api/v1/links/{}", link.id);
        let mut browser = self.proxy().browser();
        match number % 24 {
            0 => {
                let login = browser.get(&target);
                self.sinks.took("a login", 302, &login);
                self.sinks.visit("a used link", 403, &target);
            }
            1 => {
                let answer = self.posted(&mut browser, &format!("login_token={token}&next=%2Fhub%2Fhome"));
                self.sinks.took_but("a hand-over, less its cookie", 303, &answer, token);
                let login = browser.get(answer.location());
                self.sinks.took("a login by the cookie", 302, &login);
            }
            2 => {
                self.call("a revocation", 204, "DELETE", &by_id, &Value::Null);
                self.sinks.visit("a revoked link", 403, &target);
            }
            3 => {
                self.clock.advance(Duration::from_secs(31));
                self.sinks.visit("an expired link", 403, &target);
                self.call("its record", 200, "GET", &by_id, &Value::Null);
            }
            4 => self.sinks.visit("a bad next", 400, &format!("{target}&next=//x.example/{token}")),
            5 => self.sinks.visit("two tokens", 400, &format!("{target}&login_token={token}")),
            6 => self.sinks.visit("another spelling", 400, &format!("/hub/login?Login-Token={token}")),
            7 => self.sinks.visit("another path", 200, &format!("/hub/x?a=%3Flogin%255ftoken%3D{token}")),
            8 => {
                let prefetch = browser.navigate(&target).header("Sec-Purpose", "prefetch").send();
                self.sinks.took("a prefetch", 503, &prefetch);
                let head = browser.request("HEAD", &target).send();
                self.sinks.took("HEAD", 200, &head);
            }
            9 => {
                self.sinks.hub.on("/hub/api/user", |_| Then::Close);
                self.sinks.visit_again("a hub that hangs up", 503, &target);
                self.sinks.hub.on("/hub/api/user", nobody);
            }
            10 => {
                self.sinks.hub.on("/hub/api/user", |exchange| exchange.answer("200 OK", r#"{"name":"bob"}"#));
                browser.set_cookie("jupyterhub-session-id", "0f", "/");
                let page = browser.get(&target);
                self.sinks.took_but("the page that asks, less its field", 200, &page, token);
                let json = browser.request("GET", &target).header("Accept", "application/json").send();
                self.sinks.took("the same for a program", 403, &json);
                let pressed = browser.press(&page);
                self.sinks.took("the switch", 302, &pressed);
                self.sinks.hub.on("/hub/api/user", nobody);
            }
            11 => {
                let answer = self.call("an exchange", 200, "POST", "/login", &json!({ "token": token }));
                assert_eq!(answer.json()["name"], "alice");
                self.call("a second exchange", 404, "POST", "/login", &json!({ "token": token }));
            }
            12 => {
                let framed = browser.navigate(&target).header("Sec-Fetch-Dest", "iframe");
                let framed = framed.header("Referer", "https://lms.example/").send();
                self.sinks.took("a login in a frame", 302, &framed);
            }
            13 => {
                let body = format!("login_token={token}&a={}", "x".repeat(17_000));
                let answer = self.posted(&mut browser, &body);
                self.sinks.took("a large form", 413, &answer);
                let answer = self.posted(&mut browser, &format!("login_token={token}&login_token={token}"));
                self.sinks.took("a form with two", 400, &answer);
            }
            14 => {
                self.call("all of a user's", 200, "DELETE", "/api/v1/users/alice/links", &Value::Null);
                self.sinks.visit("a link that went with them", 403, &target);
            }
            15 => self.sinks.visit("a mangled link", 400, &format!("/hub/login%3Flogin_token%3D{token}")),
            16 => {
                self.call("a token for an id", 404, "GET", &format!("/api/v1/links/{token}"), &Value::Null);
                self.call("a token for a name", 400, "POST", "/api/v1/links", &json!({ "username": token }));
            }
            17 => {
                let request = format!("GET {target} HTTP/1.1\nHost: hub.test\r\n\r\n");
                self.sinks.send("a bare line feed", 400, &request);
            }
            18 => self.sinks.send(
                "a Referer and a cookie",
                200,
                &format!(
                    "GET /hub/x HTTP/1.1\r\nHost: hub.test\r\nReferer: http://hub.test{target}\r\n\
                     Cookie: hublatch-token={token}\r\n\r\n"
                ),
            ),
            19 => {
                let sent = browser.get("/hub/login");
                self.sinks.took("on the way to the app", 303, &sent);
                let secret = browser.cookies_named("hublatch-state").pop().expect("a secret");
                let secret = browser.cookie(&secret).expect("its value").to_owned();
                self.sinks.told.pop();
                self.sinks.took_but("the same, less the cookie", 303, &sent, &secret);
                self.sinks.secrets.push(("a browser's secret".to_owned(), secret));
                let state = sent.location().split("state=").nth(1).and_then(|rest| rest.split('&').next());
                let order = json!({ "username": "alice", "state": state.expect("a state") });
                let bound = self.sinks.link_of("a bound token", &order);
                self.sinks.visit("a link of another browser", 403, &bound.target());
                let login = browser.get(&bound.target());
                self.sinks.took("a bound login", 302, &login);
            }
            20 => {
                let order = json!({ "username": "alice" }).to_string();
                let key = [("Idempotency-Key", token)];
                let first = self.proxy().links().call("POST", "/api/v1/links", &key, order.as_str());
                let second = self.proxy().links().call("POST", "/api/v1/links", &key, order.as_str());
                let other = json!({ "username": "bob" }).to_string();
                let third = self.proxy().links().call("POST", "/api/v1/links", &key, other);
                for (what, answer) in [("a first token", &first), ("a repeated token", &second)] {
                    let token = answer.json()["login_token"].as_str().expect("a token").to_owned();
                    self.sinks.secrets.push((what.to_owned(), token.clone()));
                    let status = if what == "a first token" { 403 } else { 302 };
                    self.sinks.visit("a repeated order", status, &format!("/hub/login?login_token={token}"));
                }
                self.sinks.took("another order under one key", 422, &third);
            }
            21 => {
                // Whoever's links were revoked in this second would not be let in by it.
                let token = self.signed(&json!({ "sub": "bob" }));
                let target = format!("/hub/login?login_token={token}");
                self.sinks.visit("a signed token", 302, &target);
                self.sinks.visit("a used signed token", 403, &target);
                let mut broken = token.clone();
                broken.replace_range(
                    token.len() - 4..token.len() - 3,
                    if token.ends_with('A') { "B" } else { "A" },
                );
                self.watch_signature(&broken);
                self.sinks.visit(
                    "a token with another signature",
                    403,
                    &format!("/hub/login?login_token={broken}"),
                );
                for more in [
                    json!({ "aud": "x" }),
                    json!({ "sub": "../x" }),
                    json!({ "exp": 1 }),
                    json!({ "next": "//x" }),
                ] {
                    let token = self.signed(&more);
                    let answer = browser.get(&format!("/hub/login?login_token={token}"));
                    assert!(matches!(answer.status, 400 | 403), "{more}: {}", answer.text());
                    self.sinks.took("a signed token that is refused", answer.status, &answer);
                }
            }
            22 => {
                for (what, name, status) in [
                    ("an exchanged token", Some("alice"), 302),
                    ("a token that the app does not know", None, 403),
                    ("a token for nobody", Some("../x"), 403),
                    ("an app that is down", Some("down"), 503),
                ] {
                    let token = self.foreign(name);
                    self.sinks.visit(what, status, &format!("/hub/login?login_token={token}"));
                }
            }
            _ => {
                let key = AppKey::generate(&SystemRandom::new()).expect("random bytes").expose().to_owned();
                self.sinks.secrets.push(("a key of nobody".to_owned(), key.clone()));
                let headers = [("Authorization", format!("Bearer {key}"))];
                let headers = [(headers[0].0, headers[0].1.as_str())];
                let links = self.proxy().links();
                let answer =
                    links.call("POST", "/api/v1/links", &headers, json!({ "username": "alice" }).to_string());
                self.sinks.took("a key that nobody has", 401, &answer);
                let answer = links.call("POST", "/oauth2/token", &headers, format!("subject_token={token}"));
                self.sinks.took("a token exchange", answer.status, &answer);
            }
        }
    }
}

#[test]
fn of_a_thousand_tokens_and_keys_none_is_told_to_anybody() {
    let mut deployment = Deployment::new();
    let mut number = 0;
    while deployment.sinks.secrets.len() < TOKENS {
        let link = deployment.sinks.link("a token of ours");
        deployment.outcome(number, &link);
        // Links that nobody has used: so that there is room for more.
        if number % 200 == 199 {
            deployment.clock.advance(Duration::from_secs(31));
        }
        number += 1;
    }
    assert!(number > 24 * 20, "each outcome many times: {number}");
    assert!(!deployment.portal.seen().is_empty(), "the app was asked");
    assert!(log().text().contains("portal"), "the log is open");
    deployment.sinks.assert_tight();
}
