//! What is counted of the Hub API and of hub tokens.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Reason;

/// A call of the Hub API and what came of it: words of closed lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HubCallLabels {
    /// Which call.
    pub call: Reason,
    /// What came of it.
    pub result: Reason,
}

/// The Hub API and hub tokens.
#[derive(Debug)]
pub struct HubApiMetrics {
    /// Calls, by call and result.
    pub calls: Family<HubCallLabels, Counter>,
    /// How long calls take, in seconds.
    pub seconds: Histogram,
    /// Checks of hub tokens. What calls of `whoami` are fewer were answered from memory.
    pub token_checks: Counter,
    /// Hub tokens that apps were given for their own.
    pub tokens_issued: Counter,
    /// Hub tokens that apps have made worthless.
    pub tokens_revoked: Counter,
    /// Starts of servers that wait until the hub has room.
    pub starts_waiting: Gauge,
}

impl HubApiMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let calls = Family::default();
        registry.register("hub_api_calls", "Calls of the Hub API, by call and result", calls.clone());
        let seconds = Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]);
        let help = "Time that a call of the Hub API takes";
        registry.register_with_unit("hub_api_call", help, Unit::Seconds, seconds.clone());
        let starts_waiting = Gauge::default();
        let help = "Starts of servers that wait until the hub has room";
        registry.register("launch_queue", help, starts_waiting.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let token_checks =
            counter("hub_token_checks", "Checks of hub tokens, answered by the hub or from memory");
        let tokens_issued =
            counter("hub_tokens_issued", "Hub tokens that apps were given for tokens of their own");
        let tokens_revoked = counter("hub_tokens_revoked", "Hub tokens that apps have revoked");
        Self { calls, seconds, token_checks, tokens_issued, tokens_revoked, starts_waiting }
    }
}
