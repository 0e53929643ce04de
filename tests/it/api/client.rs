//! An API over a memory store and a clock that the test moves, and requests to it.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use hublatch::api::Api;
use hublatch::audit::Audit;
use hublatch::audit::Client;
use hublatch::clock::{Clock, ManualClock};
use hublatch::config::{self, Config};
use hublatch::hub::{HubClient, HubProbe};
use hublatch::login::{LoginDependencies, LoginServices, RedeemRequest};
use hublatch::metrics::Metrics;
use hublatch::reloads::Reloads;
use hublatch::shutdown::Shutdown;
use hublatch::status::{HubState, Status};
use hublatch::store::{MemoryStore, TokenStore};
use hublatch::token::{KeyDigest, OpaqueToken};
use serde_json::Value;

use super::call::{get, post};

/// The key of an app that may do everything.
pub const PORTAL: &str = "hk_portal";
/// The key of another one.
pub const OTHER: &str = "hk_other";
/// The key of an app with narrow rules: see [`config`].
pub const NARROW: &str = "hk_narrow";
/// The key of an app that may only read.
pub const READER: &str = "hk_reader";
/// The key of an app that may only issue.
pub const ISSUER: &str = "hk_issuer";

/// What the tests run with.
pub fn config() -> Config {
    config_before("http://127.0.0.1:8400", "")
}

/// The same before a hub at `url`, with more lines about it.
pub fn config_before(url: &str, more: &str) -> Config {
    let digest = |key: &str| KeyDigest::of(key.as_bytes()).to_string();
    let text = format!(
        r#"
        [public]
        url = "http://127.0.0.1:8000"
        [hub]
        url = "{url}"
        {more}
        [[apps]]
        name = "portal"
        keys = ["{}"]
        rate = "100000/s"
        groups = [".*"]
        claims = true
        [[apps]]
        name = "other"
        keys = ["{}"]
        [[apps]]
        name = "narrow"
        keys = ["{}"]
        usernames = "stud-.*"
        deny_usernames = ["stud-admin"]
        next = ["/user", "/hub/home"]
        max_lifetime = "60s"
        rate = "3/s"
        [[apps]]
        name = "reader"
        keys = ["{}"]
        scopes = ["read"]
        [[apps]]
        name = "issuer"
        keys = ["{}"]
        scopes = ["issue"]
        "#,
        digest(PORTAL),
        digest(OTHER),
        digest(NARROW),
        digest(READER),
        digest(ISSUER),
    );
    config::load_str(&text, Path::new("hublatch.toml"), []).unwrap()
}

/// An API and what it stands on.
pub struct TestApi {
    pub api: Api,
    pub login: Arc<LoginServices>,
    pub clock: Arc<ManualClock>,
    pub shutdown: Shutdown,
    /// How often the hub was asked for a sign of life.
    pub probes: Arc<AtomicUsize>,
    pub metrics: Arc<Metrics>,
    log: Arc<Audit>,
    audit: Arc<Mutex<Vec<u8>>>,
}

/// How the API under test differs from the usual one.
pub struct Variant {
    pub config: Config,
    pub store: Arc<dyn TokenStore>,
    pub hub: HubProbe,
    pub patience: Duration,
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            config: config(),
            store: Arc::new(MemoryStore::new(2000)),
            hub: Arc::new(|| Box::pin(async { Ok(()) })),
            patience: Duration::from_secs(5),
        }
    }
}

impl TestApi {
    pub fn new() -> Self {
        Self::with(Variant::default())
    }

    pub fn with(variant: Variant) -> Self {
        let Variant { config, store, hub, patience } = variant;
        let clock = Arc::new(ManualClock::at("2026-01-31T12:00:00.25Z".parse().unwrap()));
        let audit = Arc::new(Mutex::new(Vec::new()));
        let metrics = Arc::new(Metrics::new());
        let sink = Box::new(Sink(Arc::clone(&audit)));
        let log = Arc::new(Audit::new(sink, false, metrics.audit_records_lost.clone()));
        let shutdown = Shutdown::new();
        let probes = Arc::new(AtomicUsize::new(0));
        let reloads = Arc::new(Reloads::new(clock.now().wall));
        let hub_client = Arc::new(HubClient::new(&config, Arc::clone(&metrics)).unwrap());
        let dependencies = LoginDependencies::new(
            Arc::clone(&store),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::new(SystemRandom::new()),
            Arc::clone(&log),
            Arc::clone(&metrics),
        );
        let login = Arc::new(LoginServices::new(&config, hub_client, dependencies).unwrap());
        let counted = Arc::clone(&probes);
        let status = Arc::new(Status {
            store,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            metrics: Arc::clone(&metrics),
            audit: Arc::clone(&log),
            shutdown: shutdown.clone(),
            probe: Arc::new(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                hub()
            }),
            patience,
            routes: None,
            hub: HubState::default(),
        });
        let api = Api::new(&config, Arc::clone(&login), status.pages(), reloads, shutdown.clone());
        Self { api, login, clock, shutdown, probes, metrics, log, audit }
    }

    /// Issues a link for `order` with the portal's key.
    pub async fn issue(&self, order: Value) -> Value {
        let reply = post("/api/v1/links").key(PORTAL).json(&order).send(self).await;
        assert_eq!(reply.status, 201, "{}", reply.json);
        reply.json
    }

    /// Redeems the link's token as the proxy does.
    pub async fn redeem(&self, link: &Value) {
        let token = OpaqueToken::parse(link["login_token"].as_str().unwrap()).unwrap();
        let offer = self.login.redeemer.validate_opaque(&token, RedeemRequest::default()).await.unwrap();
        let _user = self.login.redeemer.consume(offer, Client::default()).await.unwrap();
    }

    /// The link's status, as the portal sees it.
    pub async fn status(&self, link: &Value) -> String {
        let reply =
            get(&format!("/api/v1/links/{}", link["id"].as_str().unwrap())).key(PORTAL).send(self).await;
        reply.json["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the audit knows of nothing but refused calls.
    pub fn has_done_nothing(&self) -> bool {
        self.audit()
            .lines()
            .all(|line| line.contains(r#""event":"refused""#) && !line.contains(r#""reason""#))
    }

    /// What the audit log holds.
    pub fn audit(&self) -> String {
        self.log.flush();
        String::from_utf8(self.audit.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
    }
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
