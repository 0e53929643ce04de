//! What happens before the first request of a connection: the PROXY header, the limit per peer, the TLS handshake. Then
//! the connection is served.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::io::stream::Stream;
use super::{
    ConnectionInfo, FIRST_REQUEST, RESERVED_TIMEOUT, Server, Service, Settings, http1, http2, proxy_protocol,
};
use crate::client_network::Share;
use crate::config::Limits;

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
        // All that is over before the first request is kept out of this future: each connection has one for all its life.
        let begun = self.begun(if self.tls.is_none() && self.proxies.is_none() {
            self.admit(peer, server).map(|admitted| Preamble { stream, peer, admitted })
        } else {
            // Boxed: its state is not needed any more when the first request comes.
            Box::pin(self.preamble(stream, peer, server)).await
        });
        let (stream, info, limits, _permit) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                tracing::debug!(%error, %peer, "connection refused before its first request");
                return;
            }
        };
        let (peer, limits) = (info.peer, &*limits);
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

    /// What a connection is served with.
    fn begun(&self, preamble: io::Result<Preamble>) -> io::Result<ConnectionParts> {
        let Preamble { stream, peer, admitted } = preamble?;
        let (limits, permit) = match admitted {
            Admitted::Freely => (Arc::clone(&self.limits), None),
            Admitted::WithinLimit(share) => (Arc::clone(&self.limits), Some(share)),
            Admitted::AboveLimit(share) => (Arc::new(brief(&self.limits)), Some(share)),
        };
        Ok((stream, Arc::new(ConnectionInfo::new(peer)), limits, permit))
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
        let admitted = self.admit(peer, server)?;
        if let Some(acceptor) = &self.tls {
            stream = stream
                .accept_tls(acceptor)
                .await
                .inspect_err(|_| server.count_handshake("failed", "", ""))?;
            let protocol = if stream.speaks_http2() { "h2" } else { "http/1.1" };
            server.count_handshake("ok", stream.tls_version(), protocol);
        }
        Ok(Preamble { stream, peer, admitted })
    }

    /// Counts the connection against its peer's limit; an error if the peer has too many.
    fn admit(&self, peer: IpAddr, server: &Server) -> io::Result<Admitted> {
        if holds(&self.trusted, peer) {
            return Ok(Admitted::Freely);
        }
        if let Some(share) = server.peers.try_acquire(peer, self.limits.connections_per_peer) {
            return Ok(Admitted::WithinLimit(share));
        }
        // The reserve is one for all peers.
        let everybody = IpAddr::from([0; 4]);
        if let Some(share) = server.reserved.try_acquire(everybody, self.reserve) {
            return Ok(Admitted::AboveLimit(share));
        }
        server.refuse("peer_limit");
        Err(io::Error::other("the peer has too many connections"))
    }
}

/// A connection that is ready for its first request.
struct Preamble {
    stream: Stream,
    /// The client's address.
    peer: IpAddr,
    admitted: Admitted,
}

/// With what a connection is served: its bytes, its peer, its limits, and its share of what the peer may have.
type ConnectionParts = (Stream, Arc<ConnectionInfo>, Arc<Limits>, Option<Share>);

/// How a connection stands to its peer's limit.
enum Admitted {
    /// The peer has none.
    Freely,
    /// It counts against it.
    WithinLimit(Share),
    /// It counts against the reserve.
    AboveLimit(Share),
}

/// The limits of a connection of the reserve.
fn brief(limits: &Limits) -> Limits {
    Limits {
        idle_timeout: RESERVED_TIMEOUT,
        head_timeout: RESERVED_TIMEOUT,
        body_stall_timeout: RESERVED_TIMEOUT,
        ..limits.clone()
    }
}

fn holds(networks: &[IpNet], peer: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&peer))
}
