//! A stream that is read only when there may be something to read.
//!
//! hyper polls for bytes several times for each request, mostly in vain: each poll would go down to the socket, and
//! through TLS where there is one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::through::write_through;
use crate::poll_on_wake::WakeFlag;

/// A stream whose pending reads are repeated only after they were woken.
#[derive(Debug)]
pub struct ReadGate<T> {
    stream: T,
    reading: WakeFlag,
}

impl<T> ReadGate<T> {
    /// Wraps `stream`.
    pub fn new(stream: T) -> Self {
        Self { stream, reading: WakeFlag::default() }
    }

    /// The bare stream.
    pub fn into_inner(self) -> T {
        self.stream
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadGate<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, reading } = self.get_mut();
        let Some(waker) = reading.due(cx) else { return Poll::Pending };
        let read = Pin::new(stream).poll_read(&mut Context::from_waker(waker), buf);
        if read.is_ready() {
            reading.wake();
        }
        read
    }
}

write_through!(ReadGate, stream);
