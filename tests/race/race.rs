//! Ten racers over all hublatch processes of a store, an app that takes links back, and a killer; round after round.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::checker;
use super::client::{self, Client, Failure};
use super::history::{Answer, Event, History, Taken, Token};
use super::hub::Hub;
use super::node::{self, Deployment, Node};
use super::server::RedisServer;

const RACERS: usize = 10;
/// In a round: few enough to be raced within the life of a link, whatever else the machine does.
const TOKENS: usize = 100;
/// So often the long form says how far it is.
const TOLD_EVERY: Token = 10_000;
/// Of these, every seventh is taken back by its app at some time.
const REVOKED: usize = 7;

/// Within this time of a round's beginning links are taken back, and something is killed if it is at any time.
const ROUND_MAX: Duration = Duration::from_secs(2);

/// Longer than a restart takes on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A Redis that keeps all that it was told. Its file is written anew before it grows long: a restart reads all of it, and
/// of the file of a whole race that takes longer each time.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--auto-aof-rewrite-min-size", "4mb"];

/// What is raced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    /// One process; a kill forgets its links.
    Memory,
    /// One process at a time; nothing is forgotten.
    Redb,
    /// Two processes; a restart of Redis voids its links.
    Redis,
}

/// When something is killed in a round. They take turns, so that whatever the machine is busy with there are logins by links
/// that no kill has voided, and requests that a kill cuts off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Never,
    /// While links are issued or raced for: a hublatch, or the Redis.
    AnyTime,
    /// When half of the racers' requests are sent: a hublatch, which has some before it.
    MidRace,
}

#[derive(Debug)]
struct Issued {
    number: Token,
    id: String,
    secret: String,
}

struct Race {
    store: Store,
    history: Arc<History>,
    hub: Hub,
    key: String,
    nodes: Vec<Node>,
    redis: Option<Mutex<RedisServer>>,
    random: AtomicU64,
    /// How long the last round took: the killer strikes within.
    round: Duration,
    issued: Token,
    /// Requests of the racers in this round.
    sent: AtomicUsize,
    kills: usize,
}

fn tokens_wanted() -> usize {
    std::env::var("RACE_TOKENS").map_or(1000, |count| count.parse().expect("RACE_TOKENS is a number"))
}

#[test]
#[ignore = "starts and kills processes; see make race"]
fn memory_store() {
    run(Store::Memory);
}

#[test]
#[ignore = "starts and kills processes; see make race"]
fn redb_store() {
    run(Store::Redb);
}

#[test]
#[ignore = "needs redis-server; see make race"]
fn redis_store() {
    run(Store::Redis);
}

fn run(store: Store) {
    // On a disk: the directory of the build is on one.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let begun = Instant::now();
    let mut race = Race::new(store, folder.path());
    while (race.issued as usize) < tokens_wanted() {
        race.round();
        if race.issued.is_multiple_of(TOLD_EVERY) {
            println!("{store:?}: {} tokens, {} kills, {:.0?}", race.issued, race.kills, begun.elapsed());
        }
    }
    let kills = race.kills;
    let Race { nodes, history, hub, .. } = race;
    drop(nodes);
    let events = history.take();
    drop(hub);
    match checker::check(&events) {
        Ok(figures) => {
            let seconds = begun.elapsed().as_secs_f64();
            println!("{store:?}: {figures:?}, {} events, {kills} kills, {seconds:.0} s", events.len());
            // A history in which hardly anything happened would prove nothing.
            assert!(figures.logins * 4 > figures.tokens && figures.unanswered > 0, "{figures:?}");
        }
        Err(wrong) => {
            panic!("{store:?}: {} faults:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"))
        }
    }
}

impl Race {
    fn new(store: Store, folder: &Path) -> Self {
        let history = Arc::new(History::new());
        let hub = Hub::start(&history);
        let deployment = Deployment::new(folder);
        let redis = (store == Store::Redis).then(|| RedisServer::with(&DURABLE));
        let url = match &redis {
            Some(redis) => format!("redis://127.0.0.1:{}", redis.port()),
            None if store == Store::Memory => "memory:".to_owned(),
            None => format!("redb://{}/tokens.redb", folder.display()),
        };
        let count = if store == Store::Redis { 2 } else { 1 };
        let start = |number| {
            Node::start(deployment.configure(&format!("node{number}"), hub.address, &url), node::serve)
        };
        let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
        println!("{store:?}: seed {seed}");
        Self {
            store,
            nodes: (0..count).map(start).collect(),
            key: deployment.key.expose().to_owned(),
            history,
            hub,
            redis: redis.map(Mutex::new),
            random: AtomicU64::new(seed),
            round: Duration::from_millis(200),
            issued: 0,
            sent: AtomicUsize::new(0),
            kills: 0,
        }
    }

    /// Issues links, races for them while something is killed, and tries each once more when all is up again.
    fn round(&mut self) {
        let begun = Instant::now();
        let blow = [Blow::Never, Blow::AnyTime, Blow::MidRace][self.issued as usize / TOKENS % 3];
        *self.sent.get_mut() = 0;
        let wait = self.round.mul_f64(self.below(1000) as f64 / 1000.0);
        let first = self.issued;
        let this = &*self;
        let issued = std::thread::scope(|scope| {
            if blow == Blow::AnyTime {
                scope.spawn(move || {
                    std::thread::sleep(wait);
                    this.strike(blow);
                });
            }
            let links = this.issue(first);
            let links = &links;
            std::thread::scope(|scope| {
                scope.spawn(move || this.take_back(links));
                for racer in 0..RACERS {
                    scope.spawn(move || this.try_all(racer, links, blow));
                }
            });
            links.len()
        });
        // A round that stood still long for a restart must not make the next ones as long.
        self.round = begun.elapsed().min(ROUND_MAX);
        self.issued += issued as Token;
        self.kills += usize::from(blow != Blow::Never);
    }

