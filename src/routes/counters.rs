//! What configurable-http-proxy counts, under its names, for dashboards that read it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

/// The counters; each thread adds to them, and only if somebody reads them.
#[derive(Debug)]
pub struct Counters {
    gets: AtomicU64,
    adds: AtomicU64,
    deletes: AtomicU64,
    web: AtomicU64,
    ws: AtomicU64,
    proxied: ByStatus,
    api: ByStatus,
}

/// One number for each status from 100 to 599.
#[derive(Debug)]
struct ByStatus(Box<[AtomicU64]>);

/// A call of the API that is counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiCall {
    /// The whole table was read.
    Get,
    /// A route was written.
    Add,
    /// A route was taken out.
    Delete,
}

impl Default for Counters {
    fn default() -> Self {
        let zero = AtomicU64::default;
        let by_status = || ByStatus((0..500).map(|_| zero()).collect());
        Self {
            gets: zero(),
            adds: zero(),
            deletes: zero(),
            web: zero(),
            ws: zero(),
            proxied: by_status(),
            api: by_status(),
        }
    }
}

impl Counters {
    /// A request of a browser was answered.
    pub fn answered(&self, is_upgrade: bool, status: StatusCode) {
        if is_upgrade { &self.ws } else { &self.web }.fetch_add(1, Ordering::Relaxed);
        self.proxied.count(status);
    }

    /// A call of the API was answered.
    pub fn called(&self, call: Option<ApiCall>, status: StatusCode) {
        self.api.count(status);
        let counter = match call {
            Some(ApiCall::Get) => &self.gets,
            Some(ApiCall::Add) => &self.adds,
            Some(ApiCall::Delete) => &self.deletes,
            None => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All of them, in the text format of Prometheus.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, help, value) in [
            ("api_route_get", "Count of API route get requests", &self.gets),
            ("api_route_add", "Count of API route add requests", &self.adds),
            ("api_route_delete", "Count of API route delete requests", &self.deletes),
            ("requests_web", "Count of web requests", &self.web),
            ("requests_ws", "Count of websocket requests", &self.ws),
        ] {
            let value = value.load(Ordering::Relaxed);
            // Writing to a String does not fail.
            _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
        }
        self.proxied.write("requests_proxy", "Count of proxy requests", &mut text);
        self.api.write("requests_api", "Count of API requests", &mut text);
        text
    }
}

impl ByStatus {
    fn count(&self, status: StatusCode) {
        if let Some(counter) = self.0.get(usize::from(status.as_u16()).wrapping_sub(100)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, name: &str, help: &str, text: &mut String) {
        _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
        for (status, counter) in (100..).zip(&self.0) {
            let value = counter.load(Ordering::Relaxed);
            if value > 0 {
                _ = writeln!(text, "{name}{{status=\"{status}\"}} {value}");
            }
        }
    }
}
