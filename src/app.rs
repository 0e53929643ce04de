//! The composition root: builds every part from the configuration, binds, runs and drains.
//!
//! The only place that knows all parts. Each public thread has a runtime, its own sockets and its own connections to
//! the hub; the management listener has a thread of its own, so that it answers whatever the public side suffers.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use futures_util::future::join_all;
use hyper::body::Incoming;
use hyper::{Request, Response};
use socket2::Socket;
use tokio::runtime::Runtime;

use crate::api::{AnswerBody, Api};
use crate::audit::Audit;
use crate::clock::{Clock, SystemClock};
use crate::config::{AuditSink, Config, Limits, Listen};
use crate::hub::{HubClient, SetupError};
use crate::login::assertion::{AssertionError, Signer};
use crate::login::{LoginService, Parts};
use crate::metrics::Metrics;
use crate::proxy::{HubProbe, Proxy, Shared};
use crate::server::listener::{Address, BindError, Bound, Listener};
use crate::server::redirect::Redirect;
use crate::server::{ConnectionInfo, Server, Service};
use crate::shutdown::Shutdown;
use crate::status::{HubState, Status};
use crate::store::{self, OpenError};

/// How long `/ready` waits for the store and the hub.
const READY_PATIENCE: Duration = Duration::from_secs(2);

/// Why hublatch did not start. Nothing is left bound.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The token store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The client of the Hub API cannot be made.
    #[error(transparent)]
    Hub(#[from] SetupError),
    /// The assertion's key is bad.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
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
    /// The public URL is no URL.
    #[error("public.url cannot be used")]
    PublicUrl,
}

/// What a test sets and a process takes from the system.
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub random: Arc<dyn SecureRandom + Send + Sync>,
    /// The audit log; none: as the configuration says.
    pub audit: Option<Box<dyn io::Write + Send>>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock::new()), random: Arc::new(SystemRandom::new()), audit: None }
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
    public_threads: Vec<JoinHandle<()>>,
    management_thread: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

/// Builds and binds everything `config` names, then runs it.
pub fn start(config: &Config, surroundings: Surroundings) -> Result<Running, StartError> {
    let Surroundings { clock, random, audit } = surroundings;
    let metrics = Arc::new(Metrics::new());
    let shutdown = Shutdown::new();
    let store = store::open(&config.store, &clock)?;
    let audit = Arc::new(Audit::new(match audit {
        Some(sink) => sink,
        None => audit_sink(&config.log.audit)?,
    }));
    let parts = Parts {
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        random,
        audit,
        metrics: Arc::clone(&metrics),
    };
    let login = Arc::new(LoginService::new(config, parts).ok_or(StartError::PublicUrl)?);
    let hub = Arc::new(HubClient::new(config, Arc::clone(&metrics))?);
    let signer = config.assertion.as_ref().map(Signer::new).transpose()?;
    let shared = Shared::new(
        config,
        Arc::clone(&login),
        Arc::clone(&hub),
        signer,
        Arc::clone(&metrics),
        shutdown.clone(),
    )
    .map_err(|_| StartError::PublicUrl)?;
    let shared = Arc::new(shared);

    let management_bound = Bound::new(&config.management.listen, 1)?;
    let bind = |listen: &[Listen]| -> Result<Vec<Bound>, BindError> {
        listen.iter().map(|listen| Bound::new(listen, config.public.threads)).collect()
    };
    let public_bound = bind(&config.public.listen)?;
    let redirect_bound = bind(&config.public.redirect_listen)?;
    let management = management_bound.address().clone();
    let addresses = |bound: &[Bound]| bound.iter().map(|bound| bound.address().clone()).collect();
    let (public, redirect) = (addresses(&public_bound), addresses(&redirect_bound));

    let limits = Arc::new(config.limits.clone());
    let server = Server::new(Arc::clone(&limits), Arc::clone(&metrics), shutdown.clone());
    let mut public_threads = Vec::with_capacity(config.public.threads);
    let mut redirects = by_thread(redirect_bound, config.public.threads);
    for (number, sockets) in by_thread(public_bound, config.public.threads).into_iter().enumerate() {
        let pool = Proxy::pool(config, Arc::clone(&limits), &shared);
        let proxy = Proxy::new(Arc::clone(&shared), pool);
        let thread = PublicThread {
            server: server.secured(config.public.tls.clone()),
            redirecting: server.clone(),
            redirect: Redirect::to(&config.public.url.origin),
            limits: Arc::clone(&limits),
            shutdown: shutdown.clone(),
        };
        let name = format!("hublatch-{number}");
        let sockets = [sockets, std::mem::take(&mut redirects[number])];
        public_threads
            .push(spawn(name, sockets, move |runtime, listeners| thread.run(&runtime, listeners, &proxy))?);
    }

    let management_shutdown = Shutdown::new();
    // Its connections count for nothing on the public side, and find room when that one is full.
    let management_server =
        Server::new(Arc::clone(&limits), Arc::new(Metrics::new()), management_shutdown.clone())
            .secured(config.management.tls.clone());
    let probe_pool = Proxy::pool(config, limits, &shared);
    let probe: HubProbe = Proxy::new(shared, probe_pool).probe();
    let status = Status {
        store,
        clock,
        metrics: Arc::clone(&metrics),
        shutdown: shutdown.clone(),
        probe,
        patience: READY_PATIENCE,
        hub: HubState::default(),
    };
    let api = Management(Arc::new(Api::new(config, login, hub, Arc::new(status).pages())));
    let ended = management_shutdown.clone();
    let sockets = [management_bound.into_sockets()];
    let management_thread = spawn("hublatch-management".to_owned(), sockets, move |runtime, [listeners]| {
        runtime.block_on(async {
            for listener in listeners {
                management_server.serve(listener, api.clone()).await;
            }
            ended.finish(Duration::from_secs(1)).await;
        });
    })?;
    Ok(Running {
        public,
        redirect,
        management,
        shutdown,
        management_shutdown,
        public_threads,
        management_thread,
        metrics,
    })
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

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What a drain is begun with.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Waits until the drain, once begun, has ended the public side; then ends the management side.
    pub fn join(self) {
        for thread in self.public_threads {
            // A thread that panicked has told so itself.
            let _joined = thread.join();
        }
        self.management_shutdown.drain();
        let _joined = self.management_thread.join();
    }

    /// Drains and waits.
    pub fn stop(self) {
        self.shutdown.drain();
        self.join();
    }
}

