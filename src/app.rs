//! The composition root: builds every part from the configuration, binds, runs, reloads and drains.
//!
//! The only place that knows all parts. Each public thread has a runtime, its own sockets and its own connections to
//! the hub; the management listener has a thread of its own, so that it answers whatever the public side suffers.

mod reload;
mod snapshot;
mod threads;

use std::io;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::audit::Audit;
use crate::clock::{Clock, SystemClock};
use crate::config::{AuditSink, Config, Faults, Listen};
use crate::hub::{HubClient, SetupError};
use crate::login::assertion::AssertionError;
use crate::login::{self, LoginServices};
use crate::metrics::Metrics;
use crate::reloads::Reloads;
use crate::routes::{Routes, StateError};
use crate::server::address::Address;
use crate::server::inherited::Inherited;
use crate::server::listener::{BindError, BindOptions, Bound};
use crate::shutdown::Shutdown;
use crate::store::{self, MeasuredStore, OpenError, TokenStore};

use snapshot::{SharedState, Snapshot};
use threads::Serving;

pub use reload::{ReloadError, Reloader};

/// Where the API of the hub's own proxy listens by default (`ConfigurableHTTPProxy.api_url` in jupyterhub/proxy.py).
pub(crate) const PROXY_API_PORT: u16 = 8001;

/// Why hublatch did not start. Nothing is left bound.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(BindError),
    /// A port is taken, and by default the hub's own proxy takes the very same.
    #[error(
        "{0}; by default the API of JupyterHub's own proxy has this port: move it by c.ConfigurableHTTPProxy.api_url, \
         or write another port"
    )]
    ProxyApiPort(BindError),
    /// A socket that was passed to us is no listener's.
    #[error(
        "the supervisor passes the socket {address}, which is no address in the configuration: write it there \
         (public.listen, public.redirect_listen or management.listen), or remove it from the socket unit"
    )]
    Inherited {
        /// Where it is bound.
        address: Address,
    },
    /// The token store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The assertion's key is bad.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The operator's templates of our pages are bad.
    #[error(transparent)]
    Pages(#[from] Faults),
    /// The client of the Hub API cannot be made.
    #[error(transparent)]
    Hub(#[from] SetupError),
    /// The audit log cannot be written.
    #[error("open the audit log {path}: {source}")]
    Audit {
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A thread or a runtime cannot be made.
    #[error("start a thread: {0}")]
    Thread(#[from] io::Error),
    /// The routing table cannot be kept where it should be.
    #[error(transparent)]
    Routes(#[from] StateError),
    /// The public URL is no URL.
    #[error("public.url cannot be used")]
    PublicUrl,
}

/// What a test sets and a process takes from the system.
pub struct Dependencies {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub random: Arc<dyn SecureRandom + Send + Sync>,
    /// The audit log; none: as the configuration says.
    pub audit: Option<Box<dyn io::Write + Send>>,
    /// The token store; none: as the configuration says.
    pub store: Option<Arc<dyn TokenStore>>,
    /// Sockets that are bound already.
    pub inherited: Inherited,
}

impl Default for Dependencies {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom::new()),
            audit: None,
            store: None,
            inherited: Inherited::default(),
        }
    }
}

/// A running hublatch.
#[derive(Debug)]
pub struct Running {
    public: Vec<Address>,
    redirect: Vec<Address>,
    management: Address,
    shutdown: Shutdown,
    management_shutdown: Shutdown,
    public_threads: Vec<Serving>,
    management_thread: Serving,
    metrics: Arc<Metrics>,
    reloader: Arc<Reloader>,
    routing: Option<Address>,
    status: Option<Address>,
    hub_api: Option<Address>,
    routes: Option<Arc<Routes>>,
}

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        if error.is_taken(PROXY_API_PORT) { Self::ProxyApiPort(error) } else { Self::Bind(error) }
    }
}

