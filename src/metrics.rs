//! What is counted, under the names `hublatch_*` (OpenMetrics text format); handles are resolved once.
//!
//! No label ever holds a user name, a path or anything else that a client chooses.

mod api_requests;
mod durations;
mod hub;
mod login_queue;
mod plain_text;
mod process;
mod store;

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use api_requests::ApiRequests;
pub use durations::Durations;
pub use hub::{HubApiMetrics, HubCallLabels};
pub use login_queue::LoginQueue;
pub use store::{StoreCall, StoreCalls};

/// A counter with the labels `code` (`1xx` to `5xx`) and `protocol` (`http/1.1`, HTTP/1.0 among it, and `h2`): one
/// pre-resolved handle each.
#[derive(Debug)]
pub struct ResponseCounters([[Counter; 5]; 2]);

impl ResponseCounters {
    /// Counts one response to a request of `version`.
    pub fn count(&self, version: hyper::Version, status: hyper::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.0[usize::from(version == hyper::Version::HTTP_2)][class].inc();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    code: &'static str,
    protocol: &'static str,
}

/// The reason of a refusal: a word of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// The word.
    pub reason: Reason,
}

/// The kind of a route: a word of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: Reason,
}

/// Where an error comes from: a word of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    /// The word.
    pub source: Reason,
}

/// What came of something: a word of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// The word.
    pub result: Reason,
}

/// One of our listeners: a word of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerLabel {
    /// `public` or `management`.
    pub listener: &'static str,
}

/// A TLS handshake: words of closed lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HandshakeLabels {
    /// `ok`, `failed` or `timeout`.
    pub result: Reason,
    /// Of TLS; empty if there came none of it.
    pub version: Reason,
    /// Of HTTP; empty if there came none of it.
    pub protocol: Reason,
}

impl HandshakeLabels {
    /// Every one that there can be.
    fn all() -> Vec<Self> {
        let labels = |result, version, protocol| Self {
            result: Reason(result),
            version: Reason(version),
            protocol: Reason(protocol),
        };
        let mut all = vec![labels("failed", "", ""), labels("timeout", "", "")];
        for version in ["1.2", "1.3"] {
            all.extend(["http/1.1", "h2"].map(|protocol| labels("ok", version, protocol)));
        }
        all
    }
}

/// A word of a closed list, as a label value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(pub &'static str);

impl prometheus_client::encoding::EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        prometheus_client::encoding::EncodeLabelValue::encode(&self.0, encoder)
    }
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Responses to browsers, by protocol and class of status code.
    pub requests: ResponseCounters,
    /// Calls of the management API, by app and status.
    pub api_requests: ApiRequests,
    /// Requests that a routing table sends somewhere, by kind: hub, user, service, extra.
    pub routed: [Counter; 4],
    /// From the head of a request to the head of its response, in seconds.
    pub request_seconds: Durations,
    /// Requests that no response of the hub could be had for, by reason.
    pub upstream_errors: Family<ReasonLabel, Counter>,
    /// Requests that ended in an error of ours, by where it came from.
    pub request_errors: Family<SourceLabel, Counter>,
    /// Connections made to the hub.
    pub upstream_connections: Counter,
    /// Requests that found one there.
    pub upstream_reused: Counter,
    /// Requests that found no place for a connection to the hub.
    pub upstream_busy: Counter,
    /// Requests refused because their client had its share, by the limit.
    pub clients_limited: Family<ReasonLabel, Counter>,
    /// Downstream connections that are open.
    pub connections: Gauge,
    /// Downstream connections that were accepted.
    pub connections_accepted: Counter,
    /// Those that were closed at once, by reason.
    pub connections_refused: Family<ReasonLabel, Counter>,
    /// Times that accepting had to rest.
    pub accept_pauses: Counter,
    /// Audit records that could not be written.
    pub audit_records_lost: Counter,
    /// Log lines that nobody took in time.
    pub log_lines_dropped: Counter,
    /// TLS handshakes, by what came of them.
    pub handshakes: Family<HandshakeLabels, Counter>,
    /// Tunnels (WebSockets) that are open.
    pub tunnels: Gauge,
    /// Routes in the table, by kind in the order of `RouteKind`; read when somebody asks.
    pub routes: [Gauge; 4],
    /// Links issued.
    pub links_issued: Counter,
    /// Links redeemed.
    pub links_redeemed: Counter,
    /// Links refused, by reason.
    pub links_refused: Family<ReasonLabel, Counter>,
    /// Sessions of another user that were ended before a login.
    pub switches: Counter,
    /// Sessions that were ended by us, by reason.
    pub sessions_ended: Family<ReasonLabel, Counter>,
    /// Links that can still be redeemed; set when the metrics are read.
    pub links_live: Gauge<i64, AtomicI64>,
    /// 1 if the hub answered when it was last asked, else 0.
    pub hub_up: Gauge,
    /// 1 if the token store answered when it was last asked, else 0.
    pub store_up: Gauge,
    /// 1 if the last attempt to replace the configuration succeeded, or there was none, else 0.
    pub last_reload_success: Gauge,
    /// Attempts to replace the configuration, by what came of them.
    pub reloads: Family<ResultLabel, Counter>,
    /// When the certificate of each listener with TLS ends, in seconds since 1970.
    pub certificate_not_after: Family<ListenerLabel, Gauge>,
    /// The token store.
    pub store: StoreCalls,
    /// The Hub API.
    pub hub: HubApiMetrics,
    /// Who waits for a login.
    pub login_queue: LoginQueue,
}

