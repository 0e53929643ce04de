//! `kill -9` at each step of a link's life: hublatch dies before or after a call of its store, or while the hub is being
//! asked. What was promised before it died still holds when it is back (T-CRASH of tests/README.md).

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hublatch::app::{self, Dependencies};
use hublatch::clock::{Clock, Moment as Now, SystemClock};
use hublatch::store::{self, Consumed, IdempotencyKey, Inserted, Link, Revoked, StoreFuture, TokenStore};
use hublatch::token::{LinkId, TokenDigest, Username};
use serde_json::json;

use super::checker;
use super::client::{self, Client, Failure};
use super::history::{Answer, Event, History, Taken, Token};
use super::hub::{Hub, Moment};
use super::node::{self, Deployment, Node};

/// Set in a hublatch that is to die: its configuration, and where.
const CONFIG: &str = "HUBLATCH_TEST_CONFIG";
const DIES_AT: &str = "HUBLATCH_TEST_DIES_AT";

/// Where hublatch dies.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// By itself, at this call of its store.
    Store(&'static str),
    /// By the hub's hand.
    Hub(Moment),
}

/// Whether anybody was logged in when all is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The token was not taken: the link still works, once.
    LoggedIn,
    /// The token was taken: the link is used up, without a login.
    Burnt,
    /// One of the two.
    Either,
    /// The link was taken back.
    Revoked,
}

const POINTS: [(Point, Expected); 17] = [
    (Point::Store("before insert"), Expected::LoggedIn),
    (Point::Store("after insert"), Expected::LoggedIn),
    (Point::Store("before find"), Expected::LoggedIn),
    (Point::Store("after find"), Expected::LoggedIn),
    (Point::Hub(Moment::AskedWho), Expected::LoggedIn),
    (Point::Hub(Moment::HalfToldWho), Expected::LoggedIn),
    (Point::Hub(Moment::ToldWho), Expected::Either),
    (Point::Store("before consume"), Expected::LoggedIn),
    (Point::Store("after consume"), Expected::Burnt),
    (Point::Hub(Moment::AskedLogout), Expected::Burnt),
    (Point::Hub(Moment::HalfToldLogout), Expected::Burnt),
    (Point::Hub(Moment::ToldLogout), Expected::Either),
    (Point::Hub(Moment::AskedLogin), Expected::LoggedIn),
    (Point::Hub(Moment::HalfToldLogin), Expected::LoggedIn),
    (Point::Hub(Moment::ToldLogin), Expected::LoggedIn),
    (Point::Store("before revoke"), Expected::Revoked),
    (Point::Store("after revoke"), Expected::Revoked),
];

