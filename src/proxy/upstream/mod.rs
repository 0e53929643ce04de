//! Connections to the hub and to other servers: for each a pool of its own on each thread, last in, first out.
//!
//! A connection that served a response goes back to the pool when that response's body has ended, and not before; one
//! whose body was cut short is closed.

mod body;
mod connection;
mod hub;
pub(super) mod interim;
mod kept_head;
pub(super) mod limit;
mod pool;
mod target;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::upstream::limit::{ConnectionLimit, Purpose};
use crate::body::{BodyError, RequestBody};
use crate::client_network::Share;
use crate::config::{Limits, UpstreamAddress};
use crate::last_activity::LastActivity;
use crate::metrics::Metrics;
use crate::routes::Health;
use crate::server::fd_budget::{FdBudget, is_shortage};
use crate::server::io::stream::Stream;
use crate::shutdown::Shutdown;
use crate::tls::Connector;
use interim::{ExchangeState, InterimLimiter, TooManyInterim};

use connection::{Connection, KeepAlive};
use kept_head::KeptHead;
use pool::IdleConnections;

pub use body::ResponseBody;
pub use connection::{PooledConnection, SendError};
pub use hub::HubConnection;
pub use target::{RouteError, UpstreamDestination, Upstreams};

/// A connection to the hub as hyper holds it: what an upgrade gives back.
pub type UpstreamIo = TokioIo<InterimLimiter<Stream>>;

