//! A whole hublatch in this process, as `hublatch serve` runs it: from a TOML text to listeners on free ports.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use hublatch::app::{self, Dependencies, ReloadError, Running};
use hublatch::clock::{Clock, ManualClock, SystemClock};
use hublatch::config::{Config, Faults, load_str};
use hublatch::server::address::Address;
use hublatch::store::TokenStore;
use hublatch::token::AppKey;

use super::hub_pages::Proof;
use super::keys::private_pem;
use super::{Answer, Browser, FakeHub, Issued, Links, PATIENCE, Wire};

/// A running hublatch, until it is dropped.
#[derive(Debug)]
pub struct TestProxy {
    running: Option<Running>,
    public: Vec<SocketAddr>,
    management: SocketAddr,
    key: String,
    origin: String,
    audit: AuditLog,
}

/// What is configured of a [`TestProxy`].
#[derive(Clone)]
pub struct Builder {
    origin: String,
    hub_url: String,
    sections: BTreeMap<&'static str, String>,
    portal: String,
    more: String,
    clock: Arc<dyn Clock>,
    key: Arc<AppKey>,
    /// What the configuration says of the keys of `portal`; none: that it has `key`.
    keys: Option<Vec<String>>,
    store: Option<Arc<dyn TokenStore>>,
}

impl TestProxy {
    /// Before `hub`, which demands the assertion that this hublatch makes.
    pub fn before(hub: &FakeHub) -> Builder {
        let builder = Self::before_url(&hub.url());
        let pair = Ed25519KeyPair::generate().expect("a key pair");
        let pem = private_pem(&pair);
        let proof = Proof {
            header: "X-Hublatch-Assertion".to_owned(),
            public_key: pair.public_key().as_ref().to_vec(),
            audience: "jupyterhub".to_owned(),
        };
        hub.accounts(|accounts| accounts.proof = Some(proof));
        builder.set("assertion", &format!("key = {pem:?}"))
    }

    /// Before whatever answers, or does not, at `url`; without an assertion.
    pub fn before_url(url: &str) -> Builder {
        Builder {
            origin: "http://hub.test".to_owned(),
            hub_url: url.to_owned(),
            sections: BTreeMap::new(),
            portal: String::new(),
            more: String::new(),
            clock: Arc::new(SystemClock::new()),
            key: Arc::new(AppKey::generate(&SystemRandom::new()).expect("random bytes")),
            keys: None,
            store: None,
        }
        .set("public", "listen = \"127.0.0.1:0\"\nthreads = 1")
        .set("management", "listen = \"127.0.0.1:0\"")
        .set("limits", "drain_timeout = \"200ms\"")
        .set("log", "access = false")
    }

    /// Before `hub`, all else as it is by default.
    pub fn start(hub: &FakeHub) -> Self {
        Self::before(hub).start()
    }

    /// Where browsers connect.
    pub fn address(&self) -> SocketAddr {
        self.public[0]
    }

