//! The client of the Hub API: who is this token, users, servers and their progress, tokens.
//!
//! One call is one question, bounded in time, size and number, and never repeated: most of them change something. What
//! does not look like the hub's own response counts for nothing, so that a page of some proxy is not taken for "there is
//! no such user". Never on the path of a browser's request to the hub. Knows nothing of links.

mod checks;
mod error;
mod events;
mod launch;
mod response;
mod routes;
mod servers;
mod sessions;
pub mod start_queue;
mod tokens;
mod users;
mod version;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, redirect, retry};
use tokio::sync::Semaphore;
use url::Url;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::metrics::{HubCallLabels, Metrics, Reason};
use crate::shutdown::Shutdown;
use crate::tls;

use response::HubResponse;
use start_queue::StartQueue;
use version::KnownVersion;

pub use checks::{TokenChecks, is_hub_token};
pub use error::{Call, HubError};
pub use events::{SpawnEvent, SpawnEvents, written};
pub use launch::{LaunchError, LaunchEvents, LaunchOrder, Launched, ServerState, StillAllowed};
pub use servers::{SpawnEventStream, Started};
pub use tokens::{CreatedToken, NewToken, OwnerKind, TokenInfo, TokenOwner};
pub use users::{Created, NotebookServer, User};

/// Asks the hub for a sign of life (`GET {base}hub/api/`); an error says what was tried.
pub type HubProbe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The client cannot be made: an operator learns it at start.
#[derive(Debug, thiserror::Error)]
#[error("set up the client of the Hub API: {0}")]
pub struct SetupError(String);

/// Calls the Hub API.
pub struct HubClient {
    client: Client,
    url: Url,
    token: Option<HeaderValue>,
    timeout: Duration,
    permits: Semaphore,
    metrics: Arc<Metrics>,
    /// The hub's version, when it was last asked for.
    version: ArcSwapOption<KnownVersion>,
    starts: StartQueue,
}

impl std::fmt::Debug for HubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubClient").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl HubClient {
    /// The client of `hub.api_url`, with the token of `hub.api_token`.
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Result<Self, SetupError> {
        let (api, limits) = (&config.hub.api, &config.limits);
        let setup = |error: &dyn std::fmt::Display| SetupError(error.to_string());
        // No redirects and no proxy of the environment: the operator has named the address, and a token must not be sent
        // elsewhere. No retries: reqwest must not decide that a call can be repeated.
        let builder = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(limits.upstream_connect_timeout)
            .pool_idle_timeout(limits.upstream_idle_timeout)
            .pool_max_idle_per_host(limits.upstream_idle_connections)
            .user_agent(concat!("hublatch/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls::client_rules(api.tls.as_ref()).map_err(|error| setup(&error))?);
        let builder = match &api.socket {
            Some(path) => builder.unix_socket(path.as_path()),
            None => builder,
        };
        // Each metric is there from the start, as zero.
        for call in Call::ALL {
            for result in ["answered"].into_iter().chain(HubError::WORDS) {
                _ = metrics.hub.calls.get_or_create(&labels(call, result));
            }
        }
        let token = api.token.as_ref().map(|token| credentials(token).ok_or_else(|| setup(&"a bad token")));
        Ok(Self {
            client: builder.build().map_err(|error| setup(&error))?,
            url: api.url.clone(),
            token: token.transpose()?,
            timeout: limits.hub_api_timeout,
            permits: Semaphore::new(limits.hub_api_calls),
            starts: StartQueue::new(
                limits.launch_queue_timeout,
                limits.hub_api_calls,
                metrics.hub.starts_waiting.clone(),
                Shutdown::new(),
            ),
            metrics,
            version: ArcSwapOption::empty(),
        })
    }

    /// The same client; starts that still wait in its queue are given up at `shutdown`.
    #[must_use]
    pub fn until(mut self, shutdown: Shutdown) -> Self {
        self.starts = self.starts.until(shutdown);
        self
    }

    /// The same client with the queue of `old`: the starts that wait there keep their places.
    #[must_use]
    pub fn carry_over(mut self, old: &Self) -> Self {
        self.starts = self.starts.carry_over(&old.starts);
        self
    }

    /// From now on this client sends the starts that wait in the queue.
    pub fn put_in_force(self: &Arc<Self>) {
        self.starts.put_in_force(self);
    }

    /// The starts that wait until the hub has room.
    pub fn starts(&self) -> &StartQueue {
        &self.starts
    }

    /// Whether there is a token of our own, without which only [`HubClient::whoami`] works.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Counts a check of a token, whether or not the hub is asked for it.
    fn count_check(&self) {
        self.metrics.hub.token_checks.inc();
    }

    /// A request with our own token. Each of `segments` is escaped as one segment of the path.
    fn authorized(&self, call: Call, method: Method, segments: &[&str]) -> Result<RequestBuilder, HubError> {
        let token = self.token.clone().ok_or(HubError::NoToken { call })?;
        Ok(self.request(method, segments, token))
    }

    fn request(&self, method: Method, segments: &[&str], credentials: HeaderValue) -> RequestBuilder {
        let mut url = self.url.clone();
        // It has a host, so it can have segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        self.client.request(method, url).header(AUTHORIZATION, credentials)
    }

    /// The whole response of the hub; an error if it is no success, or none of the hub's.
    async fn call(&self, call: Call, request: RequestBuilder) -> Result<HubResponse, HubError> {
        self.timed(call, self.in_turn(self.whole(call, request))).await
    }

    /// The same without a turn and without a limit of time: for whoever has both already.
    async fn whole(&self, call: Call, request: RequestBuilder) -> Result<HubResponse, HubError> {
        HubResponse::read(call, self.send(call, request).await?).await
    }

    async fn send(&self, call: Call, request: RequestBuilder) -> Result<Response, HubError> {
        request.send().await.map_err(|error| unreachable(call, error))
    }

    /// Does `asking` as one of `limits.hub_api_calls`. It must wait for no other turn: those who have them all would wait for
    /// each other.
    async fn in_turn<T>(&self, asking: impl Future<Output = T>) -> T {
        let _permit = self.permits.acquire().await;
        asking.await
    }

    /// Bounds `asking` in time, and counts what came of it.
    async fn timed<T>(
        &self,
        call: Call,
        asking: impl Future<Output = Result<T, HubError>>,
    ) -> Result<T, HubError> {
        let begun = Instant::now();
        let outcome = match tokio::time::timeout(self.timeout, asking).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(HubError::TimedOut { call }),
        };
        let result = outcome.as_ref().map_or_else(HubError::as_str, |_| "answered");
        self.metrics.hub.calls.get_or_create(&labels(call, result)).inc();
        self.metrics.hub.seconds.observe(begun.elapsed().as_secs_f64());
        outcome
    }
}

fn labels(call: Call, result: &'static str) -> HubCallLabels {
    HubCallLabels { call: Reason(call.as_str()), result: Reason(result) }
}

/// The header by which the hub knows `token`, if it can be one.
fn credentials(token: &str) -> Option<HeaderValue> {
    let line = Zeroizing::new(format!("token {token}"));
    let visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::from_str(&line).ok().filter(|_| visible)?;
    value.set_sensitive(true);
    Some(value)
}

/// Without the URL, which names the user; with the innermost cause, which says what is wrong.
fn unreachable(call: Call, error: reqwest::Error) -> HubError {
    if error.is_timeout() {
        return HubError::TimedOut { call };
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    HubError::Unreachable { call, cause: cause.to_string() }
}