impl Metrics {
    /// All metrics, at zero.
    #[allow(clippy::too_many_lines, reason = "a line or two for each metric, and nothing else")]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("hublatch");
        registry.register(
            "build",
            "What is running",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        let requests = answers(&mut registry);
        let api_requests = ApiRequests::new(&mut registry);
        let routed = routed(&mut registry);
        let table = table(&mut registry);
        let store = StoreCalls::new(&mut registry);
        let hub = HubApiMetrics::new(&mut registry);
        let login_queue = LoginQueue::new(&mut registry);
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let upstream_connections = counter("upstream_connections", "Connections made to the hub");
        let log_lines_dropped = counter("log_lines_dropped", "Log lines that nobody took in time");
        let audit_records_lost = counter("audit_records_lost", "Audit records that could not be written");
        let upstream_reused =
            counter("upstream_reused", "Requests that went over a connection to the hub that was there");
        let upstream_busy =
            counter("upstream_busy", "Requests that found no place for a connection to the hub");
        let connections_accepted = counter("connections_accepted", "Connections of browsers");
        let help = "Times that accepting rested: few descriptors were left, or the system gave no connection";
        let accept_pauses = counter("accept_pauses", help);
        let links_issued = counter("links_issued", "Links issued");
        let links_redeemed = counter("links_redeemed", "Links redeemed");
        let switches = counter("switches", "Sessions of another user ended before a login");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let connections = gauge("connections", "Open downstream connections");
        let tunnels = gauge("tunnels", "Open tunnels");
        let links_live = gauge("links_live", "Links that can still be redeemed");
        let hub_up = gauge("hub_up", "Whether the hub answers (1) or not (0)");
        let store_up = gauge("store_up", "Whether the token store answers (1) or not (0)");
        let help = "Whether the last attempt to replace the configuration succeeded (1) or not (0)";
        let last_reload_success = gauge("config_last_reload_success", help);
        last_reload_success.set(1);
        let request_seconds = Durations::default();
        registry.register_with_unit(
            "request",
            "Time from the head of a request to the head of its answer",
            Unit::Seconds,
            request_seconds.clone(),
        );
        let connections_refused = by_reason(
            &mut registry,
            "connections_refused",
            "Connections closed at once: too many in all (limit), or of one peer (peer_limit)",
            &["limit", "peer_limit"],
        );
        let upstream_errors = by_reason(
            &mut registry,
            "upstream_errors",
            "Requests without an answer of the hub, by reason",
            &[
                "connect",
                "exchange",
                "interim",
                "unsent",
                "task_lost",
                "busy",
                "timeout",
                "no_hub",
                "upgrade",
            ],
        );
        let request_errors = Family::default();
        let help = "Requests that hublatch answered with an error, by where it came from";
        registry.register("request_errors", help, request_errors.clone());
        for source in ["downstream", "upstream", "internal"] {
            _ = request_errors.get_or_create(&SourceLabel { source: Reason(source) });
        }
        let clients_limited = by_reason(
            &mut registry,
            "clients_limited",
            "Requests refused because one client had all that one may have, by the limit",
            &["upstream_connections_per_client", "tunnels_per_client", "held_bytes"],
        );
        let handshakes = Family::default();
        registry.register("handshakes", "TLS handshakes of browsers", handshakes.clone());
        let sessions_ended = by_reason(
            &mut registry,
            "sessions_ended",
            "Sessions ended by hublatch, by reason",
            &["api", "backchannel", "over"],
        );
        for labels in HandshakeLabels::all() {
            _ = handshakes.get_or_create(&labels);
        }
        let links_refused = Family::default();
        registry.register("links_refused", "Links refused, by reason", links_refused.clone());
        let certificate_not_after = Family::default();
        let help = "When the certificate of a listener ends, since 1970";
        registry.register("certificate_not_after_seconds", help, certificate_not_after.clone());
        let reloads = Family::default();
        registry.register("reloads", "Attempts to replace the configuration, by result", reloads.clone());
        for result in ["reloaded", "refused"] {
            _ = reloads.get_or_create(&ResultLabel { result: Reason(result) });
        }
        Self {
            registry,
            requests,
            api_requests,
            routed,
            request_seconds,
            upstream_errors,
            request_errors,
            upstream_connections,
            upstream_reused,
            upstream_busy,
            clients_limited,
            connections,
            connections_accepted,
            connections_refused,
            accept_pauses,
            audit_records_lost,
            log_lines_dropped,
            handshakes,
            tunnels,
            routes: table,
            links_issued,
            links_redeemed,
            links_refused,
            switches,
            sessions_ended,
            links_live,
            hub_up,
            store_up,
            last_reload_success,
            reloads,
            certificate_not_after,
            store,
            hub,
            login_queue,
        }
    }

