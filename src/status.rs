//! `/health`, `/live`, `/ready` and `/metrics`: what supervisors, load balancers and Prometheus ask.
//!
//! - `/health`: 200 for as long as the process answers at all.
//! - `/live`: the same, but 503 during a drain: it says nothing about the hub or the store, so that a restart of the hub
//!   does not take hublatch out of a load balancer and cut off the notebooks that run.
//! - `/ready`: 200 if a login can succeed now; 503 while the store or the hub is out of reach, and during a drain.
//! - `/metrics`: everything counted, in the `OpenMetrics` text format, or in Prometheus text 0.0.4 for whoever asks for it.
//!
//! Says what is; changes nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, HeaderMap};
use hyper::{Method, StatusCode};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::audit::Audit;
use crate::body::whole_response::{WholeResponse, json_response, response};
use crate::clock::Clock;
use crate::hub::HubProbe;
use crate::metrics::Metrics;
use crate::routes::Routes;
use crate::shutdown::Shutdown;
use crate::store::{self, TokenStore};

/// How long what was found out about the hub is believed: probes of several balancers cost the hub one request.
const HUB_BELIEVED: Duration = Duration::from_secs(1);
/// What a response of [`Status::pages`] is.
pub type PageFuture = Pin<Box<dyn Future<Output = WholeResponse> + Send>>;

