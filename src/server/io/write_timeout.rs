//! A stream that does not wait without end for a peer that reads nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::read_gate::ReadGate;
use crate::deadline::Deadline;

/// A downstream connection whose writes end in time.
#[derive(Debug)]
pub struct WriteTimeout<T> {
    stream: ReadGate<T>,
    stall: Duration,
    writing: Deadline,
}

impl<T> WriteTimeout<T> {
    /// Wraps `stream`, whose peer may take nothing for `stall` at most.
    pub fn new(stream: T, stall: Duration) -> Self {
        Self { stream: ReadGate::new(stream), stall, writing: Deadline::default() }
    }

    /// The bare stream.
    pub fn into_inner(self) -> T {
        self.stream.into_inner()
    }

    fn written<N>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<N>>) -> Poll<io::Result<N>> {
        if written.is_ready() {
            self.writing.progress();
            return written;
        }
        ready!(self.writing.poll(cx, self.stall));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer read nothing for too long")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteTimeout<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.written(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.written(cx, ended)
    }
}
