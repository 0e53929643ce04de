//! What is counted, under the names `hublatch_*` (OpenMetrics text format); handles are resolved once.
//!
//! No label ever holds a user name, a path or anything else that a client chooses.

mod durations;
mod process;

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

pub use durations::Durations;

/// A counter with a `code` label: `1xx` to `5xx`, one pre-resolved handle each.
#[derive(Debug)]
pub struct ByStatusClass([Counter; 5]);

impl ByStatusClass {
    /// Counts one answer.
    pub fn count(&self, status: hyper::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.0[class].inc();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

/// The reason of a refusal: a word of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// The word.
    pub reason: Reason,
}

/// What came of something: a word of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// The word.
    pub result: Reason,
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

/// A word of a closed list, as a label value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(pub &'static str);

impl prometheus_client::encoding::EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        prometheus_client::encoding::EncodeLabelValue::encode(&self.0, encoder)
    }
}

/// A call of the Hub API and what came of it: words of closed lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HubCallLabels {
    /// Which call.
    pub call: Reason,
    /// What came of it.
    pub result: Reason,
}

/// A call of the token store by its name, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

/// How one kind of call of the token store goes.
#[derive(Debug)]
pub struct StoreMetrics {
    /// How long it takes, in seconds.
    pub seconds: Histogram,
    /// How often it fails.
    pub errors: Counter,
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Answers to browsers, by class of status code.
    pub requests: ByStatusClass,
    /// From the head of a request to the head of its answer, in seconds.
    pub request_seconds: Durations,
    /// Requests that no answer of the hub could be had for.
    pub upstream_errors: Counter,
    /// Connections made to the hub.
    pub upstream_connections: Counter,
    /// Requests that found no place for a connection to the hub.
    pub upstream_busy: Counter,
    /// Downstream connections that are open.
    pub connections: Gauge,
    /// Downstream connections that were accepted.
    pub connections_accepted: Counter,
    /// Those that were closed at once, by reason.
    pub connections_refused: Family<ReasonLabel, Counter>,
    /// TLS handshakes, by what came of them.
    pub handshakes: Family<HandshakeLabels, Counter>,
    /// Log lines that nobody took in time.
    pub log_lines_dropped: Counter,
    /// Tunnels (WebSockets) that are open.
    pub tunnels: Gauge,
    /// Links issued.
    pub links_issued: Counter,
    /// Links redeemed.
    pub links_redeemed: Counter,
    /// Links refused, by reason.
    pub links_refused: Family<ReasonLabel, Counter>,
    /// Sessions of another user that were ended before a login.
    pub switches: Counter,
    /// Links that can still be redeemed; set when the metrics are read.
    pub links_live: Gauge<i64, AtomicI64>,
    /// Attempts to replace the configuration, by what came of them.
    pub reloads: Family<ResultLabel, Counter>,
    /// Issuing.
    pub store_insert: StoreMetrics,
    /// Looking a token up.
    pub store_find: StoreMetrics,
    /// Consuming.
    pub store_consume: StoreMetrics,
    /// Reading a link by its id.
    pub store_get: StoreMetrics,
    /// Revoking one link.
    pub store_revoke: StoreMetrics,
    /// Revoking all links of a user.
    pub store_revoke_user: StoreMetrics,
    /// Asking whether the store would answer.
    pub store_ping: StoreMetrics,
    /// Calls of the Hub API, by call and result.
    pub hub_calls: Family<HubCallLabels, Counter>,
    /// Checks of hub tokens. What calls of `whoami` are fewer were answered from memory.
    pub hub_token_checks: Counter,
    /// Hub tokens that apps were given for their own.
    pub hub_tokens_issued: Counter,
    /// Hub tokens that apps have made worthless.
    pub hub_tokens_revoked: Counter,
    /// How long calls take, in seconds.
    pub hub_call_seconds: Histogram,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("hublatch");
        registry.register(
            "build",
            "What is running",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        let all = &mut registry;
        let by_code: Family<CodeLabel, Counter> = counted(all, "requests", "Answers to browsers");
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let requests = ByStatusClass(classes.map(|code| by_code.get_or_create(&CodeLabel { code }).clone()));
        let request_seconds = Durations::default();
        timed(all, "request", "Time from the head of a request to the head of its answer", &request_seconds);
        let seconds = Family::<OperationLabel, Histogram, fn() -> Histogram>::new_with_constructor(|| {
            Histogram::new([0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0])
        });
        timed(all, "store_call", "Time that the token store takes", &seconds);
        let errors: Family<OperationLabel, Counter> =
            counted(all, "store_errors", "Calls of the token store that failed");
        let of_store = |operation| {
            let label = OperationLabel { operation };
            StoreMetrics {
                seconds: seconds.get_or_create(&label).clone(),
                errors: errors.get_or_create(&label).clone(),
            }
        };
        let hub_call_seconds = Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]);
        timed(all, "hub_api_call", "Time that a call of the Hub API takes", &hub_call_seconds);
        let refused = "Connections closed at once: too many in all (limit), or of one peer (peer_limit)";
        let connections_refused: Family<_, _> = counted(all, "connections_refused", refused);
        for reason in ["limit", "peer_limit"] {
            _ = connections_refused.get_or_create(&ReasonLabel { reason: Reason(reason) });
        }
        let reloads: Family<_, _> =
            counted(all, "reloads", "Attempts to replace the configuration, by result");
        for result in ["reloaded", "refused"] {
            _ = reloads.get_or_create(&ResultLabel { result: Reason(result) });
        }
        Self {
            requests,
            request_seconds,
            upstream_errors: counted(all, "upstream_errors", "Requests without an answer of the hub"),
            upstream_connections: counted(all, "upstream_connections", "Connections made to the hub"),
            upstream_busy: counted(
                all,
                "upstream_busy",
                "Requests that found no place for a connection to the hub",
            ),
            connections: counted(all, "connections", "Open downstream connections"),
            connections_accepted: counted(all, "connections_accepted", "Connections of browsers"),
            connections_refused,
            handshakes: counted(all, "handshakes", "TLS handshakes of browsers"),
            log_lines_dropped: counted(all, "log_lines_dropped", "Log lines that nobody took in time"),
            tunnels: counted(all, "tunnels", "Open tunnels"),
            links_issued: counted(all, "links_issued", "Links issued"),
            links_redeemed: counted(all, "links_redeemed", "Links redeemed"),
            links_refused: counted(all, "links_refused", "Links refused, by reason"),
            switches: counted(all, "switches", "Sessions of another user ended before a login"),
            links_live: counted(all, "links_live", "Links that can still be redeemed"),
            reloads,
            store_insert: of_store("insert"),
            store_find: of_store("find"),
            store_consume: of_store("consume"),
            store_get: of_store("get"),
            store_revoke: of_store("revoke"),
            store_revoke_user: of_store("revoke_user"),
            store_ping: of_store("ping"),
            hub_calls: counted(all, "hub_api_calls", "Calls of the Hub API, by call and result"),
            hub_token_checks: counted(
                all,
                "hub_token_checks",
                "Checks of hub tokens, answered by the hub or from memory",
            ),
            hub_tokens_issued: counted(
                all,
                "hub_tokens_issued",
                "Hub tokens that apps were given for tokens of their own",
            ),
            hub_tokens_revoked: counted(all, "hub_tokens_revoked", "Hub tokens that apps have revoked"),
            hub_call_seconds,
            registry,
        }
    }

    /// The text that `/metrics` answers.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String fails only if a value's own encoder does; ours do not.
        let _written = encode_registry(&mut text, &self.registry);
        text.push_str(&process::text());
        let _ended = encode_eof(&mut text);
        text
    }
}

/// A metric at zero, in `registry`.
fn counted<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Enters a metric of times.
fn timed<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: &M) {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
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
