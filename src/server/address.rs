//! Where a listener is bound.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a listener is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP, with the port that was picked for port 0.
    Tcp(SocketAddr),
    /// Unix domain socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
