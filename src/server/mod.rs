//! The accept side, for any service: sockets, limits, HTTP/1.1, drain.
//!
//! Knows nothing of logins or of the hub. The public listeners and the management listener are both of this kind.

pub mod framing;
pub mod listener;
pub mod stream;
pub mod wire;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::config::Limits;
use crate::metrics::{Counted, Metrics};
use crate::shutdown::Shutdown;

use listener::Listener;
use stream::Stream;
use wire::{Exchange, Exchanges, Patience, Wire};

/// How long accepting rests when the process is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A downstream connection as hyper holds it: what an upgrade gives back.
pub type DownstreamIo = TokioIo<Wire<Stream>>;

/// What a request may ask of its connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Who is at the other end; a unix peer counts as 127.0.0.1.
    pub peer: IpAddr,
    /// The same as a header value, made once for all requests.
    pub peer_value: HeaderValue,
}

impl ConnectionInfo {
    fn new(peer: IpAddr) -> Self {
        let text = HeaderValue::from_str(&peer.to_string());
        // An address is always a header value.
        let peer_value = text.unwrap_or_else(|_| HeaderValue::from_static("0.0.0.0"));
        Self { peer, peer_value }
    }
}

/// Answers requests.
pub trait Service: Clone + Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// Answers one request.
    fn answer(
        &self,
        connection: ConnectionInfo,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// What all listeners of one kind share, over all threads.
#[derive(Debug, Clone)]
pub struct Server {
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    open: Arc<AtomicUsize>,
}

impl Server {
    /// A server that ends with `shutdown`.
    pub fn new(limits: Arc<Limits>, metrics: Arc<Metrics>, shutdown: Shutdown) -> Self {
        Self { limits, metrics, shutdown, open: Arc::default() }
    }

    /// Accepts on `listener` until the drain begins; connections go on as tasks of their own.
    pub async fn serve(&self, listener: Listener, service: impl Service) {
        let mut draining = pin!(self.shutdown.draining());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut draining => return,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer, service.clone()),
                Err(error) => {
                    // Out of descriptors, or a peer that was gone before it was accepted.
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(&self, stream: Stream, peer: IpAddr, service: impl Service) {
        let place = Place::take(&self.open);
        if place.number > self.limits.connections {
            self.metrics.connections_refused.inc();
            return;
        }
        let counted = Counted::new(&self.metrics.connections);
        let server = self.clone();
        self.shutdown.spawn(async move {
            server.converse(stream, ConnectionInfo::new(peer), service).await;
            drop((place, counted));
        });
    }

    /// Serves one connection to its end.
    async fn converse(&self, stream: Stream, info: ConnectionInfo, service: impl Service) {
        let exchanges = Exchanges::default();
        let io = TokioIo::new(Wire::new(stream, Patience::new(&self.limits), exchanges.clone()));
        let peer = info.peer;
        let answer = service_fn(move |request: Request<Incoming>| {
            let (service, info, exchange) = (service.clone(), info.clone(), exchanges.begin());
            async move {
                let asks_upgrade = request.headers().contains_key(UPGRADE);
                let mut response = service.answer(info, request).await;
                // What follows such a request is not judged (framing.rs), so unless the protocol changes nothing may
                // follow it.
                if asks_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Attended { body, _exchange: exchange }))
            }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.max_header_size(self.limits.head_bytes);
        if self.limits.head_count != Limits::default().head_count {
            // hyper keeps its own default (100) on the stack.
            http.max_headers(self.limits.head_count);
        }
        let mut connection = pin!(http.serve_connection(io, answer).with_upgrades());
        let mut draining = pin!(self.shutdown.draining());
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = &mut draining => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended,
                    () = self.shutdown.deadline() => return,
                }
            }
        };
        if let Err(error) = ended {
            // The peer's doing, mostly; counted by nobody and of interest only when looked for.
            tracing::debug!(%error, %peer, "connection");
        }
    }
}

/// One of the places for connections, until it is dropped.
#[derive(Debug)]
struct Place {
    open: Arc<AtomicUsize>,
    number: usize,
}

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        let number = open.fetch_add(1, Ordering::Relaxed) + 1;
        Self { open: Arc::clone(open), number }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that keeps its exchange open until it has been sent or dropped.
struct Attended<B> {
    body: B,
    _exchange: Exchange,
}

impl<B: Body + Unpin> Body for Attended<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
