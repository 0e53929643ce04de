//! Who waits for a login, and how many are under way.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The gauges of admission.
#[derive(Debug, Clone)]
pub struct LoginQueue {
    waiting: Gauge,
    in_flight: Gauge,
    limit: Gauge,
    rate: Gauge<f64, AtomicU64>,
    full_rate: Gauge<f64, AtomicU64>,
    hub_time: Histogram,
    wait: Histogram,
}

impl LoginQueue {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let queue = Self {
            waiting: Gauge::default(),
            in_flight: Gauge::default(),
            limit: Gauge::default(),
            rate: Gauge::default(),
            full_rate: Gauge::default(),
            hub_time: Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0]),
            wait: Histogram::new([
                0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
            ]),
        };
        registry.register(
            "login_queue",
            "Browsers that wait for their turn to log in",
            queue.waiting.clone(),
        );
        registry.register("logins_in_flight", "Logins under way at the hub", queue.in_flight.clone());
        registry.register(
            "logins_at_once",
            "Logins that may be under way at the hub or on their way to it",
            queue.limit.clone(),
        );
        registry.register("logins_per_second", "Logins that the hub did a second lately", queue.rate.clone());
        registry.register(
            "logins_per_second_in_line",
            "The same, the last time that others waited in line: what the hub can do",
            queue.full_rate.clone(),
        );
        let help = "Time that the hub took for a login";
        registry.register_with_unit("login_hub", help, Unit::Seconds, queue.hub_time.clone());
        let help = "Time that a browser waited for its turn to log in, while it was connected";
        registry.register_with_unit("login_wait", help, Unit::Seconds, queue.wait.clone());
        queue
    }

    /// How it stands.
    pub fn show(&self, waiting: usize, in_flight: usize, limit: usize) {
        for (gauge, value) in [(&self.waiting, waiting), (&self.in_flight, in_flight), (&self.limit, limit)] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// How many a second; `is_full`: others wait for the hub.
    pub fn rate(&self, per_second: f64, is_full: bool) {
        self.rate.set(per_second);
        if is_full {
            self.full_rate.set(per_second);
        }
    }

    /// The hub has taken so long for a login.
    pub fn logged_in(&self, took: Duration) {
        self.hub_time.observe(took.as_secs_f64());
    }

    /// Somebody has waited so long.
    pub fn waited(&self, wait: Duration) {
        self.wait.observe(wait.as_secs_f64());
    }
}
