//! What is made of one configuration, and put in the place of what was made of an earlier one.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use ipnet::IpNet;

use super::StartError;
use crate::api::{Api, ApiBody};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::{HubClient, HubProbe};
use crate::login::LoginServices;
use crate::login::assertion::Signer;
use crate::login::policy::Policy;
use crate::metrics::{ListenerLabel, Metrics};
use crate::pages::Pages;
use crate::proxy::{self, Parts, Proxy, Shared};
use crate::reloads::Reloads;
use crate::routes::Routes;
use crate::routes::api::RoutesApi;
use crate::server::fd_budget::FdBudget;
use crate::server::redirect::Redirect;
use crate::server::reloadable::Reloadable;
use crate::server::{ConnectionInfo, Server, Service, Settings};
use crate::shutdown::Shutdown;
use crate::status::{HubState, Status};
use crate::store::TokenStore;
use crate::tls::Acceptor;

/// Connections of the management and the status listener above their limits, for health checks.
const MANAGEMENT_RESERVE: usize = 64;
/// How long `/ready` waits for the store and the hub.
const READY_PATIENCE: Duration = Duration::from_secs(2);

/// What outlives every configuration.
pub(super) struct SharedState {
    pub(super) store: Arc<dyn TokenStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) audit: Arc<Audit>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: Shutdown,
    pub(super) reloads: Arc<Reloads>,
    /// The routing table; none in front of the hub's own proxy.
    pub(super) routes: Option<Arc<Routes>>,
}

impl SharedState {
    /// What `/ready` and its kin look at; `probe` asks the hub.
    fn status(&self, probe: HubProbe) -> Status {
        Status {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            audit: Arc::clone(&self.audit),
            shutdown: self.shutdown.clone(),
            probe,
            patience: READY_PATIENCE,
            routes: self.routes.clone(),
            hub: HubState::default(),
        }
    }

    /// The API of the routing table by the rules of `config`; none in front of the hub's own proxy.
    fn routes_api(&self, config: &Config) -> Option<Arc<RoutesApi>> {
        let (routes, rules) = self.routes.as_ref().zip(config.routes.as_ref())?;
        let token = rules.auth_token.clone().map(|secret| secret.text);
        let api = RoutesApi::new(Arc::clone(routes), token, config.limits.body_stall_timeout);
        Some(Arc::new(if rules.chp.is_some() { api.in_its_words() } else { api }))
    }
}

/// Everything that answers by one configuration.
pub(super) struct Snapshot {
    active: ActiveConfig,
    /// By which tokens are judged once this is in force.
    policy: Arc<Policy>,
    /// One for each thread: each has connections to the hub of its own.
    proxies: Vec<Proxy>,
    redirect: Redirect,
    management: Management,
    routing: RoutingApi,
    status: StatusPages,
    servers: Servers<Settings>,
}

/// The configuration in force, and what the snapshot of the next one takes over.
#[derive(Debug)]
pub(super) struct ActiveConfig {
    pub(super) config: Config,
    /// As many as there were at the start.
    threads: usize,
    login: Arc<LoginServices>,
    shared: Arc<Shared>,
}

/// One for each kind of listener.
#[derive(Debug)]
struct Servers<T> {
    public: T,
    redirect: T,
    management: T,
    status: T,
}

impl Snapshot {
    /// That of the configuration at the start.
    pub(super) fn first(
        config: Config,
        login: LoginServices,
        state: &SharedState,
    ) -> Result<Self, StartError> {
        let login = Arc::new(login);
        let (metrics, shutdown) = (Arc::clone(&state.metrics), state.shutdown.clone());
        let pages = Pages::new(&config)?;
        let policy = login.policy();
        let rules = Arc::clone(&policy.rules);
        let session_ids = policy.session_ids.clone();
        let parts = Parts { login: Arc::clone(&login), rules, session_ids, signer: signer(&config)?, pages };
        let shared = Arc::new(
            Shared::new(&config, parts, metrics, shutdown, state.routes.clone())
                .map_err(|_| StartError::PublicUrl)?,
        );
        let threads = config.public.runtimes();
        Ok(Self::new(ActiveConfig { config, threads, login, shared }, policy, state))
    }