/// No response of the hub.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error("connect to upstream {address}: {source}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection failed in mid-exchange.
    #[error("exchange with the upstream: {0}")]
    Exchange(#[source] hyper::Error),
    /// It is one interim response after another.
    #[error("exchange with the upstream: {0}")]
    Interim(#[source] hyper::Error),
    /// A new connection was closed before the request was written.
    #[error("the upstream closed a new connection before the request was sent")]
    Unsent,
    /// The task of the connection is gone, as at the end of a drain.
    #[error("the connection to the upstream was given up: {0}")]
    TaskLost(#[source] hyper::Error),
    /// The client stopped sending the body of its request.
    #[error("nothing of the request's body came for too long")]
    RequestStalled,
    /// The body of the request broke off, or was no body.
    #[error("the request's body: {0}")]
    RequestBroken(#[source] hyper::Error),
    /// All connections that there may be are in use, and stay so.
    #[error("no connection to the upstream became free")]
    Busy,
    /// It took too long.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The routing table does not say where the hub is.
    #[error("the hub has not written its route yet")]
    NoHub,
}

impl UpstreamError {
    /// The same in one word, for the metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Exchange(_) => "exchange",
            Self::Interim(_) => "interim",
            Self::Unsent => "unsent",
            Self::TaskLost(_) => "task_lost",
            Self::RequestStalled | Self::RequestBroken(_) => "request",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::NoHub => "no_hub",
        }
    }
}

impl From<hyper::Error> for UpstreamError {
    fn from(error: hyper::Error) -> Self {
        let source = std::error::Error::source(&error);
        let of_body = source.and_then(|source| source.downcast_ref());
        let of_read = source.and_then(|source| source.downcast_ref());
        match of_body {
            Some(BodyError::Stalled) => Self::RequestStalled,
            None if of_read.is_some_and(TooManyInterim::is_cause_of) => Self::Interim(error),
            Some(BodyError::Broken(_)) => Self::RequestBroken(error),
            None if error.is_canceled() => Self::TaskLost(error),
            None => Self::Exchange(error),
        }
    }
}

/// How long a target that refused a connection is taken to refuse the next ones.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// Where connections go, and how.
#[derive(Debug)]
pub struct Dial {
    /// The machine and port, or the socket.
    pub address: UpstreamAddress,
    /// How it is spoken to.
    pub security: Security,
    /// What all threads know of it; none in front of the hub's own proxy.
    pub health: Option<Arc<Health>>,
}

/// How a server is spoken to.
#[derive(Debug)]
pub enum Security {
    /// In the clear.
    Plain,
    /// Over TLS, and it must prove this.
    Tls(Connector),
    /// Over TLS, but its name can be no certificate's, or there are no authorities to trust: not at all.
    Impossible,
}

/// The pool of one thread for one server.
#[derive(Debug)]
pub struct Upstream {
    dial: Dial,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    connection_limit: ConnectionLimit,
    room: FdBudget,
    idle: Arc<IdleConnections>,
    connections: TaskTracker,
}

/// The most header lines of a response; their bytes are bounded by the size of its head. Some servers send a cookie, or a
/// `Link`, for each of many things.
const HEADER_LINES_MAX: usize = 1000;

impl Upstream {
    /// An empty pool for the server of `dial`.
    pub fn new(
        dial: Dial,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
        connection_limit: ConnectionLimit,
    ) -> Self {
        let connections = TaskTracker::new();
        let (max, timeout) = (limits.upstream_idle_connections, limits.upstream_idle_timeout);
        let idle = Arc::new(IdleConnections::new(max, timeout, connections.clone()));
        Self {
            dial,
            limits,
            metrics,
            shutdown,
            connection_limit,
            room: FdBudget::for_the_hub(),
            idle,
            connections,
        }
    }

    /// Where the server is.
    pub fn address(&self) -> &UpstreamAddress {
        &self.dial.address
    }

    /// An unused connection, or else a new one, for a login.
    pub async fn lease(self: &Arc<Self>) -> Result<PooledConnection, UpstreamError> {
        self.checkout(Purpose::Login).await
    }

    async fn checkout(self: &Arc<Self>, purpose: Purpose) -> Result<PooledConnection, UpstreamError> {
        match self.take_idle() {
            Some(lease) => Ok(lease),
            // Boxed: it is rare, and must not make the state of every request larger.
            None => Box::pin(self.open(purpose)).await,
        }
    }

    /// Sends `request` and returns the response; its connection goes back to the pool by itself. Boxed, because a
    /// request is large and each move of it is a copy.
    ///
    /// A connection that turns out to be stale is tried again, once and on a new one: if the request was not written,
    /// or if it is one without body that may be repeated (RFC 9110 § 9.2.2).
    pub fn send(
        self: &Arc<Self>,
        request: Box<Request<RequestBody>>,
        share: Option<Share>,
        used: Option<LastActivity>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, UpstreamError>> {
        self.exchange(request, share, KeepAlive::Pool, used)
    }

    /// Sends `request`, which asks for another protocol, as [`Self::send`] does; but whatever the response is, its
    /// connection serves nothing else. configurable-http-proxy closes it after a refusal, without a word in the response:
    /// whoever came next would have no response.
    pub fn send_upgrade(
        self: &Arc<Self>,
        request: Box<Request<RequestBody>>,
        share: Option<Share>,
        used: Option<LastActivity>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, UpstreamError>> {
        self.exchange(request, share, KeepAlive::Close, used)
    }

    async fn exchange(
        self: &Arc<Self>,
        request: Box<Request<RequestBody>>,
        share: Option<Share>,
        after: KeepAlive,
        used: Option<LastActivity>,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        let mut lease = self.checkout(Purpose::Request).await?;
        lease.share = share;
        lease.then(after, used.clone());
        if lease.is_reused() && is_repeatable(&request) {
            lease.keep_head();
        }
        let again = match lease.attempt(request).await {
            Ok(answer) => return Ok(lease.release_with(answer)),
            Err(SendError::Unsent(request)) => request,
            Err(SendError::Failed(error)) => {
                // What the hub has answered, however badly, it has been asked.
                let is_unasked = matches!(&error, UpstreamError::Exchange(cause) if !cause.is_parse());
                match lease.kept_request().filter(|_| is_unasked) {
                    Some(request) => Box::new(request),
                    None => return Err(error),
                }
            }
        };
        let share = lease.share.take();
        let mut lease = Box::pin(self.open(Purpose::Request)).await?;
        lease.share = share;
        lease.then(after, used);
        match Box::pin(lease.attempt(again)).await {
            Ok(answer) => Ok(lease.release_with(answer)),
            Err(SendError::Unsent(_)) => Err(UpstreamError::Unsent),
            Err(SendError::Failed(error)) => Err(error),
        }
    }

    /// Counts a tunnel as one of its server's connections, as long as what is returned lives: the connection that it began
    /// on is counted no more. Only the table's servers are counted.
    pub fn count_tunnel(&self) -> Option<OfTarget> {
        self.dial.health.as_ref().map(OfTarget::one_more)
    }

    /// Room for one more tunnel to this server, as long as what is returned lives; none: it has as many as it may. Only the
    /// table's servers have a limit of their own.
    pub fn tunnel_permit(&self) -> Option<TunnelPermit> {
        let permit = TunnelPermit(self.dial.health.clone());
        let max = self.limits.route_tunnels;
        // One too many is given back by the drop.
        if permit.0.as_ref().is_some_and(|target| target.tunnels.fetch_add(1, Ordering::Relaxed) >= max) {
            return None;
        }
        Some(permit)
    }

    /// The connection that was used last.
    fn take_idle(self: &Arc<Self>) -> Option<PooledConnection> {
        let now = Instant::now();
        let connection = self.idle.take(now)?;
        self.metrics.upstream_reused.inc();
        Some(PooledConnection::again(connection, Arc::clone(self), now))
    }

    /// A new connection, for a login.
    pub async fn connect(self: &Arc<Self>) -> Result<PooledConnection, UpstreamError> {
        self.open(Purpose::Login).await
    }

    async fn open(self: &Arc<Self>, purpose: Purpose) -> Result<PooledConnection, UpstreamError> {
        let of_target = match &self.dial.health {
            None => None,
            Some(target) if target.is_refusing() => {
                return Err(self.unconnected(io::ErrorKind::ConnectionRefused.into()));
            }
            Some(target) => {
                let max = purpose.connections_per_server(&self.limits);
                let Some(of_target) = OfTarget::take(target, max) else {
                    self.metrics.upstream_busy.inc();
                    return Err(UpstreamError::Busy);
                };
                Some(of_target)
            }
        };
        let Some(permit) = self.connection_limit.acquire(purpose, &self.limits).await else {
            self.metrics.upstream_busy.inc();
            return Err(UpstreamError::Busy);
        };
        let connecting = async {
            let stream = match &self.dial.address {
                UpstreamAddress::Tcp { host, port } => Stream::connect_tcp(host, *port).await?,
                UpstreamAddress::Unix(path) => Stream::connect_unix(path).await?,
            };
            if !self.room.holds(&stream) {
                return Err(Errno::MFILE.into());
            }
            match &self.dial.security {
                Security::Plain => Ok(stream),
                Security::Tls(connector) => stream.connect_tls(connector).await,
                Security::Impossible => Err(io::ErrorKind::Unsupported.into()),
            }
        };
        let connected = tokio::time::timeout(self.limits.upstream_connect_timeout, connecting).await;
        let stream = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| self.refused(source))?;
        self.metrics.upstream_connections.inc();
        let exchange = ExchangeState::default();
        let head = KeptHead::default();
        let interim_max = self.limits.upstream_interim_answers;
        let answers = InterimLimiter::new(stream, exchange.clone(), head.clone(), interim_max);
        let io: UpstreamIo = TokioIo::new(answers);
        let (sender, connection) = http1::Builder::new().max_headers(HEADER_LINES_MAX).handshake(io).await?;
        // It ends with its sender, which ends with the request that it serves: a drain need not look after it. Boxed: a task
        // is moved several times before it runs.
        self.connections.spawn(Box::pin(async move {
            let _permits = (permit, of_target);
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "upstream connection");
            }
        }));
        Ok(PooledConnection::new(Connection::new(sender, exchange, head), Arc::clone(self)))
    }

    /// Remembers a server that is not there: a thousand requests must not make a thousand attempts.
    fn refused(&self, source: io::Error) -> UpstreamError {
        if let Some(target) = &self.dial.health
            && matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut)
        {
            target.refuses_for(REFUSED_FOR);
        }
        self.unconnected(source)
    }

    fn unconnected(&self, source: io::Error) -> UpstreamError {
        if is_shortage(&source) {
            self.metrics.upstream_busy.inc();
            return UpstreamError::Busy;
        }
        UpstreamError::Connect { address: self.dial.address.to_string(), source }
    }
}

/// One of the connections that a target may have, until it is dropped.
#[derive(Debug)]
pub struct OfTarget(Arc<Health>);

impl OfTarget {
    fn take(target: &Arc<Health>, max: usize) -> Option<Self> {
        let taken = Self(Arc::clone(target));
        // One too many is given back by the drop.
        (target.connections.fetch_add(1, Ordering::Relaxed) < max).then_some(taken)
    }

    /// Whatever there are already.
    fn one_more(target: &Arc<Health>) -> Self {
        target.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(target))
    }
}

impl Drop for OfTarget {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One of the tunnels that a target may have, until it is dropped.
#[derive(Debug)]
pub struct TunnelPermit(Option<Arc<Health>>);

impl Drop for TunnelPermit {
    fn drop(&mut self) {
        if let Some(target) = &self.0 {
            target.tunnels.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn is_repeatable(request: &Request<RequestBody>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && matches!(request.body(), RequestBody::Empty)
}
