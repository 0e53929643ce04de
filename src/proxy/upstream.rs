//! Connections to the hub: a pool of their own for each thread, last in, first out.
//!
//! A connection that served an answer goes back to the pool when that answer's body has ended, and not before; one
//! whose body was cut short is closed.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio_util::task::TaskTracker;

use super::interim::{Answers, Awaited, TooManyInterim};
use super::places::Places;
use super::stream::EventStream;
use crate::body::{BodyError, PieceError, Pieces, Progress, RequestBody};
use crate::config::{Config, Limits, Upstream as Address};
use crate::deadline::Deadline;
use crate::metrics::{Metrics, Stripe};
use crate::server::room::{Room, is_shortage};
use crate::server::stream::Stream;
use crate::shutdown::Shutdown;
use crate::tls::Connector;

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
    reused: Stripe,
    shutdown: Shutdown,
    places: Places,
    room: Room,
    // One thread only ever takes it: the lock is for the type, and costs an uncontended exchange.
    idle: Mutex<Vec<Idle>>,
    connections: TaskTracker,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    awaited: Awaited,
    deadline: Deadline,
    since: Instant,
}

/// A connection that came back this recently is not taken for stale: the hub's side closes only what has been idle.
const FRESH: Duration = Duration::from_secs(1);

/// A connection, taken for one exchange or several in a row.
#[derive(Debug)]
pub struct Lease {
    sender: SendRequest<RequestBody>,
    /// Tells the other end of `sender` of each request.
    awaited: Awaited,
    pool: Arc<Upstream>,
    age: Age,
    /// The body of the last request, if it was streamed.
    sending: Option<Progress>,
    /// Bounds each wait for a head, with one timer for the whole life of the connection.
    deadline: Deadline,
}

/// What a connection was before it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    New,
    /// Idle for a moment.
    Fresh,
    /// Idle for so long that the hub may have closed it.
    Stale,
}

impl Upstream {
    /// An empty pool for the hub of `config`.
    pub fn new(
        config: &Config,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
        places: Places,
    ) -> Self {
        let address = config.hub.upstream.clone();
        let tls = config.hub.tls.clone();
        Self {
            address,
            tls,
            limits,
            reused: metrics.upstream_reused.stripe(),
            metrics,
            shutdown,
            places,
            room: Room::for_the_hub(),
            idle: Mutex::default(),
            connections: TaskTracker::new(),
        }
    }

    /// An unused connection, or else a new one.
    pub async fn lease(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        match self.take_idle() {
            Some(lease) => Ok(lease),
            // Boxed: it is rare, and must not make the state of every request larger.
            None => Box::pin(self.connect()).await,
        }
    }

    /// Sends `request` and returns the answer; its connection goes back to the pool by itself. By reference, because a
    /// request is large and each move of it is a copy; what is left of it is empty.
    ///
    /// A connection that turns out to be stale is tried again, once and on a new one: if the request was not written,
    /// or if it is one without body that may be repeated (RFC 9110 § 9.2.2).
    pub async fn send(
        self: &Arc<Self>,
        request: &mut Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        let mut lease = self.lease().await?;
        let spare = (lease.age == Age::Stale && is_repeatable(request)).then(|| Box::new(copy(request)));
        match lease.attempt(request).await {
            Ok(answer) => return Ok(lease.release_with(answer)),
            Err(Attempt::Unsent) => {}
            Err(Attempt::Failed(error)) => match spare {
                Some(spare) if !matches!(error, UpstreamError::Timeout) => *request = *spare,
                _ => return Err(error),
            },
        }
        let mut lease = Box::pin(self.connect()).await?;
        match Box::pin(lease.attempt(request)).await {
            Ok(answer) => Ok(lease.release_with(answer)),
            Err(Attempt::Unsent) => Err(UpstreamError::Timeout),
            Err(Attempt::Failed(error)) => Err(error),
        }
    }

    /// The connection that was used last.
    fn take_idle(self: &Arc<Self>) -> Option<Lease> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(last) = idle.pop() {
            let unused = last.since.elapsed();
            if unused > self.limits.upstream_idle_timeout {
                // The last to come back is too old, so all the others are.
                idle.clear();
                return None;
            }
            if !last.sender.is_closed() {
                self.reused.inc();
                let Idle { sender, awaited, deadline, .. } = last;
                return Some(Lease {
                    sender,
                    awaited,
                    pool: Arc::clone(self),
                    age: if unused > FRESH { Age::Stale } else { Age::Fresh },
                    sending: None,
                    deadline,
                });
            }
        }
        None
    }

    /// A new connection.
    pub async fn connect(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        let Some(place) = self.places.take(&self.limits).await else {
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
        let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(answers)).await?;
        // It ends with its sender, which ends with the request that it serves: a drain need not look after it.
        self.connections.spawn(async move {
            let _place = place;
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "upstream connection");
            }
        });
        let pool = Arc::clone(self);
        Ok(Lease { sender, awaited, pool, age: Age::New, sending: None, deadline: Deadline::default() })
    }

    fn unconnected(&self, source: io::Error) -> UpstreamError {
        if is_shortage(&source) {
            self.metrics.upstream_busy.inc();
            return UpstreamError::Busy;
        }
        UpstreamError::Connect { address: self.address.to_string(), source }
    }
}