    fn new(active: ActiveConfig, policy: Arc<Policy>, state: &SharedState) -> Self {
        let ActiveConfig { config, threads, login, shared } = &active;
        let limits = Arc::new(config.limits.clone());
        let proxy = || Proxy::new(Arc::clone(shared), Proxy::pool(config, Arc::clone(&limits), shared));
        let status = Arc::new(state.status(proxy().probe()));
        let pages = Arc::clone(&status).pages();
        let shutdown = state.shutdown.clone();
        let api = Api::new(config, Arc::clone(login), pages, Arc::clone(&state.reloads), shutdown);
        let routing = state.routes_api(config);
        // Always without `routes.api_listen`, and always as configurable-http-proxy, where that is the same API by the other
        // address family.
        let on_management =
            config.routes.as_ref().is_some_and(|routes| routes.api_listen.is_none() || routes.chp.is_some());
        show_certificates(config, &state.metrics);
        let settings = |tls: Option<&Acceptor>, proxies: Option<&Vec<IpNet>>, reserve| Settings {
            limits: Arc::clone(&limits),
            tls: tls.cloned(),
            proxies: proxies.cloned(),
            trusted: config.public.trusted_proxies.clone(),
            reserve,
        };
        let proxies = config.public.proxy_protocol.then_some(&config.public.trusted_proxies);
        Self {
            proxies: (0..*threads).map(|_| proxy()).collect(),
            redirect: match config.routes.as_ref().and_then(|routes| routes.chp.as_ref()?.redirect_to) {
                Some(port) => Redirect::to_port(port),
                None => Redirect::to(&config.public.url.origin),
            },
            management: Management { api: Arc::new(api), routes: routing.clone().filter(|_| on_management) },
            routing: RoutingApi(routing),
            status: StatusPages(status),
            servers: Servers {
                public: settings(config.public.tls.as_ref(), proxies, 0),
                redirect: settings(None, proxies, 0),
                management: settings(config.management.tls.as_ref(), None, MANAGEMENT_RESERVE),
                status: settings(None, None, MANAGEMENT_RESERVE),
            },
            active,
            policy,
        }
    }
}

impl ActiveConfig {
    /// The snapshot of `config`, which is to take the place of this one.
    pub(super) fn next(&self, mut config: Config, state: &SharedState) -> Result<Snapshot, StartError> {
        if let (Some(new), Some(old)) = (&mut config.public.tls, &self.config.public.tls) {
            *new = new.clone().carry_over(old);
        }
        let login = Arc::clone(&self.login);
        let (pages, signer) = (Pages::new(&config)?, signer(&config)?);
        // After what may well fail: the limits of the line of starts, which all configurations share, change at once.
        let hub = HubClient::new(&config, Arc::clone(&state.metrics))?.carry_over(&login.hub());
        let hub = Arc::new(hub);
        let policy = Arc::new(login.next_policy(&config, hub).ok_or(StartError::PublicUrl)?);
        let rules = Arc::clone(&policy.rules);
        let session_ids = policy.session_ids.clone();
        let parts = Parts { login: Arc::clone(&login), rules, session_ids, signer, pages };
        let shared = Arc::new(self.shared.carry_over(&config, parts).map_err(|_| StartError::PublicUrl)?);
        Ok(Snapshot::new(ActiveConfig { config, threads: self.threads, login, shared }, policy, state))
    }
}

/// Shows in the metrics when the certificates of `config` end.
fn show_certificates(config: &Config, metrics: &Metrics) {
    for (listener, tls) in [("public", &config.public.tls), ("management", &config.management.tls)] {
        let (family, label) = (&metrics.certificate_not_after, ListenerLabel { listener });
        match tls {
            Some(tls) => {
                let ends = i64::try_from(tls.not_after()).unwrap_or(i64::MAX);
                _ = family.get_or_create(&label).set(ends);
            }
            None => _ = family.remove(&label),
        }
    }
}

