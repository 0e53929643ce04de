//! A connected byte stream, TCP or unix, plain or encrypted, downstream or upstream.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::tls::{Acceptor, Connector, Secured, carrier, speaks_http2, version};

/// A small head and its body are copied together: `send` of one piece costs less than `writev` of two.
const JOINED_BYTES_MAX: usize = 4096;

thread_local! {
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix domain socket.
    Unix(UnixStream),
    /// One of the two, encrypted. Boxed, so that a plain one stays as small as it is.
    Tls(Box<Secured<Stream>>),
}

impl Stream {
    /// Connects to `host`, a name or an address. A name is resolved anew for each connection.
    pub async fn connect_tcp(host: &str, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        Ok(Self::from_tcp(stream))
    }

    /// Connects to a unix socket.
    pub async fn connect_unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).await.map(Self::Unix)
    }

    /// Shakes hands as the server. Boxed, as the connection waits here for its peer alone.
    pub async fn accept_tls(self, acceptor: &Acceptor) -> io::Result<Self> {
        Box::pin(acceptor.accept(self)).await.map(|stream| Self::Tls(Box::new(stream)))
    }

    /// Shakes hands as the client.
    pub async fn connect_tls(self, connector: &Connector) -> io::Result<Self> {
        Box::pin(connector.connect(self)).await.map(|stream| Self::Tls(Box::new(stream)))
    }

    /// Whether HTTP/2 was agreed on.
    pub fn speaks_http2(&self) -> bool {
        match self {
            Self::Tls(stream) => speaks_http2(stream),
            Self::Tcp(_) | Self::Unix(_) => false,
        }
    }

    /// The version of TLS; empty in the clear.
    pub fn tls_version(&self) -> &'static str {
        match self {
            Self::Tls(stream) => version(stream),
            Self::Tcp(_) | Self::Unix(_) => "",
        }
    }

    /// Takes over a TCP connection. Small writes must not wait: kernel messages are small.
    pub fn from_tcp(stream: TcpStream) -> Self {
        // It fails only on a connection that is already gone, and that the next read will tell.
        let _set = stream.set_nodelay(true);
        Self::Tcp(stream)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => carrier(stream).as_fd(),
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Tls($stream) => {
                let $stream = &mut **$stream;
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match bufs {
            [one] => self.poll_write(cx, one),
            // One cipher makes one piece of them anyway.
            _ if matches!(*self, Self::Tls(_))
                || bufs.iter().map(|buf| buf.len()).sum::<usize>() > JOINED_BYTES_MAX =>
            {
                each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
            }
            _ => JOINED.with_borrow_mut(|joined| {
                joined.clear();
                for buf in bufs {
                    joined.extend_from_slice(buf);
                }
                self.poll_write(cx, joined)
            }),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
