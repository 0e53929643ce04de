//! Every place where a secret could end, opened wide.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::json;

use crate::support::proxy::standing_clock;
use crate::support::{Answer, FakeHub, Issued, TestProxy};

/// Everything that this process logs from the first call on, at any level.
pub fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_writer(move || writer.clone())
            .json();
        tracing::subscriber::set_global_default(lines.finish()).expect("no other test takes the log");
        log
    })
}

#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A hublatch with every sink open, and what came out of it.
pub struct Sinks {
    pub hub: FakeHub,
    pub proxy: TestProxy,
    /// What must be nowhere, and what it is.
    pub secrets: Vec<(String, String)>,
    /// What the outside got, as bytes, and when.
    pub told: Vec<(&'static str, Vec<u8>)>,
    /// Where the log stood before the first secret.
    logged: usize,
}

impl Sinks {
    pub fn open(proxy: impl FnOnce(&FakeHub) -> TestProxy) -> Self {
        let logged = log().0.lock().unwrap().len();
        let hub = FakeHub::start();
        let proxy = proxy(&hub);
        let secrets = vec![("the app's key".to_owned(), proxy.key().to_owned())];
        Self { hub, proxy, secrets, told: Vec::new(), logged }
    }

    /// A link whose token is watched from now on.
    pub fn link(&mut self, what: &str) -> Issued {
        self.link_of(what, &json!({ "username": "alice" }))
    }

    pub fn link_of(&mut self, what: &str, order: &serde_json::Value) -> Issued {
        let link = self.proxy.links().issue(order);
        self.secrets.push((what.to_owned(), link.token.clone()));
        link
    }

    pub fn took(&mut self, what: &'static str, status: u16, answer: &Answer) {
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        self.told.push((what, [answer.head.as_slice(), &answer.body].concat()));
    }

    /// The same for an answer that must hold `secret` once: in a field of a form, or in a cookie.
    pub fn took_but(&mut self, what: &'static str, status: u16, answer: &Answer, secret: &str) {
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        let text = String::from_utf8_lossy(&[answer.head.as_slice(), &answer.body].concat()).into_owned();
        assert_eq!(text.matches(secret).count(), 1, "{what}: {text}");
        self.told.push((what, text.replace(secret, "").into_bytes()));
    }

    /// A navigation of a browser without cookies.
    pub fn visit(&mut self, what: &'static str, status: u16, target: &str) {
        let answer = self.proxy.browser().get(target);
        self.took(what, status, &answer);
    }

    /// The same by a browser about which the hub is asked, also in a burst: it has a cookie of the hub.
    pub fn visit_again(&mut self, what: &'static str, status: u16, target: &str) {
        let mut browser = self.proxy.browser();
        browser.set_cookie("jupyterhub-session-id", "0f", "/");
        let answer = browser.get(target);
        self.took(what, status, &answer);
    }

    pub fn send(&mut self, what: &'static str, status: u16, request: &str) {
        let answer = self.proxy.connect().ask(request);
        self.took(what, status, &answer);
    }

    pub fn assert_tight(self) {
        let Self { hub, proxy, secrets, told, logged } = self;
        let metrics = proxy.links().call("GET", "/metrics", &[], "").text();
        let audit: String = proxy.audit().iter().map(|line| format!("{line}\n")).collect();
        let upstream = hub.received().concat();
        drop(proxy);
        let mut sinks: Vec<(&str, Vec<u8>)> = vec![
            ("the log", log().0.lock().unwrap()[logged..].to_vec()),
            ("the metrics", metrics.into_bytes()),
            ("the audit log", audit.into_bytes()),
            ("what the hub got", upstream),
        ];
        sinks.extend(told);
        // Half of a secret is too much as well.
        let halves: HashMap<&[u8], &str> =
            secrets.iter().map(|(what, secret)| (&secret.as_bytes()[3..3 + HALF], what.as_str())).collect();
        for (sink, bytes) in &sinks {
            for part in bytes.split(|byte| !is_base64url(*byte)).filter(|part| part.len() >= HALF) {
                let found = part.windows(HALF).find_map(|window| halves.get(window));
                assert!(found.is_none(), "{found:?} is in {sink}: {}", String::from_utf8_lossy(part));
            }
        }
    }
}

/// How much of a secret is looked for.
const HALF: usize = 22;

/// What secrets are made of.
fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// A hublatch that logs all it can.
pub fn talkative(hub: &FakeHub) -> TestProxy {
    TestProxy::before(hub).set("log", "access = true\nlevel = \"trace\"").clock(&standing_clock()).start()
}
