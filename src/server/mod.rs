//! The accept side, for any service: sockets, TLS, limits, HTTP/1.1 and HTTP/2, drain.
//!
//! Knows nothing of logins or of the hub. The public listeners and the management listener are both of this kind.

mod attended;
pub mod current;
pub mod frames;
pub mod framing;
mod http1;
mod http2;
pub mod inherited;
pub mod listener;
mod peers;
pub mod proxy_protocol;
pub mod redirect;
pub mod stream;
pub mod wire;

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::body::{Body, Incoming};
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use ipnet::IpNet;

use crate::config::Limits;
use crate::metrics::{Counted, HandshakeLabels, Metrics, Reason, ReasonLabel};
use crate::shutdown::Shutdown;
use crate::tls::Acceptor;

use listener::Listener;
use peers::Peers;
use stream::Stream;
use wire::Exchanges;

pub use http1::DownstreamIo;

/// How long accepting rests when the process is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection without a request may yet bring its first one when a drain begins.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

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
    settings: Arc<ArcSwap<Settings>>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    open: Arc<AtomicUsize>,
    peers: Peers,
}

/// What the configuration says of a server's connections: each is served to its end by what was in force when it began.
#[derive(Debug)]
pub struct Settings {
    /// The limits.
    pub limits: Arc<Limits>,
    /// With what they are encrypted; none: not at all.
    pub tls: Option<Acceptor>,
    /// Proxies that say by the PROXY protocol who connects, and without whom nobody does; none: peers speak for
    /// themselves.
    pub proxies: Option<Vec<IpNet>>,
    /// Proxies that connect for many.
    pub trusted: Vec<IpNet>,
}

impl Server {
    /// A server that ends with `shutdown`.
    pub fn new(settings: Settings, metrics: Arc<Metrics>, shutdown: Shutdown) -> Self {
        Self {
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            metrics,
            shutdown,
            open: Arc::default(),
            peers: Peers::default(),
        }
    }

    /// A server of its own settings that shares the limit on connections with this one.
    #[must_use]
    pub fn beside(&self, settings: Settings) -> Self {
        Self { settings: Arc::new(ArcSwap::from_pointee(settings)), ..self.clone() }
    }

    /// What is in force for new connections.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Other settings for the connections to come.
    pub fn set(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
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
        let settings = self.settings();
        if place.number > settings.limits.connections {
            self.refuse("limit");
            return;
        }
        self.metrics.connections_accepted.inc();
        let counted = Counted::new(&self.metrics.connections);
        let server = self.clone();
        self.shutdown.spawn(async move {
            settings.converse(stream, peer, service, &server).await;
            drop((place, counted));
        });
    }

    fn refuse(&self, reason: &'static str) {
        self.metrics.connections_refused.get_or_create(&ReasonLabel { reason: Reason(reason) }).inc();
    }

    fn shaken(&self, result: &'static str, version: &'static str, protocol: &'static str) {
        let labels =
            HandshakeLabels { result: Reason(result), version: Reason(version), protocol: Reason(protocol) };
        self.metrics.handshakes.get_or_create(&labels).inc();
    }
}

impl Settings {
    /// Serves one connection to its end.
    async fn converse(&self, stream: Stream, peer: IpAddr, service: impl Service, server: &Server) {
        let shutdown = &server.shutdown;
        let greeted = if self.tls.is_none() && self.proxies.is_none() {
            self.admit(peer, server).map(|place| Greeted { stream, peer, place })
        } else {
            // Boxed: it is over before the first request.
            Box::pin(self.greet(stream, peer, server)).await
        };
        let Greeted { stream, peer, place: _place } = match greeted {
            Ok(greeted) => greeted,
            Err(error) => {
                tracing::debug!(%error, %peer, "greeting");
                return;
            }
        };
        let info = ConnectionInfo::new(peer);
        let limits = &*self.limits;
        let ended = if stream.speaks_http2() {
            // Boxed, so that a connection of HTTP/1.1 stays as small as it is.
            Box::pin(http2::converse(stream, info, service, limits, shutdown)).await
        } else {
            http1::converse(stream, info, service, limits, shutdown).await
        };
        if let Err(error) = ended {
            // The peer's doing, mostly; counted by nobody and of interest only when looked for.
            tracing::debug!(%error, %peer, "connection");
        }
    }

    /// What comes before the first request, for as long as the limit and the drain allow.
    async fn greet(&self, stream: Stream, peer: IpAddr, server: &Server) -> io::Result<Greeted> {
        let greeting = tokio::time::timeout(self.limits.handshake_timeout, self.meet(stream, peer, server));
        let drained = async {
            server.shutdown.draining().await;
            tokio::time::sleep(FIRST_REQUEST).await;
        };
        let greeted = tokio::select! {
            greeted = greeting => greeted,
            () = drained => return Err(io::ErrorKind::Interrupted.into()),
        };
        greeted.unwrap_or_else(|_| {
            if self.tls.is_some() {
                server.shaken("timeout", "", "");
            }
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    async fn meet(&self, mut stream: Stream, mut peer: IpAddr, server: &Server) -> io::Result<Greeted> {
        if let Some(proxies) = &self.proxies {
            if !holds(proxies, peer) {
                return Err(io::Error::other(
                    "the peer is no trusted proxy, and public.proxy_protocol is on",
                ));
            }
            peer = proxy_protocol::read(&mut stream).await?.unwrap_or(peer);
        }
        // Before the handshake, which is what an attack costs most.
        let place = self.admit(peer, server)?;
        if let Some(acceptor) = &self.tls {
            stream = stream.accept_tls(acceptor).await.inspect_err(|_| server.shaken("failed", "", ""))?;
            let protocol = if stream.speaks_http2() { "h2" } else { "http/1.1" };
            server.shaken("ok", stream.tls_version(), protocol);
        }
        Ok(Greeted { stream, peer, place })
    }

    /// Counts the connection as its peer's; an error if it has too many.
    fn admit(&self, peer: IpAddr, server: &Server) -> io::Result<Option<peers::Counted>> {
        if holds(&self.trusted, peer) {
            return Ok(None);
        }
        let place = server.peers.count(peer, self.limits.connections_per_peer);
        if place.is_none() {
            server.refuse("peer_limit");
            return Err(io::Error::other("the peer has too many connections"));
        }
        Ok(place)
    }
}

/// A connection whose first request may come.
struct Greeted {
    stream: Stream,
    /// Who is at its other end.
    peer: IpAddr,
    /// What it takes of its peer's places; none: it has no limit.
    place: Option<peers::Counted>,
}

fn holds(networks: &[IpNet], peer: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&peer))
}

/// Resolves when a connection is to bring no further requests. Who has just connected has one on its way, and would take
/// the end of the connection for a failure.
async fn goodbye(shutdown: &Shutdown, exchanges: &Exchanges) {
    shutdown.draining().await;
    if !exchanges.have_begun() {
        tokio::time::sleep(FIRST_REQUEST).await;
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
