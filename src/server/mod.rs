//! The accept side, for any service: sockets, TLS, limits, HTTP/1.1 and HTTP/2, drain.
//!
//! Knows nothing of logins or of the hub. The public listeners and the management listener are both of this kind.

pub mod address;
pub mod fd_budget;
pub mod framing;
mod http1;
mod http2;
mod in_flight_body;
pub mod inherited;
pub mod io;
pub mod listener;
mod preamble;
pub mod proxy_protocol;
pub mod redirect;
pub mod reloadable;

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

use crate::client_network::ClientShares;
use crate::config::Limits;
use crate::metrics::{Counted, HandshakeLabels, Metrics, Reason, ReasonLabel};
use crate::shutdown::Shutdown;
use crate::tls::Acceptor;

use fd_budget::{AcceptPauses, Cause, FdBudget};
use io::http1_io::ActiveRequests;
use io::stream::Stream;
use listener::Listener;

pub use http1::DownstreamIo;

/// How long a connection without a request may yet bring its first one when a drain begins.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How long a connection above the limits may be without a request, or within one's head or body.
const RESERVED_TIMEOUT: Duration = Duration::from_secs(1);

/// What a request may know of its connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The address of the peer; a unix peer counts as 127.0.0.1.
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
    /// The body of a response.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// Answers one request. Boxed, because a request is large and each move of it is a copy.
    fn call(
        &self,
        connection: Arc<ConnectionInfo>,
        request: Box<Request<Incoming>>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// What all listeners of one kind share, across all threads.
#[derive(Debug, Clone)]
pub struct Server {
    settings: Arc<ArcSwap<Settings>>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    open: Arc<AtomicUsize>,
    peers: ClientShares,
    /// Connections above the limits.
    reserved: ClientShares,
    descriptors: FdBudget,
    pauses: AcceptPauses,
}

/// What the configuration says of a server's connections. Each connection keeps the settings that were in force when it
/// began.
#[derive(Debug)]
pub struct Settings {
    /// The limits.
    pub limits: Arc<Limits>,
    /// The TLS acceptor; none: plain text.
    pub tls: Option<Acceptor>,
    /// The only peers that may connect: proxies that name the client by the PROXY protocol; none: no PROXY protocol.
    pub proxies: Option<Vec<IpNet>>,
    /// How many connections are served above `limits.connections`; and how many, of all peers together, above
    /// `limits.connections_per_peer`. Those above the limit of a peer are closed after `RESERVED_TIMEOUT` without a request,
    /// so that a peer that only holds connections does not shut out a health check from its own address.
    pub reserve: usize,
    /// Proxies that connect on behalf of many clients: no limit per peer applies to them.
    pub trusted: Vec<IpNet>,
}

impl Server {
    /// A server that ends with `shutdown` and whose connections may use `descriptors`.
    pub fn new(settings: Settings, metrics: Arc<Metrics>, shutdown: Shutdown, descriptors: FdBudget) -> Self {
        Self {
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            pauses: AcceptPauses::new(Arc::clone(&metrics)),
            metrics,
            shutdown,
            open: Arc::default(),
            peers: ClientShares::default(),
            reserved: ClientShares::default(),
            descriptors,
        }
    }

    /// A server with its own settings that shares the limit on connections with this one.
    #[must_use]
    pub fn beside(&self, settings: Settings) -> Self {
        Self { settings: Arc::new(ArcSwap::from_pointee(settings)), ..self.clone() }
    }

    /// The settings of new connections.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Replaces the settings of new connections.
    pub fn set(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Accepts on `listener` until the drain begins; connections go on as tasks of their own.
    pub async fn serve(&self, listener: Listener, service: impl Service) {
        let mut draining = pin!(self.shutdown.draining());
        // One for all connections.
        let server = Arc::new(self.clone());
        let mut pause: Option<Cause> = None;
        loop {
            let next = async {
                if let Some(cause) = &pause {
                    self.pauses.pause(self.descriptors, &listener, cause).await;
                }
                listener.accept().await
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                () = &mut draining => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = (!self.descriptors.holds(&stream)).then_some(Cause::FewDescriptors);
                    server.accept(stream, peer, service.clone());
                }
                Err(error) => {
                    tracing::debug!(%error, "accept");
                    // A peer that has gone already is no reason to make the next one wait.
                    pause = (error.kind() != std::io::ErrorKind::ConnectionAborted).then(|| error.into());
                }
            }
        }
    }

    fn accept(self: &Arc<Self>, stream: Stream, peer: IpAddr, service: impl Service) {
        let permit = ConnectionPermit::count(&self.open);
        let settings = self.settings();
        if permit.number > settings.limits.connections.saturating_add(settings.reserve) {
            self.refuse("limit");
            return;
        }
        self.metrics.connections_accepted.inc();
        let counted = Counted::new(&self.metrics.connections);
        let server = Arc::clone(self);
        self.shutdown.spawn(async move {
            settings.serve_connection(stream, peer, service, &server).await;
            drop((permit, counted));
        });
    }

    fn refuse(&self, reason: &'static str) {
        self.metrics.connections_refused.get_or_create(&ReasonLabel { reason: Reason(reason) }).inc();
    }

    fn count_handshake(&self, result: &'static str, version: &'static str, protocol: &'static str) {
        let labels =
            HandshakeLabels { result: Reason(result), version: Reason(version), protocol: Reason(protocol) };
        self.metrics.handshakes.get_or_create(&labels).inc();
    }
}

/// Resolves when a connection should accept no further requests. A client that has just connected has its first request
/// on the way and would take the end of the connection for a failure, so it gets a moment more.
async fn drain_begins(shutdown: &Shutdown, active: &ActiveRequests) {
    shutdown.draining().await;
    if !active.have_begun() {
        tokio::time::sleep(FIRST_REQUEST).await;
    }
}

/// Counts one open connection until it is dropped.
#[derive(Debug)]
struct ConnectionPermit {
    open: Arc<AtomicUsize>,
    number: usize,
}

impl ConnectionPermit {
    /// One more, whatever there are already: whoever asks judges by the number.
    fn count(open: &Arc<AtomicUsize>) -> Self {
        let number = open.fetch_add(1, Ordering::Relaxed) + 1;
        Self { open: Arc::clone(open), number }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