/// Builds and binds everything `config` names, then runs it.
pub fn start(config: &Config, dependencies: Dependencies) -> Result<Running, StartError> {
    let Dependencies { clock, random, audit, store, inherited } = dependencies;
    let own_audit = audit.is_none();
    let state = shared_state(config, clock, audit, store)?;
    let dependencies = login::LoginDependencies::new(
        Arc::clone(&state.store),
        Arc::clone(&state.clock),
        random,
        Arc::clone(&state.audit),
        Arc::clone(&state.metrics),
    );
    let hub = Arc::new(HubClient::new(config, Arc::clone(&state.metrics))?.until(state.shutdown.clone()));
    let login = LoginServices::new(config, hub, dependencies).ok_or(StartError::PublicUrl)?;
    let snapshot = Snapshot::first(config.clone(), login, &state)?;

    let threads = config.public.runtimes();
    let bound = Listeners::bind(config, threads, inherited)?;
    let addresses = |bound: &[Bound]| bound.iter().map(|bound| bound.address().clone()).collect();
    let address = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.address().clone());
    let (public, redirect) = (addresses(&bound.public), addresses(&bound.redirect));
    let (routing, status) = (address(&bound.routing), address(&bound.status));
    let management = bound.management.address().clone();
    let hub_api = bound.hub_api.first().map(|bound| bound.address().clone());

    let (shutdown, metrics) = (state.shutdown.clone(), Arc::clone(&state.metrics));
    let routes = state.routes.clone();
    let management_shutdown = Shutdown::new();
    let reloader = Reloader::new(snapshot, state, management_shutdown.clone(), own_audit);
    let public_threads =
        threads::public(reloader.live(), threads, bound.public, bound.redirect, bound.hub_api, &shutdown)?;
    let management_thread = threads::management(
        reloader.live(),
        bound.management,
        [bound.routing, bound.metrics, bound.status],
        &management_shutdown,
    )?;
    Ok(Running {
        public,
        redirect,
        management,
        shutdown,
        management_shutdown,
        public_threads,
        management_thread,
        metrics,
        reloader: Arc::new(reloader),
        routing,
        status,
        hub_api,
        routes,
    })
}

/// What outlives every configuration, beginning with `config`.
fn shared_state(
    config: &Config,
    clock: Arc<dyn Clock>,
    audit: Option<Box<dyn io::Write + Send>>,
    store: Option<Arc<dyn TokenStore>>,
) -> Result<SharedState, StartError> {
    let metrics = Arc::new(Metrics::new());
    let store = match store {
        Some(store) => store,
        None => store::open(&config.store, &clock)?,
    };
    let store: Arc<dyn TokenStore> =
        Arc::new(MeasuredStore::new(store, Arc::clone(&clock), Arc::clone(&metrics)));
    let sink = match audit {
        Some(sink) => sink,
        None => audit_sink(&config.log.audit)?,
    };
    let audit = Audit::new(sink, config.log.audit_required, metrics.audit_records_lost.clone());
    let routes = match &config.routes {
        Some(routes) => Some(Routes::new(routes, &config.hub, &*store)?),
        None => None,
    };
    Ok(SharedState {
        store,
        audit: Arc::new(audit),
        metrics,
        shutdown: Shutdown::new(),
        reloads: Arc::new(Reloads::new(clock.wall())),
        clock,
        routes,
    })
}

/// The sockets of everything that listens. Those of browsers and of the Hub API are bound once for each thread.
struct Listeners {
    public: Vec<Bound>,
    redirect: Vec<Bound>,
    hub_api: Vec<Bound>,
    management: Bound,
    /// The API of the routing table, if it has a listener of its own.
    routing: Option<Bound>,
    metrics: Option<Bound>,
    status: Option<Bound>,
}

impl Listeners {
    /// Binds them, or takes them from `inherited`, where none may be left.
    fn bind(config: &Config, threads: usize, mut inherited: Inherited) -> Result<Self, StartError> {
        let routes = config.routes.as_ref();
        let routing = routes.and_then(|routes| routes.api_listen.as_ref());
        let status = config.status.as_ref().map(|status| &status.listen);
        let metrics = routes.and_then(|routes| routes.chp.as_ref()?.metrics_listen.as_ref());
        let of_browsers = config.public.listen.iter().chain(&config.public.redirect_listen);
        let all = || {
            let own = of_browsers.clone().chain([&config.management.listen]);
            own.chain(routing).chain(metrics).chain(status)
        };
        let options = BindOptions::beside(all(), config.management.socket_mode);
        let mut bind_one = |listen: &Listen| Bound::new(listen, 1, &options, &mut inherited);
        let routing = routing.map(&mut bind_one).transpose()?;
        let metrics = metrics.map(&mut bind_one).transpose()?;
        let status = status.map(&mut bind_one).transpose()?;
        let management = bind_one(&config.management.listen)?;
        let options = BindOptions::beside(all(), config.public.socket_mode);
        let mut bind = |listen: &[Listen]| -> Result<Vec<Bound>, BindError> {
            listen.iter().map(|listen| Bound::new(listen, threads, &options, &mut inherited)).collect()
        };
        let public = bind(&config.public.listen)?;
        let redirect = bind(&config.public.redirect_listen)?;
        let hub_api = bind(routes.and_then(|routes| routes.hub_api_listen.clone()).as_slice())?;
        match inherited.left() {
            Some(address) => Err(StartError::Inherited { address: address.clone() }),
            None => Ok(Self { public, redirect, hub_api, management, routing, metrics, status }),
        }
    }
}

