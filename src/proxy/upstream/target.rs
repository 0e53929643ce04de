//! Who is upstream: always the hub's own proxy, or whom the routing table says. The one place that knows both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hyper::header::HOST;
use hyper::{HeaderMap, Request, Response};

use super::hub::{HubConnection, HubRoute};
use super::limit::ConnectionLimit;
use super::{Dial, ResponseBody, Security, Upstream, UpstreamError};
use crate::body::RequestBody;
use crate::client_network::Share;
use crate::config::{Config, Limits};
use crate::metrics::Metrics;
use crate::routes::{Route, RouteKind, Routes, Scheme, Table, Target};
use crate::shutdown::Shutdown;
use crate::tls::{ClientRules, Roots};

/// How often pools of targets that are gone are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The connections of one thread.
#[derive(Debug)]
pub struct Upstreams {
    place: UpstreamPlace,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    connection_limit: ConnectionLimit,
}

#[derive(Debug)]
enum UpstreamPlace {
    /// In front of the hub's own proxy.
    Front(Arc<Upstream>),
    /// In its place.
    Routes { routes: Arc<Routes>, pools: Mutex<Pools>, tls: OnceLock<Option<ClientRules>> },
}

#[derive(Debug)]
struct Pools {
    /// By the number of the target, which is ours.
    by_target: HashMap<u64, (Weak<Target>, Arc<Upstream>), RandomState>,
    swept: Instant,
}

/// Where one request goes.
#[derive(Debug)]
pub struct UpstreamDestination {
    /// Its connections.
    pub pool: Arc<Upstream>,
    /// By which route; none in front of the hub's own proxy.
    pub route: Option<Arc<Route>>,
}

/// Why a request goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No route takes it.
    #[error("no route takes this path")]
    NoRoute,
    /// Its path cannot be decoded.
    #[error(transparent)]
    BadEscape(#[from] crate::routes::key::BadEscape),
    /// The route leads to no URL.
    #[error("the route leads to no URL")]
    BadTarget,
}

impl Upstreams {
    /// No connection yet: to the hub of `config`, or by the table of `routes`.
    pub fn new(
        config: &Config,
        routes: Option<&Arc<Routes>>,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
        connection_limit: ConnectionLimit,
    ) -> Self {
        let place = if let Some(routes) = routes {
            let tls = OnceLock::new();
            if let Some(rules) = config.routes.as_ref().and_then(|routes| routes.client_tls.clone()) {
                _ = tls.set(Some(rules));
            }
            let pools = Mutex::new(Pools { by_target: HashMap::default(), swept: Instant::now() });
            UpstreamPlace::Routes { routes: Arc::clone(routes), pools, tls }
        } else {
            // A configuration without a table has the hub's address.
            let nowhere = || crate::config::UpstreamAddress::Unix(std::path::PathBuf::new());
            let dial = Dial {
                address: config.hub.upstream.clone().unwrap_or_else(nowhere),
                security: config.hub.tls.clone().map_or(Security::Plain, Security::Tls),
                health: None,
            };
            UpstreamPlace::Front(Arc::new(Upstream::new(
                dial,
                Arc::clone(&limits),
                Arc::clone(&metrics),
                shutdown.clone(),
                connection_limit.clone(),
            )))
        };
        Self { place, limits, metrics, shutdown, connection_limit }
    }

    /// Whether a table says who is upstream.
    pub fn routes(&self) -> Option<&Arc<Routes>> {
        match &self.place {
            UpstreamPlace::Front(_) => None,
            UpstreamPlace::Routes { routes, .. } => Some(routes),
        }
    }

    /// Where a request for `path` at the host of `headers` goes.
    pub fn for_request(&self, headers: &HeaderMap, path: &str) -> Result<UpstreamDestination, RouteError> {
        match &self.place {
            UpstreamPlace::Front(pool) => Ok(UpstreamDestination { pool: Arc::clone(pool), route: None }),
            UpstreamPlace::Routes { routes, .. } => {
                let table = routes.table();
                let route =
                    table.find(host_of(&table, headers), path)?.cloned().ok_or(RouteError::NoRoute)?;
                let target = route.target.as_ref().ok_or(RouteError::BadTarget)?;
                Ok(UpstreamDestination { pool: self.pool(target), route: Some(route) })
            }
        }
    }

