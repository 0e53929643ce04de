//! What comes before the first request of a connection: who connects, whether it has a place, TLS. Then it is served.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use super::io::stream::Stream;
use super::{ConnectionInfo, FIRST_REQUEST, Server, Service, Settings, http1, http2, peers, proxy_protocol};

impl Settings {
    /// Serves one connection to its end.
    pub(super) async fn converse(
        &self,
        stream: Stream,
        peer: IpAddr,
        service: impl Service,
        server: &Server,
    ) {
        let shutdown = &server.shutdown;
        let greeted = if self.tls.is_none() && self.proxies.is_none() {
            self.admit(peer, server).map(|place| Preamble { stream, peer, place })
        } else {
            // Boxed: it is over before the first request.
            Box::pin(self.greet(stream, peer, server)).await
        };
        let Preamble { stream, peer, place: _place } = match greeted {
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
    async fn greet(&self, stream: Stream, peer: IpAddr, server: &Server) -> io::Result<Preamble> {
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

    async fn meet(&self, mut stream: Stream, mut peer: IpAddr, server: &Server) -> io::Result<Preamble> {
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
        Ok(Preamble { stream, peer, place })
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
struct Preamble {
    stream: Stream,
    /// Who is at its other end.
    peer: IpAddr,
    /// What it takes of its peer's places; none: it has no limit.
    place: Option<peers::Counted>,
}

fn holds(networks: &[IpNet], peer: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&peer))
}