impl Running {
    /// Where browsers are answered.
    pub fn public(&self) -> &[Address] {
        &self.public
    }

    /// Where browsers are sent to the public URL.
    pub fn redirect(&self) -> &[Address] {
        &self.redirect
    }

    /// Where the API is answered.
    pub fn management(&self) -> &Address {
        &self.management
    }

    /// Where the API of the routing table is answered, if it has a listener of its own.
    pub fn routing(&self) -> Option<&Address> {
        self.routing.as_ref()
    }

    /// Where probes and scrapers are answered, if they have a listener of their own.
    pub fn status(&self) -> Option<&Address> {
        self.status.as_ref()
    }

    /// Where notebooks and services get the Hub API, if they do.
    pub fn hub_api(&self) -> Option<&Address> {
        self.hub_api.as_ref()
    }

    /// The routing table; none in front of the hub's own proxy.
    pub fn routes(&self) -> Option<&Arc<Routes>> {
        self.routes.as_ref()
    }

    /// What the management side ends with. It does so by itself when the public side has ended.
    pub fn management_shutdown(&self) -> &Shutdown {
        &self.management_shutdown
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What a drain is begun with.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// What replaces the configuration while it runs.
    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// Comes back when every thread that serves has shown that it runs.
    pub fn alive(&self) -> impl AsyncFn() + use<> {
        let handles: Vec<_> = self.threads().map(Serving::handle).collect();
        async move || {
            for handle in &handles {
                // One whose thread has ended: it drains.
                let _ended = handle.spawn(async {}).await;
            }
        }
    }

    fn threads(&self) -> impl Iterator<Item = &Serving> {
        self.public_threads.iter().chain([&self.management_thread])
    }

    /// Waits until the drain, once begun, has ended the public side; then ends the management side.
    pub fn join(self) {
        for thread in self.public_threads {
            thread.join();
        }
        self.management_shutdown.drain();
        self.management_thread.join();
        if let Some(routes) = &self.routes {
            routes.flush();
        }
    }

    /// Drains and waits.
    pub fn stop(self) {
        self.shutdown.drain();
        self.join();
    }
}

fn audit_sink(sink: &AuditSink) -> Result<Box<dyn io::Write + Send>, StartError> {
    match sink {
        AuditSink::Stderr => Ok(Box::new(io::stderr())),
        AuditSink::File(path) => {
            let open = std::fs::OpenOptions::new().append(true).create(true).open(path);
            let mut file =
                open.map_err(|source| StartError::Audit { path: path.display().to_string(), source })?;
            if is_torn(path) {
                // If there is no room for it either, the first record tells.
                _ = io::Write::write_all(&mut file, b"\n");
            }
            Ok(Box::new(file))
        }
    }
}

/// Whether the last line of the file was written in part, as by a disk that was full: the next one must not become a part of
/// it. Of what cannot be read nobody knows.
fn is_torn(path: &Path) -> bool {
    let last = || {
        let mut file =
            std::fs::File::open(path).ok().filter(|file| file.metadata().is_ok_and(|file| file.is_file()))?;
        let mut last = [0];
        io::Seek::seek(&mut file, io::SeekFrom::End(-1)).ok()?;
        io::Read::read_exact(&mut file, &mut last).ok()?;
        Some(last[0])
    };
    last().is_some_and(|last| last != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_an_earlier_process_has_torn_takes_no_other_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        for (before, after) in [("", "{}\n"), ("{}\n", "{}\n{}\n"), ("{\"a", "{\"a\n{}\n")] {
            std::fs::write(&path, before).unwrap();
            let mut sink = audit_sink(&AuditSink::File(path.clone())).unwrap();
            sink.write_all(b"{}\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }
}