    /// Whether a request for `path` at the host of `headers` goes to the hub itself; also while nobody knows where that is and no route
    /// takes the path but one for whatever has none (`routes.default_target`), so that a login finds out.
    pub fn leads_to_hub(&self, headers: &HeaderMap, path: &str) -> bool {
        match &self.place {
            UpstreamPlace::Front(_) => true,
            UpstreamPlace::Routes { routes, .. } => {
                let table = routes.table();
                let Ok(found) = table.find(host_of(&table, headers), path) else { return false };
                let Some(route) = found else { return table.hub().is_none() };
                if table.hub().is_none() {
                    // Most often it leads to the hub, before that has written its own route: there a link would lose its token.
                    return route.kind == RouteKind::Extra && &*route.key == "/";
                }
                let place = |route: &Route| {
                    route.target.as_ref().map(|target| (target.scheme(), target.place().to_owned()))
                };
                // In API-only mode the login is an extra route to the hub.
                route.kind == RouteKind::Hub
                    || (route.kind == RouteKind::Extra
                        && table.hub().is_some_and(|hub| place(hub).is_some() && place(hub) == place(route)))
            }
        }
    }

    /// The hub itself.
    pub fn hub(&self) -> Result<HubRoute, UpstreamError> {
        match &self.place {
            UpstreamPlace::Front(pool) => Ok(HubRoute::new(Arc::clone(pool))),
            UpstreamPlace::Routes { routes, .. } => {
                let table = routes.table();
                let target = table.hub().and_then(|hub| hub.target.as_ref()).ok_or(UpstreamError::NoHub)?;
                Ok(HubRoute::new(self.pool(target)))
            }
        }
    }

    /// Whether there is a table, and it does not say where the hub is.
    pub fn lacks_hub(&self) -> bool {
        self.routes().is_some_and(|routes| routes.table().hub().is_none())
    }

    /// The hub's base URL as its route tells it, if there is one and it does.
    pub fn hub_base(&self) -> Option<String> {
        self.routes()?.table().base_url()
    }

    /// A connection to the hub: an unused one, or else a new one.
    pub async fn lease(&self) -> Result<HubConnection, UpstreamError> {
        self.hub()?.lease().await
    }

    /// A new connection to the hub.
    pub async fn connect(&self) -> Result<HubConnection, UpstreamError> {
        self.hub()?.connect().await
    }

    /// Sends `request` to the hub.
    pub async fn send(
        &self,
        request: Box<Request<RequestBody>>,
        share: Share,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        self.hub()?.send(request, share).await
    }

    /// This thread's connections to `target`.
    pub fn pool(&self, target: &Arc<Target>) -> Arc<Upstream> {
        let UpstreamPlace::Routes { pools, tls, .. } = &self.place else {
            // In front of the hub's own proxy there are no targets but of error pages, which keep no connection.
            return Arc::new(self.upstream(target, None));
        };
        // One thread only ever takes it: the lock is for the type, and costs an uncontended exchange.
        let mut pools = pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pool)) = pools.by_target.get(&target.id()) {
            return Arc::clone(pool);
        }
        let now = Instant::now();
        if now.duration_since(pools.swept) > SWEEP_EVERY {
            pools.swept = now;
            pools.by_target.retain(|_, (target, _)| target.strong_count() > 0);
        }
        let rules = match target.scheme() {
            Scheme::Http => None,
            Scheme::Https => {
                let of_system = || ClientRules::new(Roots::of_system().ok()?, None).ok();
                tls.get_or_init(of_system).as_ref()
            }
        };
        let pool = Arc::new(self.upstream(target, rules));
        pools.by_target.insert(target.id(), (Arc::downgrade(target), Arc::clone(&pool)));
        pool
    }

    fn upstream(&self, target: &Arc<Target>, rules: Option<&ClientRules>) -> Upstream {
        let host = match target.address() {
            crate::config::UpstreamAddress::Tcp { host, .. } => host.as_str(),
            crate::config::UpstreamAddress::Unix(_) => "localhost",
        };
        let dial = Dial {
            address: target.address().clone(),
            security: match target.scheme() {
                Scheme::Http => Security::Plain,
                Scheme::Https => {
                    rules.and_then(|rules| rules.to(host).ok()).map_or(Security::Impossible, Security::Tls)
                }
            },
            health: Some(Arc::clone(target.health())),
        };
        Upstream::new(
            dial,
            Arc::clone(&self.limits),
            Arc::clone(&self.metrics),
            self.shutdown.clone(),
            self.connection_limit.clone(),
        )
    }
}

/// The host of a request, where the table asks for it; validation has seen that there is one.
fn host_of<'h>(table: &Table, headers: &'h HeaderMap) -> &'h str {
    if !table.is_by_host() {
        return "";
    }
    headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}