fn signer(config: &Config) -> Result<Option<Signer>, StartError> {
    Ok(config.assertion.as_ref().map(Signer::new).transpose()?)
}

/// What the threads answer by; each part can be replaced under them.
#[derive(Debug)]
pub(super) struct Live {
    proxies: Vec<Reloadable<Proxy>>,
    /// The same for notebooks and services, if they have a listener.
    hub_api: Vec<Reloadable<Proxy>>,
    redirect: Reloadable<Redirect>,
    management: Reloadable<Management>,
    routing: Reloadable<RoutingApi>,
    status: Reloadable<StatusPages>,
    counters: ChpMetrics,
    servers: Servers<Server>,
    /// Of the first configuration: it shares its tunnels and its login with all later ones.
    sessions: Arc<Shared>,
}

impl Live {
    /// Puts the first `snapshot` in force.
    pub(super) fn new(
        snapshot: Snapshot,
        state: &SharedState,
        management_shutdown: Shutdown,
    ) -> (Self, ActiveConfig) {
        let Servers { public, redirect, management, status } = snapshot.servers;
        let public =
            Server::new(public, Arc::clone(&state.metrics), state.shutdown.clone(), FdBudget::for_browsers());
        let servers = Servers {
            redirect: public.beside(redirect),
            public,
            // The connections of these two count for nothing on the public side, and find room when that one is full.
            status: Server::new(
                status,
                Arc::new(Metrics::new()),
                management_shutdown.clone(),
                FdBudget::whole(),
            ),
            management: Server::new(
                management,
                Arc::new(Metrics::new()),
                management_shutdown,
                FdBudget::whole(),
            ),
        };
        let hub_api = snapshot.proxies.iter().map(Proxy::with_hub_api_alone).map(Reloadable::new).collect();
        let live = Self {
            hub_api,
            proxies: snapshot.proxies.into_iter().map(Reloadable::new).collect(),
            redirect: Reloadable::new(snapshot.redirect),
            management: Reloadable::new(snapshot.management),
            routing: Reloadable::new(snapshot.routing),
            status: Reloadable::new(snapshot.status),
            counters: ChpMetrics(state.routes.clone()),
            servers,
            sessions: Arc::clone(&snapshot.active.shared),
        };
        (live, snapshot.active)
    }

    /// Closes the tunnels of sessions that have ended, here or at another replica, until it is dropped.
    pub(super) fn close_ended_tunnels(&self) -> impl Future<Output = ()> + Send + 'static {
        proxy::sessions::close_ended_tunnels(Arc::clone(&self.sessions))
    }

    /// Puts `snapshot` in force for the requests and connections to come.
    pub(super) fn replace(&self, snapshot: Snapshot) -> ActiveConfig {
        // The policy first: at once, no token is issued or honoured by a rule that is gone, whoever has begun before.
        snapshot.active.login.put_in_force(snapshot.policy);
        for (current, new) in self.hub_api.iter().zip(&snapshot.proxies) {
            current.replace(new.with_hub_api_alone());
        }
        for (current, new) in self.proxies.iter().zip(snapshot.proxies) {
            current.replace(new);
        }
        self.redirect.replace(snapshot.redirect);
        self.management.replace(snapshot.management);
        self.routing.replace(snapshot.routing);
        self.status.replace(snapshot.status);
        let Servers { public, redirect, management, status } = snapshot.servers;
        self.servers.status.set(status);
        self.servers.public.set(public);
        self.servers.redirect.set(redirect);
        self.servers.management.set(management);
        snapshot.active
    }

    /// How long a drain may take.
    pub(super) fn drain_timeout(&self) -> Duration {
        self.servers.public.settings().limits.drain_timeout
    }

    /// What the public thread of this number serves.
    pub(super) fn public(&self, thread: usize) -> (Server, Reloadable<Proxy>) {
        (self.servers.public.clone(), self.proxies[thread].clone())
    }

    /// What the public thread of this number serves to notebooks and services.
    pub(super) fn hub_api(&self, thread: usize) -> Reloadable<Proxy> {
        self.hub_api[thread].clone()
    }

    /// What every public thread serves where browsers are only sent on.
    pub(super) fn redirect(&self) -> (Server, Reloadable<Redirect>) {
        (self.servers.redirect.clone(), self.redirect.clone())
    }

    /// What the management thread serves.
    pub(super) fn management(&self) -> (Server, Reloadable<Management>) {
        (self.servers.management.clone(), self.management.clone())
    }

    /// What the management thread serves to probes and scrapers.
    pub(super) fn status(&self) -> (Server, Reloadable<StatusPages>) {
        (self.servers.status.clone(), self.status.clone())
    }

    /// What the management thread serves where configurable-http-proxy serves its counters (`--metrics-port`).
    pub(super) fn counters(&self) -> ChpMetrics {
        self.counters.clone()
    }

    /// What the management thread serves where only the routing table is.
    pub(super) fn routing(&self) -> (Server, Reloadable<RoutingApi>) {
        (self.servers.management.clone(), self.routing.clone())
    }
}

