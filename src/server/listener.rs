//! Bound sockets: one for each thread on the same address, so that no thread waits for another.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::address::Address;
use super::inherited::Inherited;
use super::io::stream::Stream;
use crate::config::Listen;

/// What may lie unsent in the kernel for one connection before it takes more: else a browser on a slow line would look
/// like one that does not read (`limits.write_stall_timeout`), while megabytes wait for it.
const UNSENT_BYTES: u32 = 128 * 1024;
/// Connections that the kernel keeps ready for us.
const BACKLOG: i32 = 4096;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}: {source}")]
pub struct BindError {
    address: Address,
    source: io::Error,
}

impl BindError {
    /// Whether somebody else listens on this TCP port.
    pub fn is_taken(&self, port: u16) -> bool {
        let is_there = matches!(self.address, Address::Tcp(address) if address.port() == port);
        is_there && self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// How sockets are bound, beside their addresses.
#[derive(Debug, Clone, Default)]
pub struct BindOptions {
    /// The permissions of unix sockets.
    pub socket_mode: u32,
    /// Ports that the configuration also names with an address of IPv4: there, `[::]` is for IPv6 alone. Everywhere else it
    /// is for both.
    pub ipv4_ports: Vec<u16>,
}

impl BindOptions {
    /// For listeners beside `all` those of the configuration.
    pub fn beside<'a>(all: impl Iterator<Item = &'a Listen>, socket_mode: u32) -> Self {
        let ipv4 = |listen: &Listen| match listen {
            Listen::Tcp(address) if address.is_ipv4() && address.port() != 0 => Some(address.port()),
            Listen::Tcp(_) | Listen::Unix(_) => None,
        };
        Self { socket_mode, ipv4_ports: all.filter_map(ipv4).collect() }
    }
}

/// The sockets of one address, not yet in a runtime.
#[derive(Debug)]
pub struct Bound {
    address: Address,
    sockets: Vec<Socket>,
}

impl Bound {
    /// Binds `threads` sockets to `listen`, unless one that is bound to it was `inherited`.
    pub fn new(
        listen: &Listen,
        threads: usize,
        options: &BindOptions,
        inherited: &mut Inherited,
    ) -> Result<Self, BindError> {
        let inherited = inherited.take(listen);
        let (address, sockets) = match (listen, inherited) {
            (Listen::Tcp(address), Some(socket)) => (Address::Tcp(*address), share(&socket, threads)),
            (Listen::Unix(path), Some(socket)) => (Address::Unix(path.clone()), share(&socket, threads)),
            (Listen::Tcp(address), None) => {
                let only_v6 = options.ipv4_ports.contains(&address.port());
                (Address::Tcp(*address), bind_tcp(*address, threads, only_v6))
            }
            (Listen::Unix(path), None) => {
                (Address::Unix(path.clone()), bind_unix(path, threads, options.socket_mode))
            }
        };
        let sockets = sockets.map_err(|source| BindError { address: address.clone(), source })?;
        let address = match (address, sockets.first().and_then(|socket| socket.local_addr().ok())) {
            (Address::Tcp(asked), Some(bound)) => Address::Tcp(bound.as_socket().unwrap_or(asked)),
            (address, _) => address,
        };
        Ok(Self { address, sockets })
    }

    /// Where it is bound.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The sockets, one for each thread.
    pub fn into_sockets(self) -> Vec<Socket> {
        self.sockets
    }
}

fn bind_tcp(address: SocketAddr, threads: usize, only_v6: bool) -> io::Result<Vec<Socket>> {
    // SO_REUSEPORT would let a second hublatch share the port in silence, and with it the logins. So the address is
    // first taken without it, which fails if anybody listens there, and the sockets are made after that.
    let probe = tcp_socket(address, only_v6)?;
    probe.bind(&address.into())?;
    let taken = probe.local_addr()?;
    drop(probe);
    (0..threads)
        .map(|_| {
            let socket = tcp_socket(address, only_v6)?;
            socket.set_reuse_port(true)?;
            socket.bind(&taken)?;
            socket.listen(BACKLOG)?;
            Ok(socket)
        })
        .collect()
}

fn tcp_socket(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // Said in so many words, because the system's default is an administrator's choice (net.ipv6.bindv6only).
        socket.set_only_v6(only_v6)?;
    }
    Ok(socket)
}

fn bind_unix(path: &Path, threads: usize, mode: u32) -> io::Result<Vec<Socket>> {
    // A socket file outlives its process. Nobody answers on a stale one; anything else at that path is not ours.
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // Nobody is accepted before `listen`, so nobody came in by the umask's mode.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    share(&socket, threads)
}

/// One socket for all threads.
fn share(socket: &Socket, threads: usize) -> io::Result<Vec<Socket>> {
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    (0..threads).map(|_| socket.try_clone()).collect()
}

/// A socket in a runtime.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix domain socket.
    Unix(UnixListener),
}

impl Listener {
    /// Enters `socket` into the present runtime.
    pub fn new(socket: Socket) -> io::Result<Self> {
        if socket.domain()? == Domain::UNIX {
            let listener: std::os::unix::net::UnixListener = socket.into();
            UnixListener::from_std(listener).map(Self::Unix)
        } else {
            TcpListener::from_std(socket.into()).map(Self::Tcp)
        }
    }

    /// The next connection and the address of its peer; a unix peer counts as this machine.
    pub async fn accept(&self) -> io::Result<(Stream, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Without it, only slow browsers fare worse.
                let _set = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
                Ok((Stream::from_tcp(stream), peer.ip().to_canonical()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}