    /// The same in Prometheus text 0.0.4, which older scrapers read.
    pub fn plain_text(&self) -> String {
        plain_text::from_open_metrics(&self.text())
    }

    /// The text that `/metrics` answers, as `OpenMetrics`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String fails only if a value's own encoder does; ours do not.
        let _written = encode_registry(&mut text, &self.registry);
        text.push_str(&process::text());
        let _ended = encode_eof(&mut text);
        text
    }
}

fn answers(registry: &mut Registry) -> ResponseCounters {
    let answers = Family::<AnswerLabels, Counter>::default();
    registry.register("requests", "Answers to browsers", answers.clone());
    ResponseCounters(["http/1.1", "h2"].map(|protocol| {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        classes.map(|code| answers.get_or_create(&AnswerLabels { code, protocol }).clone())
    }))
}

fn by_reason(
    registry: &mut Registry,
    name: &str,
    help: &str,
    reasons: &[&'static str],
) -> Family<ReasonLabel, Counter> {
    let family = Family::default();
    registry.register(name, help, family.clone());
    for reason in reasons {
        _ = family.get_or_create(&ReasonLabel { reason: Reason(reason) });
    }
    family
}

/// Of routes.
const KINDS: [&str; 4] = ["hub", "user", "service", "extra"];

fn routed(registry: &mut Registry) -> [Counter; 4] {
    let by_kind = Family::<KindLabel, Counter>::default();
    registry.register("routed_requests", "Requests by the kind of their route", by_kind.clone());
    KINDS.map(|kind| by_kind.get_or_create(&KindLabel { kind: Reason(kind) }).clone())
}

fn table(registry: &mut Registry) -> [Gauge; 4] {
    let by_kind = Family::<KindLabel, Gauge>::default();
    registry.register("routes", "Routes in the routing table, by kind", by_kind.clone());
    KINDS.map(|kind| by_kind.get_or_create(&KindLabel { kind: Reason(kind) }).clone())
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Adds one to a gauge for as long as it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Counts from now on.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