#[test]
#[ignore = "starts and kills processes; see make race"]
fn a_crash_at_any_step_leaves_at_most_one_login_and_loses_no_link() {
    let rounds = std::env::var("RACE_CRASHES").map_or(3, |count| count.parse().expect("a number"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let history = Arc::new(History::new());
    let hub = Hub::start(&history);
    let deployment = Deployment::new(folder.path());
    let url = format!("redb://{}/tokens.redb", folder.path().display());
    let node = Arc::new(Node::start(deployment.configure("node", hub.address, &url), node::serve));
    let bench = Bench { history, hub, node, key: deployment.key.expose().to_owned() };
    let mut token = 0;
    for (point, expected) in POINTS {
        for _ in 0..rounds {
            token += 1;
            bench.round(token, point, expected);
        }
    }
    let events = bench.history.take();
    match checker::check(&events) {
        Ok(figures) => println!("{} points, {rounds} crashes each: {figures:?}", POINTS.len()),
        Err(wrong) => panic!("{} faults:\n{}", wrong.len(), wrong.join("\n")),
    }
}

struct Bench {
    history: Arc<History>,
    hub: Hub,
    node: Arc<Node>,
    key: String,
}

impl Bench {
    /// One link, one crash at `point`, and the same again after it.
    fn round(&self, token: Token, point: Point, expected: Expected) {
        self.node.kill();
        self.node.start_as(|config| dying(config, point));
        let died = Arc::new(AtomicBool::new(false));
        if let Point::Hub(moment) = point {
            let (node, died) = (Arc::clone(&self.node), Arc::clone(&died));
            self.hub.watch(Some(Arc::new(move |at| {
                if at == moment && !died.swap(true, Ordering::SeqCst) {
                    node.kill();
                }
            })));
        }
        let mut client = Client::default();
        let first = self.issue(&mut client, token);
        let link = match first {
            Some(link) => link,
            None => self.after_the_death(|| self.issue(&mut Client::default(), token)).expect("a link"),
        };
        let revokes = expected == Expected::Revoked;
        if revokes {
            let answer = self.revoke(&mut client, token, &link.0);
            assert_eq!(answer, Taken::Unclear, "{point:?}");
            assert_eq!(
                self.after_the_death(|| self.revoke(&mut Client::default(), token, &link.0)),
                Taken::Dead
            );
        }
        let opened = self.open(&mut client, token, &link.1);
        let seen = if opened == Answer::Unclear {
            self.after_the_death(|| self.open(&mut Client::default(), token, &link.1))
        } else {
            // It died while it took the link in or back, or when the browser had its answer.
            opened
        };
        self.hub.watch(None);
        let logins = self.history.logins_of(token);
        let outcome = match (seen, logins) {
            (Answer::LoggedIn | Answer::Used, 1) => Expected::LoggedIn,
            (Answer::Used, 0) => Expected::Burnt,
            (Answer::Revoked, 0) => Expected::Revoked,
            (odd, logins) => panic!("{point:?}: {odd:?} after {logins} logins"),
        };
        assert!(outcome == expected || expected == Expected::Either, "{point:?}: {outcome:?}");
    }

    /// Waits for the death, starts a hublatch that lives on, and does `again`.
    fn after_the_death<T>(&self, again: impl FnOnce() -> T) -> T {
        assert_eq!(self.node.died_by(), Some(9), "it was to be killed");
        self.node.start_again();
        again()
    }

    /// Id and token of a link; the order is the same each time.
    fn issue(&self, client: &mut Client, token: Token) -> Option<(String, String)> {
        let asked = self.history.now();
        let order = json!({ "username": "alice", "expires_in": 300 }).to_string();
        let key = format!("Idempotency-Key: {token}\r\n");
        let answer = self.call(client, "POST", "/api/v1/links", &key, &order).ok()?;
        assert_eq!(answer.status, 201, "{}", answer.json());
        let json = answer.json();
        let text = |name: &str| json[name].as_str().expect("a text").to_owned();
        let link = (text("id"), text("login_token"));
        self.hub.expect(&link.0, token, "alice");
        self.history.add(Event::Issued { token, asked });
        Some(link)
    }

    fn revoke(&self, client: &mut Client, token: Token, id: &str) -> Taken {
        let answer = match self.call(client, "DELETE", &format!("/api/v1/links/{id}"), "", "") {
            Ok(answer) if answer.status == 204 => Taken::Dead,
            Ok(answer) => panic!("{}", answer.json()),
            Err(failure) => {
                assert_eq!(failure, Failure::Unclear);
                Taken::Unclear
            }
        };
        self.history.add(Event::Revoked { token, ended: self.history.now(), answer });
        answer
    }

    /// Opens the link in a browser in which somebody else is logged in.
    fn open(&self, client: &mut Client, token: Token, secret: &str) -> Answer {
        let began = self.history.now();
        let request = format!(
            "GET /hub/login?login_token={secret} HTTP/1.1\r\nHost: hub.test\r\nAccept: application/json\r\n\
             Cookie: jupyterhub-hub-login=mallory\r\n\r\n"
        );
        let answer = Answer::of(client.send(self.node.addresses().public, &request));
        self.history.add(Event::Tried { token, began, ended: self.history.now(), answer });
        answer
    }

    fn call(
        &self,
        client: &mut Client,
        method: &str,
        path: &str,
        more: &str,
        body: &str,
    ) -> Result<client::Answer, Failure> {
        client.send(self.node.addresses().management, &client::call(&self.key, method, path, more, body))
    }
}

/// This test program as a hublatch that dies at `point`.
fn dying(config: &Path, point: Point) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::a_hublatch_that_dies", "--ignored", "--nocapture"]).env(CONFIG, config);
    if let Point::Store(call) = point {
        command.env(DIES_AT, call);
    }
    command
}

#[test]
#[ignore = "a process for the test above"]
fn a_hublatch_that_dies() {
    let Some(file) = std::env::var_os(CONFIG) else { return };
    let config = hublatch::config::load(Path::new(&file), []).expect("a configuration");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = store::open(&config.store, &clock).expect("a store");
    let store = DyingStore { store, dies_at: std::env::var(DIES_AT).unwrap_or_default() };
    let surroundings = Dependencies { clock, store: Some(Arc::new(store)), ..Dependencies::default() };
    let running = app::start(&config, surroundings).expect("hublatch starts");
    for (listener, address) in [("public", &running.public()[0]), ("management", running.management())] {
        eprintln!("{}", json!({ "listener": listener, "address": address.to_string() }));
    }
    running.join();
}

/// A store whose process dies at one of its calls.
#[derive(Debug)]
struct DyingStore {
    store: Arc<dyn TokenStore>,
    dies_at: String,
}

impl DyingStore {
    // A store may begin its work before its future is polled, so "before" is told before it is called.
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: &'static str,
        inner: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let outcome = inner.await;
            self.reached("after", call);
            outcome
        })
    }

    fn reached(&self, side: &str, call: &str) {
        if self.dies_at == format!("{side} {call}") {
            let signal = rustix::process::Signal::KILL;
            rustix::process::kill_process(rustix::process::getpid(), signal).expect("a signal");
        }
    }
}

impl TokenStore for DyingStore {
    fn insert(&self, links: Vec<Link>, key: Option<IdempotencyKey>, now: Now) -> StoreFuture<'_, Inserted> {
        self.reached("before", "insert");
        self.around("insert", self.store.insert(links, key, now))
    }

    fn find(&self, digest: TokenDigest, now: Now) -> StoreFuture<'_, Option<Link>> {
        self.reached("before", "find");
        self.around("find", self.store.find(digest, now))
    }

    fn consume(&self, digest: TokenDigest, now: Now) -> StoreFuture<'_, Consumed> {
        self.reached("before", "consume");
        self.around("consume", self.store.consume(digest, now))
    }

    fn reserve(&self, digest: TokenDigest, until: Now, now: Now) -> StoreFuture<'_, bool> {
        self.reached("before", "reserve");
        self.around("reserve", self.store.reserve(digest, until, now))
    }

    fn get<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Now) -> StoreFuture<'a, Option<Link>> {
        self.store.get(id, app, now)
    }

    fn revoke<'a>(&'a self, id: &'a LinkId, app: &'a str, now: Now) -> StoreFuture<'a, Revoked> {
        self.reached("before", "revoke");
        self.around("revoke", self.store.revoke(id, app, now))
    }

    fn revoke_user<'a>(&'a self, user: &'a Username, app: &'a str, now: Now) -> StoreFuture<'a, usize> {
        self.store.revoke_user(user, app, now)
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.store.ping()
    }

    fn live(&self, now: Now) -> usize {
        self.store.live(now)
    }
}
