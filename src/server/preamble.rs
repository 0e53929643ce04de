//! What happens before the first request of a connection: the PROXY header, the limit per peer, the TLS handshake. Then
//! the connection is served.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use super::io::stream::Stream;
use super::{ConnectionInfo, FIRST_REQUEST, Server, Service, Settings, http1, http2, proxy_protocol};
use crate::client_network::Share;

impl Settings {
    /// Serves one connection to its end.
    pub(super) async fn serve_connection(
        &self,
        stream: Stream,
        peer: IpAddr,
        service: impl Service,
        server: &Server,
    ) {
        let shutdown = &server.shutdown;
        let preamble = if self.tls.is_none() && self.proxies.is_none() {
            self.admit(peer, server).map(|permit| Preamble { stream, peer, permit })
        } else {
            // Boxed: its state is not needed any more when the first request comes.
            Box::pin(self.preamble(stream, peer, server)).await
        };
        let Preamble { stream, peer, permit: _permit } = match preamble {
            Ok(preamble) => preamble,
            Err(error) => {
                tracing::debug!(%error, %peer, "connection refused before its first request");
                return;
            }
        };
        let info = ConnectionInfo::new(peer);
        let limits = &*self.limits;
        let ended = if stream.speaks_http2() {
            // Boxed, so that a connection of HTTP/1.1 stays as small as it is.
            Box::pin(http2::serve_connection(stream, info, service, limits, shutdown)).await
        } else {
            http1::serve_connection(stream, info, service, limits, shutdown).await
        };
        if let Err(error) = ended {
            // Mostly the peer's doing: of interest only to somebody who looks for it.
            tracing::debug!(%error, %peer, "connection");
        }
    }

    /// The preamble, bounded by `handshake_timeout` and by a drain.
    async fn preamble(&self, stream: Stream, peer: IpAddr, server: &Server) -> io::Result<Preamble> {
        let handshake =
            tokio::time::timeout(self.limits.handshake_timeout, self.handshake(stream, peer, server));
        let drained = async {
            server.shutdown.draining().await;
            tokio::time::sleep(FIRST_REQUEST).await;
        };
        let preamble = tokio::select! {
            preamble = handshake => preamble,
            () = drained => return Err(io::ErrorKind::Interrupted.into()),
        };
        preamble.unwrap_or_else(|_| {
            if self.tls.is_some() {
                server.count_handshake("timeout", "", "");
            }
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    async fn handshake(&self, mut stream: Stream, mut peer: IpAddr, server: &Server) -> io::Result<Preamble> {
        if let Some(proxies) = &self.proxies {
            if !holds(proxies, peer) {
                return Err(io::Error::other(
                    "the peer is no trusted proxy, and public.proxy_protocol is on",
                ));
            }
            peer = proxy_protocol::read(&mut stream).await?.unwrap_or(peer);
        }
        // Before the handshake, which is the expensive part of an attack.
        let permit = self.admit(peer, server)?;
        if let Some(acceptor) = &self.tls {
            stream = stream
                .accept_tls(acceptor)
                .await
                .inspect_err(|_| server.count_handshake("failed", "", ""))?;
            let protocol = if stream.speaks_http2() { "h2" } else { "http/1.1" };
            server.count_handshake("ok", stream.tls_version(), protocol);
        }
        Ok(Preamble { stream, peer, permit })
    }

    /// Counts the connection against its peer's limit; an error if the peer has too many.
    fn admit(&self, peer: IpAddr, server: &Server) -> io::Result<Option<Share>> {
        if holds(&self.trusted, peer) {
            return Ok(None);
        }
        let permit = server.peers.try_acquire(peer, self.limits.connections_per_peer);
        if permit.is_none() {
            server.refuse("peer_limit");
            return Err(io::Error::other("the peer has too many connections"));
        }
        Ok(permit)
    }
}

/// A connection that is ready for its first request.
struct Preamble {
    stream: Stream,
    /// The client's address.
    peer: IpAddr,
    /// Counts it against its peer's limit; none: the peer has no limit.
    permit: Option<Share>,
}

fn holds(networks: &[IpNet], peer: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&peer))
}
