//! The byte stream of one downstream connection: checked by [`Framing`], with a timeout on every wait.
//!
//! Timeouts live here and not in the parser because only here is known what is being waited for: the next request,
//! the rest of a head, the rest of a body, or a peer that does not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::write_timeout::WriteTimeout;
use crate::config::Limits;
use crate::deadline::Deadline;
use crate::server::framing::{Framing, Phase};

/// How long each wait may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    idle: Duration,
    head: Duration,
    body: Duration,
    write: Duration,
}

impl Timeouts {
    /// The downstream timeouts of `[limits]`.
    pub fn new(limits: &Limits) -> Self {
        Self {
            idle: limits.idle_timeout,
            head: limits.head_timeout,
            body: limits.body_stall_timeout,
            write: limits.write_stall_timeout,
        }
    }
}

/// The lowest bit of [`ActiveRequests`]: there has been one. The others count.
const BEGUN: usize = 1;
const ONE: usize = 2;

/// Counts the requests that a connection is busy with, each until its response has been sent.
#[derive(Debug, Clone, Default)]
pub struct ActiveRequests(Arc<AtomicUsize>);

impl ActiveRequests {
    /// Counts one until the guard is dropped.
    pub fn begin(&self) -> ActiveRequest {
        self.0.fetch_add(ONE, Ordering::Relaxed);
        if !self.have_begun() {
            self.0.fetch_or(BEGUN, Ordering::Relaxed);
        }
        ActiveRequest(self.clone())
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= ONE
    }

    /// Whether there has ever been one.
    pub fn have_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed) & BEGUN != 0
    }
}

/// Counts one request until it is dropped.
#[derive(Debug)]
pub struct ActiveRequest(ActiveRequests);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.0.fetch_sub(ONE, Ordering::Relaxed);
    }
}

/// A stream whose requests are checked by [`Framing`] and whose waits all end.
#[derive(Debug)]
pub struct Http1Io<T> {
    stream: WriteTimeout<T>,
    framing: Framing,
    timeouts: Timeouts,
    active: ActiveRequests,
    reading: Deadline,
    /// Whether the end of a head was fed to the parser after a refused request.
    closed_head: bool,
    /// Whether the peer may send something yet: it has not ended, and was not given up.
    may_send: bool,
    closing: Closing,
}

/// How far the end of a connection is.
#[derive(Debug)]
enum Closing {
    /// Our side is not closed.
    Open,
    /// It is; what the peer still sends is read and forgotten.
    Lingering { since: Instant, left: usize },
}

/// How long a peer may go on sending after our last response: it may look for the response only when it has sent all.
const LINGER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may pause meanwhile.
const LINGER_PAUSE: Duration = Duration::from_secs(5);
/// How much it may send meanwhile.
const LINGER_BYTES: usize = 256 * 1024 * 1024;

impl<T> Http1Io<T> {
    /// Wraps `stream`, of which nothing has been read.
    pub fn new(stream: T, timeouts: Timeouts, active: ActiveRequests) -> Self {
        Self {
            stream: WriteTimeout::new(stream, timeouts.write),
            framing: Framing::new(),
            timeouts,
            active,
            reading: Deadline::default(),
            closed_head: false,
            may_send: true,
            closing: Closing::Open,
        }
    }

    /// The bare stream, for a tunnel.
    pub fn into_inner(self) -> T {
        self.stream.into_inner()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Http1Io<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let phase = this.framing.phase();
        if phase == Phase::Refused {
            // The parser looks at a head that came in pieces only when it sees its end.
            if !this.closed_head && buf.remaining() >= 4 {
                this.closed_head = true;
                buf.put_slice(b"\r\n\r\n");
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Poll::Ready(read) = read {
            this.may_send = read.is_ok() && buf.filled().len() > before;
            read?;
            let heads = this.framing.heads();
            this.framing.judge(&mut buf.filled_mut()[before..]);
            // A head is one wait, from its first byte to its last: sending it drop by drop gains no time.
            let same_head = phase == Phase::Head && this.framing.heads() == heads;
            if !same_head {
                this.reading.progress();
            }
            return Poll::Ready(Ok(()));
        }
        let limit = match phase {
            Phase::Head => this.timeouts.head,
            Phase::Body => this.timeouts.body,
            Phase::Idle if !this.active.any() => this.timeouts.idle,
            // While a request is answered its connection may be silent for as long as the response takes.
            Phase::Idle | Phase::Opaque | Phase::Refused => {
                this.reading.progress();
                return Poll::Pending;
            }
        };
        ready!(this.reading.poll(cx, limit));
        this.may_send = false;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer sent nothing for too long")))
    }
}

impl<T> Http1Io<T> {
    /// The parser's last read happened while the response was under way, so no timer was set. The response has been sent
    /// now, so the wait for the next request begins.
    fn flushed(&mut self, cx: &mut Context<'_>) {
        if self.framing.phase() == Phase::Idle && !self.active.any() {
            self.reading.progress();
            let _not_yet = self.reading.poll(cx, self.timeouts.idle);
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Http1Io<T> {
    /// Whether the peer is in the middle of something that nobody reads any more.
    fn is_cut_short(&self) -> bool {
        self.may_send && self.framing.phase() != Phase::Idle
    }

    /// RFC 9112 § 9.6: a connection that is closed while there is something unread is reset, and the reset may overtake our
    /// response. So our side is closed alone, and the peer's is read to its end, within bounds.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Closing::Lingering { since, mut left } = self.closing else { return Poll::Ready(()) };
        let mut scratch = [0; 16 * 1024];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && left > 0 => {
                    left = left.saturating_sub(buf.filled().len());
                    self.reading.progress();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        self.closing = Closing::Lingering { since, left };
        let end = since + LINGER_TIMEOUT;
        let pause = LINGER_PAUSE.min(end.saturating_duration_since(Instant::now()));
        self.reading.poll(cx, pause)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Http1Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.flushed(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.closing, Closing::Open) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.is_cut_short() {
                return Poll::Ready(Ok(()));
            }
            this.reading.progress();
            this.closing = Closing::Lingering { since: Instant::now(), left: LINGER_BYTES };
        }
        this.poll_linger(cx).map(Ok)
    }
}