    /// All public listeners, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.public
    }

    /// Where the API answers.
    pub fn management(&self) -> SocketAddr {
        self.management
    }

    /// Where probes and scrapers are answered.
    pub fn status(&self) -> SocketAddr {
        let address = self.running().status().expect("[status]");
        address.to_string().parse().expect("an address and port")
    }

    /// `public.url`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The Host of `public.url`.
    pub fn host(&self) -> &str {
        self.origin.split("//").last().unwrap_or_default()
    }

    /// The key of the app `portal`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A new connection to the first public listener.
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address())
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser {
        Browser::new(self.address(), &self.origin)
    }

    /// The API, with the key of `portal`.
    pub fn links(&self) -> Links {
        Links::new(self.management, &self.key)
    }

    /// A link for `username`, all else by default.
    pub fn link(&self, username: &str) -> Issued {
        self.links().issue(&serde_json::json!({ "username": username }))
    }

    /// Calls the API of the routing table.
    pub fn routes(&self, method: &str, path: &str, body: &str) -> Answer {
        let length = format!("Content-Length: {}\r\n", body.len());
        let token = format!("Authorization: token {ROUTING_TOKEN}\r\n");
        let head =
            format!("{method} /api/routes{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}{length}\r\n{body}");
        let mut wire = Wire::connect(self.management);
        wire.send(head);
        wire.answer_to(method).expect("an answer")
    }

    /// Writes the route `path` to `target` with `data`, members of a JSON object.
    #[track_caller]
    pub fn add_route(&self, path: &str, target: &str, data: &str) {
        let comma = if data.is_empty() { "" } else { "," };
        let body = format!("{{\"target\":{target:?}{comma}{data}}}");
        assert_eq!(self.routes("POST", path, &body).status, 201, "{path} -> {target}");
    }

    /// When the route `path` was last used.
    #[track_caller]
    pub fn last_activity(&self, path: &str) -> String {
        let answer = self.routes("GET", "", "");
        let table: serde_json::Value = serde_json::from_slice(&answer.body).expect("a table");
        table[path]["last_activity"].as_str().expect("a time").to_owned()
    }

    /// Where notebooks get the Hub API.
    pub fn hub_api(&self) -> SocketAddr {
        match self.running().hub_api() {
            Some(Address::Tcp(address)) => *address,
            other => panic!("no such listener: {other:?}"),
        }
    }

    /// The lines of the audit log so far.
    pub fn audit(&self) -> Vec<serde_json::Value> {
        if let Some(running) = &self.running {
            running.reloader().flush_audit();
        }
        let bytes = self.audit.0.lock().unwrap().clone();
        let line = |line: &[u8]| serde_json::from_slice(line).expect("a JSON line");
        bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(line).collect()
    }

    /// The value of the metric `name` (`hublatch_tunnels`, `hublatch_links_refused_total{reason="used"}`); without labels
    /// the sum over all of them.
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.running().metrics().text();
        let value = |line: &str| -> Option<f64> {
            let rest = line.strip_prefix(name)?;
            let value =
                rest.strip_prefix(' ').or_else(|| Some(rest.strip_prefix('{')?.split_once("} ")?.1))?;
            Some(value.parse().expect("a number"))
        };
        let values: Vec<f64> = text.lines().filter_map(value).collect();
        assert!(!values.is_empty(), "no {name} in {text}");
        values.iter().sum::<f64>().round() as i64
    }

    /// Replaces its configuration by what `builder`, a descendant of its own one, says.
    pub fn reload(&self, builder: &Builder) -> Result<(), ReloadError> {
        self.running().reloader().reload(Ok(builder.config()))
    }

    /// The same with whatever came of reading a configuration.
    pub fn reload_with(&self, read: Result<Config, Faults>) -> Result<(), ReloadError> {
        self.running().reloader().reload(read)
    }

    /// Begins the drain, and comes back at once.
    pub fn drain(&self) {
        self.running().shutdown().drain();
    }

    /// Waits for the end of a drain that has begun; panics if it takes longer than `limit`.
    pub fn join_within(mut self, limit: Duration) {
        let running = self.running.take().expect("runs until it is dropped");
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            running.join();
            let _waiting = ended.send(());
        });
        end.recv_timeout(limit).expect("the drain ends in time");
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("runs until it is dropped")
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

impl Builder {
    /// Adds lines to a section: `.set("limits", "head_timeout = \"200ms\"")`.
    #[must_use]
    pub fn set(mut self, section: &'static str, lines: &str) -> Self {
        let text = self.sections.entry(section).or_default();
        let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
        // What is set again replaces what was set before.
        let again: Vec<String> = lines.lines().map(key).collect();
        let kept: String =
            text.lines().filter(|line| !again.contains(&key(line))).map(|line| format!("{line}\n")).collect();
        *text = format!("{kept}{lines}\n");
        self
    }

    /// A section of these lines and no other.
    #[must_use]
    pub fn section_is(mut self, section: &'static str, lines: &str) -> Self {
        self.sections.insert(section, format!("{lines}\n"));
        self
    }

    /// Adds lines to the app `portal`.
    #[must_use]
    pub fn portal(mut self, lines: &str) -> Self {
        self.portal.push_str(&format!("{lines}\n"));
        self
    }

    /// Another key for the app `portal` beside its own one, or instead of it.
    #[must_use]
    pub fn keys(mut self, keys: &[&AppKey]) -> Self {
        self.keys = Some(keys.iter().map(|key| key.digest().to_string()).collect());
        self
    }

    /// Adds text at the end, such as another `[[apps]]`.
    #[must_use]
    pub fn toml(mut self, text: &str) -> Self {
        self.more.push_str(&format!("{text}\n"));
        self
    }

    /// What browsers type; `http://hub.test` otherwise.
    #[must_use]
    pub fn public_url(mut self, url: &str) -> Self {
        self.origin = url.to_owned();
        self
    }