/// The endpoints as one function of the path and of what the client takes.
pub type StatusPages = Arc<dyn Fn(&'static str, &HeaderMap) -> PageFuture + Send + Sync>;

/// What the four endpoints look at.
pub struct Status {
    /// Where links are kept.
    pub store: Arc<dyn TokenStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the audit log can be written.
    pub audit: Arc<Audit>,
    /// Whether a drain has begun.
    pub shutdown: Shutdown,
    /// Whether the hub is there.
    pub probe: HubProbe,
    /// The routing table; none in front of the hub's own proxy.
    pub routes: Option<Arc<Routes>>,
    /// How long the store and the hub may take to answer.
    pub patience: Duration,
    /// What the hub was last seen to be. Held across the probe, so that one probe at a time is under way.
    pub hub: HubState,
}

/// What the hub was last seen to be.
#[derive(Debug, Default)]
pub struct HubState(Mutex<Option<HubSighting>>);

#[derive(Debug, Clone)]
struct HubSighting {
    /// By the monotonic clock.
    at: Duration,
    state: Result<(), String>,
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status").field("hub", &self.hub).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct HealthJson {
    status: u16,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

/// The response of `/ready`: an error like the API's if it is one, and each part by itself.
#[derive(Serialize)]
struct ReadyJson {
    status: u16,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    ready: bool,
    /// What `/live` says: whether the process serves, whatever the store and the hub do.
    live: bool,
    store: String,
    hub: String,
    audit: String,
    draining: bool,
}

/// A form of `/metrics`.
#[derive(Debug, Clone, Copy)]
enum MetricsFormat {
    OpenMetrics,
    /// Prometheus text 0.0.4.
    PlainText,
}

impl MetricsFormat {
    /// What a scraper asks for; `OpenMetrics` if it takes both, or says nothing.
    fn preferred(headers: &HeaderMap) -> Self {
        let names = |kind: &str| {
            let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
            lines.flat_map(|line| line.split(',')).any(|range| {
                range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case(kind))
            })
        };
        let only_plain = names("text/plain") && !names("application/openmetrics-text");
        if only_plain { Self::PlainText } else { Self::OpenMetrics }
    }
}

impl Status {
    /// The endpoints as one function of the path.
    pub fn pages(self: Arc<Self>) -> StatusPages {
        Arc::new(move |path, headers| {
            let (status, format) = (Arc::clone(&self), MetricsFormat::preferred(headers));
            Box::pin(async move { status.handle(path, format).await })
        })
    }

    /// The response to a probe or a scraper, for which nothing else is here.
    pub async fn handle_probe(&self, method: &Method, path: &str, headers: &HeaderMap) -> WholeResponse {
        if !matches!(path, "/live" | "/ready" | "/metrics") {
            return json_response(
                StatusCode::NOT_FOUND,
                &HealthJson { status: 404, message: "there is no such path", code: Some("no_such_path") },
            );
        }
        if method != Method::GET && method != Method::HEAD {
            return json_response(
                StatusCode::METHOD_NOT_ALLOWED,
                &HealthJson { status: 405, message: "only GET", code: Some("method_not_allowed") },
            );
        }
        self.handle(path, MetricsFormat::preferred(headers)).await
    }

    async fn handle(&self, path: &str, format: MetricsFormat) -> WholeResponse {
        match path {
            "/ready" => self.ready().await,
            "/metrics" => self.metrics(format).await,
            "/live" if self.shutdown.is_draining() => json_response(
                StatusCode::SERVICE_UNAVAILABLE,
                &HealthJson { status: 503, message: "draining", code: Some("not_ready") },
            ),
            // Whoever gets a response has seen that the process lives.
            _ => json_response(StatusCode::OK, &HealthJson { status: 200, message: "alive", code: None }),
        }
    }

    async fn ready(&self) -> WholeResponse {
        let (store, hub) = tokio::join!(self.store_state(), self.hub_state());
        let audit =
            if self.audit.is_failing() { Err("the audit log cannot be written".to_owned()) } else { Ok(()) };
        let draining = self.shutdown.is_draining();
        let reason = if draining {
            Some("hublatch is shutting down".to_owned())
        } else {
            let audit = audit.clone().err();
            store.clone().err().or_else(|| hub.clone().err()).or(audit)
        };
        let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let word = |state: Result<(), String>| state.err().unwrap_or_else(|| "ok".to_owned());
        // Every comparison is by one clock, so this keeps nobody out; whatever people compare by eye is wrong, though.
        let store = store.and_then(|()| self.skew().map_or(Ok(()), Err));
        json_response(
            status,
            &ReadyJson {
                status: status.as_u16(),
                ready: reason.is_none(),
                live: !draining,
                code: reason.is_some().then_some("not_ready"),
                message: reason.unwrap_or_else(|| "ready".to_owned()),
                store: word(store),
                hub: word(hub),
                audit: word(audit),
                draining,
            },
        )
    }

    async fn metrics(&self, format: MetricsFormat) -> WholeResponse {
        // A shared store knows by its last response how many links there are.
        let (store, hub) = tokio::join!(self.store_state(), self.hub_state());
        self.metrics.store_up.set(i64::from(store.is_ok()));
        self.metrics.hub_up.set(i64::from(hub.is_ok()));
        if let Some(routes) = &self.routes {
            let mut of_kind = [0; 4];
            for route in routes.table().iter() {
                of_kind[route.kind as usize] += 1;
            }
            for (gauge, count) in self.metrics.routes.iter().zip(of_kind) {
                gauge.set(count);
            }
        }
        let live = self.store.live(self.clock.now());
        self.metrics.links_live.set(i64::try_from(live).unwrap_or(i64::MAX));
        let (content_type, text) = match format {
            MetricsFormat::OpenMetrics => {
                ("application/openmetrics-text; version=1.0.0; charset=utf-8", self.metrics.text())
            }
            MetricsFormat::PlainText => {
                ("text/plain; version=0.0.4; charset=utf-8", self.metrics.plain_text())
            }
        };
        response(StatusCode::OK, content_type, text)
    }

    /// What is wrong with the clocks of the store and of this machine, as of the last answer.
    fn skew(&self) -> Option<String> {
        let fault = self.store.skew(self.clock.now()).and_then(store::clock_fault)?;
        Some(format!("ok, but its clock is {fault}; both need NTP"))
    }

    async fn store_state(&self) -> Result<(), String> {
        match tokio::time::timeout(self.patience, self.store.ping()).await {
            Ok(response) => response.map_err(|error| error.to_string()),
            Err(_elapsed) => Err("the token store does not answer".to_owned()),
        }
    }

    async fn hub_state(&self) -> Result<(), String> {
        let mut seen = self.hub.0.lock().await;
        let now = self.clock.monotonic();
        if let Some(seen) = seen.as_ref().filter(|seen| now.saturating_sub(seen.at) < HUB_BELIEVED) {
            return seen.state.clone();
        }
        let state = match tokio::time::timeout(self.patience, (self.probe)()).await {
            Ok(state) => state,
            Err(_elapsed) => Err("the hub does not answer".to_owned()),
        };
        *seen = Some(HubSighting { at: self.clock.monotonic(), state: state.clone() });
        state
    }
}
