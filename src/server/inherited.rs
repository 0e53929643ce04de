//! Listening sockets that a supervisor holds for us (systemd's socket activation, `sd_listen_fds(3)`).
//!
//! They outlive the process: what connects during a restart waits in them and is lost to nobody. The configuration stays
//! the truth: a socket is taken for the listener that has its address, and one that none has is an error.

use std::io;

use socket2::Socket;

use super::address::Address;
use crate::config::Listen;

/// The sockets that are not taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(Address, Socket)>);

impl Inherited {
    /// Those that the environment names. It is changed, so no other thread may run yet.
    pub fn from_environment() -> io::Result<Self> {
        let mut passed = listenfd::ListenFd::from_env();
        let sockets = (0..passed.len()).map(|number| {
            let socket: Option<Socket> = match passed.take_tcp_listener(number) {
                Ok(listener) => listener.map(Socket::from),
                Err(_) => passed.take_unix_listener(number)?.map(Socket::from),
            };
            let socket = socket.ok_or(io::ErrorKind::NotFound)?;
            Ok((address_of(&socket)?, socket))
        });
        sockets.collect::<io::Result<_>>().map(Self)
    }

    /// The socket for `listen`, if there is one.
    pub(super) fn take(&mut self, listen: &Listen) -> Option<Socket> {
        let wanted = match listen {
            Listen::Tcp(address) => Address::Tcp(*address),
            Listen::Unix(path) => Address::Unix(path.clone()),
        };
        let at = self.0.iter().position(|(address, _)| *address == wanted)?;
        Some(self.0.remove(at).1)
    }

    /// The address of one that nobody has taken.
    pub fn left(&self) -> Option<&Address> {
        self.0.first().map(|(address, _)| address)
    }
}

fn address_of(socket: &Socket) -> io::Result<Address> {
    let address = socket.local_addr()?;
    let tcp = address.as_socket().map(Address::Tcp);
    let unix = || address.as_pathname().map(|path| Address::Unix(path.to_owned()));
    tcp.or_else(unix).ok_or_else(|| io::Error::other("a socket without an address or a path"))
}