/// How an attempt failed.
enum Attempt {
    /// Not a byte was written, and the request is where it was.
    Unsent,
    /// It was, perhaps in part.
    Failed(UpstreamError),
}

impl Lease {
    /// Sends `request`, once. Bounded by the time from the end of the request to the head of the answer.
    pub async fn send_once(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        match self.attempt(&mut request).await {
            Ok(answer) => Ok(answer),
            Err(Attempt::Failed(error)) => Err(error),
            Err(Attempt::Unsent) => {
                let source = io::ErrorKind::ConnectionAborted.into();
                Err(UpstreamError::Connect { address: self.pool.address.to_string(), source })
            }
        }
    }

    /// Whether it served an exchange before: then it may be stale.
    pub fn is_reused(&self) -> bool {
        self.age != Age::New
    }

    /// Waits until the connection can take another request; an error if it never will.
    pub async fn ready(&mut self) -> Result<(), UpstreamError> {
        self.sender.ready().await.map_err(UpstreamError::from)
    }

    async fn attempt(&mut self, request: &mut Request<RequestBody>) -> Result<Response<Incoming>, Attempt> {
        let limit = self.pool.limits.upstream_head_timeout;
        let progress = match request.body() {
            RequestBody::Streamed(body) => Some(body.progress().clone()),
            RequestBody::Empty | RequestBody::Whole(_) => None,
        };
        self.sending.clone_from(&progress);
        if self.sender.ready().await.is_err() {
            return Err(Attempt::Unsent);
        }
        self.awaited.begin();
        let Self { sender, deadline, .. } = self;
        let sent = std::mem::replace(request, Request::new(RequestBody::Empty));
        let answer = pin!(sender.try_send_request(sent));
        match within(deadline, limit, progress, answer).await {
            None => Err(Attempt::Failed(UpstreamError::Timeout)),
            Some(Ok(answer)) => Ok(answer),
            Some(Err(mut error)) => Err(match error.take_message() {
                Some(unsent) => {
                    *request = unsent;
                    Attempt::Unsent
                }
                None => Attempt::Failed(error.into_error().into()),
            }),
        }
    }

    /// Ties the connection to the body of its answer.
    pub fn release_with(self, mut answer: Response<Incoming>) -> Response<ResponseBody> {
        // The version is each hop's own (RFC 9110 § 2.5).
        *answer.version_mut() = Version::HTTP_11;
        let status = answer.status();
        answer.map(|incoming| {
            if status == StatusCode::SWITCHING_PROTOCOLS {
                // It is the tunnel's now.
                ResponseBody::Whole(Bytes::new())
            } else if incoming.is_end_stream() {
                self.release();
                ResponseBody::Whole(Bytes::new())
            } else {
                ResponseBody::Upstream { incoming, lease: Some(self) }
            }
        })
    }

    /// Gives the connection back; the answer of its last exchange has been read to the end.
    pub fn release(self) {
        let Self { sender, awaited, pool, sending, deadline, .. } = self;
        // An answer can end before its request does (413, 403): such a connection is not fit for another.
        let sent = sending.is_none_or(|body| body.has_ended());
        if !sent || sender.is_closed() || pool.shutdown.is_draining() {
            return;
        }
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < pool.limits.upstream_idle_connections {
            idle.push(Idle { sender, awaited, deadline, since: Instant::now() });
        }
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

/// Waits for `future`, at most `limit` after it was begun or the request's body has last moved.
async fn within<F: Future + Unpin>(
    deadline: &mut Deadline,
    limit: Duration,
    progress: Option<Progress>,
    mut future: F,
) -> Option<F::Output> {
    deadline.progress();
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        let over = match &progress {
            None => deadline.poll(cx, limit),
            Some(progress) => deadline.poll_until(cx, (progress.last() + limit).into()),
        };
        over.map(|()| None)
    })
    .await
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

/// The body of an answer: the hub's, as it comes, or one of ours.
#[derive(Debug)]
pub enum ResponseBody {
    /// Ours, or none.
    Whole(Bytes),
    /// Ours, piece by piece.
    Pieces(Pieces),
    /// The hub's.
    Upstream {
        /// What comes.
        incoming: Incoming,
        /// The connection it comes over, until it has come.
        lease: Option<Lease>,
    },
    /// The hub's, until the session of its user ends.
    EventStream(Box<EventStream>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = PieceError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PieceError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Pieces(pieces) => Pin::new(pieces).poll_frame(cx),
            Self::Upstream { incoming, lease } => {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                // With an error the answer is aborted and the connection with it: the lease is dropped, not released.
                let ended = frame.is_none() || (matches!(frame, Some(Ok(_))) && incoming.is_end_stream());
                if ended && let Some(lease) = lease.take() {
                    lease.release();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Self::EventStream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pieces(pieces) => pieces.is_end_stream(),
            Self::Upstream { incoming, .. } => incoming.is_end_stream(),
            Self::EventStream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(pieces) => pieces.size_hint(),
            Self::Upstream { incoming, .. } => incoming.size_hint(),
            Self::EventStream(stream) => stream.size_hint(),
        }
    }
}