    /// The base URL of the hub; the hub must know it too.
    #[must_use]
    pub fn base_url(self, base: &str) -> Self {
        self.set("hub", &format!("base_url = {base:?}"))
    }

    /// In the place of the hub's own proxy: whoever has [`ROUTING_TOKEN`] says where requests go. `hub.url` is left out.
    #[must_use]
    pub fn routed(mut self) -> Self {
        self.hub_url = String::new();
        self.set("routes", &format!("auth_token = {ROUTING_TOKEN:?}"))
    }

    /// The hub's own address, to which its route is pinned.
    #[must_use]
    pub fn pinned(mut self, url: &str) -> Self {
        self.hub_url = url.to_owned();
        self
    }

    /// By the identity header alone. The hub must not ask for a proof then.
    #[must_use]
    pub fn without_assertion(mut self, hub: &FakeHub) -> Self {
        self.sections.remove("assertion");
        hub.accounts(|accounts| accounts.proof = None);
        self
    }

    /// The time by a clock of the test's.
    #[must_use]
    pub fn clock(mut self, clock: &Arc<ManualClock>) -> Self {
        self.clock = Arc::clone(clock) as Arc<dyn Clock>;
        self
    }

    /// The lines of a section so far.
    pub fn section(&self, name: &str) -> String {
        self.sections.get(name).cloned().unwrap_or_default()
    }

    /// A token store of the test's.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn TokenStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// The key of the app `portal`.
    pub fn key(&self) -> &str {
        self.key.expose()
    }

    /// The configuration.
    pub fn config(&self) -> Config {
        let text = self.text();
        load_str(&text, Path::new("hublatch.toml"), []).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
    }

    /// The configuration as written.
    pub fn text(&self) -> String {
        let keys = self.keys.clone().unwrap_or_else(|| vec![self.key.digest().to_string()]);
        let text = self
            .sections
            .iter()
            .map(|(section, lines)| match *section {
                "public" => format!("[public]\nurl = {:?}\n{lines}", self.origin),
                "hub" => String::new(),
                section => format!("[{section}]\n{lines}"),
            })
            .collect::<String>();
        let hub = self.sections.get("hub").map_or("", String::as_str);
        let url = if self.hub_url.is_empty() { String::new() } else { format!("url = {:?}\n", self.hub_url) };
        // The portal may say everything about its users, unless a test says what it may.
        let may = [("groups", "groups = [\".*\"]\n"), ("claims", "claims = true\n")];
        let may: String = may
            .iter()
            .filter(|(key, _)| !self.portal.lines().any(|line| line.starts_with(key)))
            .map(|(_, line)| *line)
            .collect();
        format!(
            "{text}[hub]\n{url}{hub}[[apps]]\nname = \"portal\"\nkeys = {keys:?}\n{may}{}{}",
            self.portal, self.more
        )
    }

    /// Starts it.
    pub fn start(self) -> TestProxy {
        self.another()
    }

    /// Starts it, as often as it is asked: replicas with one configuration, each on ports of its own.
    pub fn another(&self) -> TestProxy {
        let audit = AuditLog::default();
        let surroundings = Dependencies {
            clock: Arc::clone(&self.clock),
            random: Arc::new(SystemRandom::new()),
            audit: Some(Box::new(audit.clone())),
            store: self.store.clone(),
            ..Dependencies::default()
        };
        let running = app::start(&self.config(), surroundings).expect("hublatch starts");
        let tcp = |address: &Address| match address {
            Address::Tcp(address) => *address,
            Address::Unix(path) => panic!("a unix socket: {}", path.display()),
        };
        TestProxy {
            public: running.public().iter().map(tcp).collect(),
            management: tcp(running.management()),
            running: Some(running),
            key: self.key.expose().to_owned(),
            origin: self.origin.clone(),
            audit,
        }
    }
}

/// What writes routes.
pub const ROUTING_TOKEN: &str = "the-token-of-the-routes";

/// Keeps what is written.
#[derive(Debug, Clone, Default)]
struct AuditLog(Arc<Mutex<Vec<u8>>>);

impl io::Write for AuditLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A clock that stands still on the first day of 2026.
pub fn standing_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-01-01T00:00:00Z".parse().expect("a time")))
}

/// Waits, without sleeping in between, until `wanted` is true: for what only a counter tells.
pub fn wait_until(what: &str, wanted: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
