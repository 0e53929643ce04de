//! Connections to the hub: a pool of their own for each thread, last in, first out.
//!
//! A connection that served an answer goes back to the pool when that answer's body has ended, and not before; one
//! whose body was cut short is closed.

mod body;
mod connection;
pub(super) mod interim;
pub(super) mod limit;
mod pool;
mod waker_filter;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::upstream::limit::ConnectionLimit;
use crate::body::{BodyError, RequestBody};
use crate::config::{Config, Limits, Upstream as Address};
use crate::metrics::Metrics;
use crate::server::fd_budget::{FdBudget, is_shortage};
use crate::server::io::stream::Stream;
use crate::shutdown::Shutdown;
use crate::tls::Connector;
use interim::{Answers, Awaited, TooManyInterim};

use connection::{Connection, ConnectionAge, KeepAlive, SendError};
use pool::Idle;
use waker_filter::WakeFilter;

pub use body::ResponseBody;
pub use connection::PooledConnection;

/// A connection to the hub as hyper holds it: what an upgrade gives back.
pub type UpstreamIo = TokioIo<Answers<Stream>>;

/// No answer of the hub.
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
    /// It is one interim answer after another.
    #[error("exchange with the upstream: {0}")]
    Interim(#[source] hyper::Error),
    /// The client stopped sending the body of its request.
    #[error("nothing of the request's body came for too long")]
    RequestStalled,
    /// All connections that there may be are in use, and stay so.
    #[error("no connection to the upstream became free")]
    Busy,
    /// It took too long.
    #[error("the upstream did not answer in time")]
    Timeout,
}

impl UpstreamError {
    /// The same in one word, for the metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Exchange(_) => "exchange",
            Self::Interim(_) => "interim",
            Self::RequestStalled => "request",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
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
            Some(BodyError::Broken(_)) | None => Self::Exchange(error),
        }
    }
}

/// The pool of one thread.
#[derive(Debug)]
pub struct Upstream {
    address: Address,
    tls: Option<Connector>,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    connection_limit: ConnectionLimit,
    room: FdBudget,
    idle: Arc<Idle>,
    connections: TaskTracker,
}

/// A connection that came back this recently is not taken for stale: the hub's side closes only what has been idle.
const FRESH: Duration = Duration::from_secs(1);

impl Upstream {
    /// An empty pool for the hub of `config`.
    pub fn new(
        config: &Config,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
        connection_limit: ConnectionLimit,
    ) -> Self {
        let address = config.hub.upstream.clone();
        let tls = config.hub.tls.clone();
        let connections = TaskTracker::new();
        let (max, timeout) = (limits.upstream_idle_connections, limits.upstream_idle_timeout);
        let idle = Arc::new(Idle::new(max, timeout, connections.clone()));
        Self {
            address,
            tls,
            limits,
            metrics,
            shutdown,
            connection_limit,
            room: FdBudget::for_the_hub(),
            idle,
            connections,
        }
    }

    /// An unused connection, or else a new one.
    pub async fn lease(self: &Arc<Self>) -> Result<PooledConnection, UpstreamError> {
        match self.take_idle() {
            Some(lease) => Ok(lease),
            // Boxed: it is rare, and must not make the state of every request larger.
            None => Box::pin(self.connect()).await,
        }
    }

    /// Sends `request` and returns the answer; its connection goes back to the pool by itself. Boxed, because a
    /// request is large and each move of it is a copy.
    ///
    /// A connection that turns out to be stale is tried again, once and on a new one: if the request was not written,
    /// or if it is one without body that may be repeated (RFC 9110 § 9.2.2).
    pub fn send(
        self: &Arc<Self>,
        request: Box<Request<RequestBody>>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, UpstreamError>> {
        self.exchange(request, KeepAlive::Pool)
    }

    /// Sends `request`, which asks for another protocol, as [`Self::send`] does; but whatever the answer is, its
    /// connection serves nothing else. configurable-http-proxy closes it after a refusal, without a word in the answer:
    /// whoever came next would have no answer.
    pub fn send_upgrade(
        self: &Arc<Self>,
        request: Box<Request<RequestBody>>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, UpstreamError>> {
        self.exchange(request, KeepAlive::Close)
    }

    async fn exchange(
        self: &Arc<Self>,
        request: Box<Request<RequestBody>>,
        after: KeepAlive,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        let mut lease = self.lease().await?;
        lease.then(after);
        let spare = (lease.age() == ConnectionAge::Stale && is_repeatable(&request))
            .then(|| Box::new(copy(&request)));
        let again = match lease.attempt(request).await {
            Ok(answer) => return Ok(lease.release_with(answer)),
            Err(SendError::Unsent(request)) => request,
            Err(SendError::Failed(error)) => match spare {
                Some(spare) if !matches!(error, UpstreamError::Timeout) => spare,
                _ => return Err(error),
            },
        };
        let mut lease = Box::pin(self.connect()).await?;
        lease.then(after);
        match Box::pin(lease.attempt(again)).await {
            Ok(answer) => Ok(lease.release_with(answer)),
            Err(SendError::Unsent(_)) => Err(UpstreamError::Timeout),
            Err(SendError::Failed(error)) => Err(error),
        }
    }

    /// The connection that was used last.
    fn take_idle(self: &Arc<Self>) -> Option<PooledConnection> {
        let now = Instant::now();
        let (connection, unused) = self.idle.take(now)?;
        self.metrics.upstream_reused.inc();
        let age = if unused > FRESH { ConnectionAge::Stale } else { ConnectionAge::Fresh };
        Some(PooledConnection::again(connection, Arc::clone(self), now, age))
    }

    /// A new connection.
    pub async fn connect(self: &Arc<Self>) -> Result<PooledConnection, UpstreamError> {
        let Some(place) = self.connection_limit.take(&self.limits).await else {
            self.metrics.upstream_busy.inc();
            return Err(UpstreamError::Busy);
        };
        let connecting = async {
            let stream = match &self.address {
                Address::Tcp { host, port } => Stream::connect_tcp(host, *port).await?,
                Address::Unix(path) => Stream::connect_unix(path).await?,
            };
            if !self.room.holds(&stream) {
                return Err(Errno::MFILE.into());
            }
            match &self.tls {
                None => Ok(stream),
                Some(connector) => stream.connect_tls(connector).await,
            }
        };
        let connected = tokio::time::timeout(self.limits.upstream_connect_timeout, connecting).await;
        let stream = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| self.unconnected(source))?;
        self.metrics.upstream_connections.inc();
        let awaited = Awaited::default();
        let answers = Answers::new(stream, awaited.clone(), self.limits.upstream_interim_answers);
        let io: UpstreamIo = TokioIo::new(answers);
        let (sender, connection) = http1::Builder::new().handshake(io).await?;
        let bell = Arc::new(WakeFilter::default());
        let attended = Arc::clone(&bell).attend(connection.with_upgrades());
        // It ends with its sender, which ends with the request that it serves: a drain need not look after it.
        self.connections.spawn(async move {
            let _place = place;
            if let Err(error) = attended.await {
                tracing::debug!(%error, "upstream connection");
            }
        });
        Ok(PooledConnection::new(Connection::new(sender, awaited, bell), Arc::clone(self)))
    }

    fn unconnected(&self, source: io::Error) -> UpstreamError {
        if is_shortage(&source) {
            self.metrics.upstream_busy.inc();
            return UpstreamError::Busy;
        }
        UpstreamError::Connect { address: self.address.to_string(), source }
    }
}

impl std::fmt::Display for Address {
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

/// A second copy of a request without body.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