/// The counters of configurable-http-proxy.
#[derive(Debug, Clone)]
pub(super) struct ChpMetrics(Option<Arc<Routes>>);

impl Service for ChpMetrics {
    type Body = ApiBody;

    async fn call(&self, _: Arc<ConnectionInfo>, request: Box<Request<Incoming>>) -> Response<ApiBody> {
        let counters = self.0.as_ref().and_then(|routes| routes.counters());
        let Some(counters) = counters.filter(|_| request.uri().path() == "/metrics") else {
            return not_found();
        };
        let mut answer = Response::new(ApiBody::from(bytes::Bytes::from(counters.text())));
        let content_type =
            hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
        answer
    }
}

fn not_found() -> Response<ApiBody> {
    let mut answer = Response::new(ApiBody::from(bytes::Bytes::from_static(b"Not Found")));
    *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
    answer
}

/// The management API, and that of the routing table where it is served beside.
#[derive(Debug, Clone)]
pub(super) struct Management {
    api: Arc<Api>,
    /// None: there is no routing table, or its API is on a listener of its own alone.
    routes: Option<Arc<RoutesApi>>,
}

/// The API of the routing table alone.
#[derive(Debug, Clone)]
pub(super) struct RoutingApi(Option<Arc<RoutesApi>>);

/// `/live`, `/ready` and `/metrics` alone.
#[derive(Debug, Clone)]
pub(super) struct StatusPages(Arc<Status>);

impl Service for StatusPages {
    type Body = ApiBody;

    async fn call(&self, _: Arc<ConnectionInfo>, request: Box<Request<Incoming>>) -> Response<ApiBody> {
        let (method, path) = (request.method(), request.uri().path());
        self.0.handle_probe(method, path, request.headers()).await.map(ApiBody::new)
    }
}

impl Service for Management {
    type Body = ApiBody;

    async fn call(
        &self,
        connection: Arc<ConnectionInfo>,
        request: Box<Request<Incoming>>,
    ) -> Response<ApiBody> {
        match &self.routes {
            Some(routes) if RoutesApi::covers(request.uri().path()) => {
                routes.handle(*request).await.map(ApiBody::new)
            }
            Some(_) | None => self.api.handle(Some(connection.peer), *request).await,
        }
    }
}

impl Service for RoutingApi {
    type Body = ApiBody;

    async fn call(&self, _: Arc<ConnectionInfo>, request: Box<Request<Incoming>>) -> Response<ApiBody> {
        let answered = match &self.0 {
            Some(routes) if RoutesApi::covers(request.uri().path()) => Some(routes.handle(*request).await),
            Some(_) | None => None,
        };
        let answer = answered.map(|answer| answer.map(ApiBody::new));
        answer.unwrap_or_else(not_found)
    }
}