struct PublicThread {
    server: Server,
    redirecting: Server,
    redirect: Redirect,
    limits: Arc<Limits>,
    shutdown: Shutdown,
}

impl PublicThread {
    fn run(&self, runtime: &Runtime, [public, redirect]: [Vec<Listener>; 2], proxy: &Proxy) {
        runtime.block_on(async {
            let public = public.into_iter().map(|listener| self.server.serve(listener, proxy.clone()));
            let redirect =
                redirect.into_iter().map(|listener| self.redirecting.serve(listener, self.redirect.clone()));
            tokio::join!(join_all(public), join_all(redirect));
            self.shutdown.finish(self.limits.drain_timeout).await;
        });
    }
}

/// Starts a thread with a runtime and `sockets` in it, which are of one kind or several. An error of the runtime is the
/// caller's to tell.
fn spawn<const KINDS: usize>(
    name: String,
    sockets: [Vec<Socket>; KINDS],
    run: impl FnOnce(Runtime, [Vec<Listener>; KINDS]) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut listeners = [const { Vec::new() }; KINDS];
    {
        let _entered = runtime.enter();
        for (sockets, listeners) in sockets.into_iter().zip(&mut listeners) {
            *listeners = sockets.into_iter().map(Listener::new).collect::<io::Result<_>>()?;
        }
    }
    std::thread::Builder::new().name(name).spawn(move || run(runtime, listeners))
}

/// The sockets of all listeners, by the thread that serves them.
fn by_thread(bound: Vec<Bound>, threads: usize) -> Vec<Vec<Socket>> {
    let mut by_thread: Vec<Vec<Socket>> = (0..threads).map(|_| Vec::new()).collect();
    for bound in bound {
        for (thread, socket) in by_thread.iter_mut().zip(bound.into_sockets()) {
            thread.push(socket);
        }
    }
    by_thread
}

fn audit_sink(sink: &AuditSink) -> Result<Box<dyn io::Write + Send>, StartError> {
    match sink {
        AuditSink::Stderr => Ok(Box::new(io::stderr())),
        AuditSink::File(path) => {
            let open = std::fs::OpenOptions::new().append(true).create(true).open(path);
            let file =
                open.map_err(|source| StartError::Audit { path: path.display().to_string(), source })?;
            Ok(Box::new(file))
        }
    }
}

/// The API as a service of the accept side.
#[derive(Debug, Clone)]
struct Management(Arc<Api>);

impl Service for Management {
    type Body = AnswerBody;

    async fn answer(&self, connection: ConnectionInfo, request: Request<Incoming>) -> Response<AnswerBody> {
        self.0.answer(Some(connection.peer), request).await
    }
}