    /// A number in `0..limit` (xorshift64, Marsaglia).
    fn below(&self, limit: u64) -> u64 {
        let step = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            Some(x)
        };
        let before = self.random.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        before.unwrap_or_else(|x| x) % limit
    }

    /// Kills a hublatch, or the Redis, and starts it again.
    fn strike(&self, blow: Blow) {
        let at = self.history.now();
        match &self.redis {
            Some(redis) if blow == Blow::AnyTime && self.below(2) == 0 => {
                self.history.add(Event::Voided { at });
                let mut redis = redis.lock().unwrap();
                redis.kill();
                redis.start_again();
            }
            _ => {
                if self.store == Store::Memory {
                    self.history.add(Event::Voided { at });
                }
                let node = &self.nodes[self.below(self.nodes.len() as u64) as usize];
                node.kill();
                node.start_again();
            }
        }
    }

    /// Links that were acknowledged: all of a round at once, or one after another.
    fn issue(&self, first: Token) -> Vec<Issued> {
        let mut client = Client::default();
        let mut links = Vec::new();
        let mut size = if self.below(2) == 0 { TOKENS } else { 1 };
        let deadline = Instant::now() + PATIENCE;
        while links.len() < TOKENS {
            assert!(Instant::now() < deadline, "no links");
            size = size.min(TOKENS - links.len());
            let numbers = (0..size).map(|index| first + (links.len() + index) as Token);
            let orders: Vec<Value> = numbers
                .clone()
                .map(|number| json!({ "username": user(number), "expires_in": 300 }))
                .collect();
            let asked = self.history.now();
            let node = &self.nodes[self.below(self.nodes.len() as u64) as usize];
            let body = json!({ "links": orders }).to_string();
            let answer = client.send(
                node.addresses().management,
                &client::call(&self.key, "POST", "/api/v1/links/batch", "", &body),
            );
            let Some(answer) = answer.ok().filter(|answer| answer.status == 201) else {
                // Killed, or its Redis was. The numbers are used again: what was not acknowledged is nobody's.
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let json = answer.json();
            let issued = json["links"].as_array().expect("links");
            for (number, link) in numbers.collect::<Vec<_>>().into_iter().zip(issued) {
                let text = |name: &str| link[name].as_str().expect("a text").to_owned();
                let link = Issued { number, id: text("id"), secret: text("login_token") };
                self.hub.expect(&link.id, number, &user(number));
                self.history.add(Event::Issued { token: number, asked });
                links.push(link);
            }
        }
        links
    }

    /// Takes some of the links back, in an order of its own.
    fn take_back(&self, links: &[Issued]) {
        let mut client = Client::default();
        let offset = self.below(REVOKED as u64) as usize;
        for link in links.iter().skip(offset).step_by(REVOKED) {
            std::thread::sleep(
                self.round.mul_f64(self.below(1000) as f64 / 1000.0 / (TOKENS / REVOKED) as f64),
            );
            let node = &self.nodes[self.below(self.nodes.len() as u64) as usize];
            let answer = client.send(
                node.addresses().management,
                &client::call(&self.key, "DELETE", &format!("/api/v1/links/{}", link.id), "", ""),
            );
            let answer = match answer.map(|answer| answer.status) {
                Err(Failure::NotSent) => continue,
                Ok(204) => Taken::Dead,
                Ok(409) => Taken::Used,
                Ok(404) => Taken::NotFound,
                Ok(_) | Err(Failure::Unclear) => Taken::Unclear,
            };
            self.history.add(Event::Revoked { token: link.number, ended: self.history.now(), answer });
        }
    }

    /// Opens each link; a racer whose request was not sent comes again, so that each link is tried when all is up. In the
    /// middle of the race one of them strikes, if that is to be.
    fn try_all(&self, racer: usize, links: &[Issued], blow: Blow) {
        let mut clients: Vec<Client> = self.nodes.iter().map(|_| Client::default()).collect();
        for link in links {
            let mine = (racer + link.number as usize) % self.nodes.len();
            if self.sent.fetch_add(1, Ordering::Relaxed) == RACERS * TOKENS / 2 && blow == Blow::MidRace {
                self.strike(blow);
            }
            let deadline = Instant::now() + PATIENCE;
            while matches!(
                self.open(&mut clients[mine], &self.nodes[mine], link),
                Answer::NotSent | Answer::Unclear
            ) {
                assert!(Instant::now() < deadline, "no answer");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn open(&self, client: &mut Client, node: &Node, link: &Issued) -> Answer {
        let began = self.history.now();
        let request = format!(
            "GET /hub/login?login_token={} HTTP/1.1\r\nHost: hub.test\r\nAccept: application/json\r\n\r\n",
            link.secret
        );
        let answer = Answer::of(client.send(node.addresses().public, &request));
        self.history.add(Event::Tried { token: link.number, began, ended: self.history.now(), answer });
        answer
    }
}

fn user(number: Token) -> String {
    format!("user{}", number % 1000)
}
