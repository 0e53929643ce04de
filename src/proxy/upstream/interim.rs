//! The bytes that come from a server, the hub or a notebook, with a bound on interim responses (1xx, RFC 9110 § 15.2), and
//! those that go there.
//!
//! hyper passes over any number of them, and over all that have come at once: a train without end would keep its thread
//! busy for as long as a response is waited for. Here they are counted before hyper sees them.
//!
//! A server may refuse a request before it has read its body, and close at once, as Tornado and so JupyterHub does: its
//! system then resets the connection, because there are bytes that nobody has read. hyper gives up at the first write that
//! fails, and at a reset after the head. The response is there all the same, so here such a write only goes nowhere, and
//! behind the head of an error such a reset is the end (RFC 9112 § 9.5: a client should read the response that came before
//! the connection failed).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::kept_head::KeptHead;
use crate::server::io::read_gate::ReadGate;

/// Where the status of a response begins: behind `HTTP/1.1 `.
const STATUS_AT: usize = 9;

/// The server sends one interim response after another.
#[derive(Debug, thiserror::Error)]
#[error("more than {0} interim answers (limits.upstream_interim_answers)")]
pub struct TooManyInterim(usize);

impl TooManyInterim {
    /// Whether this is why a read failed.
    pub fn is_cause_of(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(cause) if cause.is::<Self>())
    }
}

/// What a pooled connection and its stream tell each other.
#[derive(Debug, Clone, Default)]
pub struct ExchangeState(Arc<ExchangeFlags>);

#[derive(Debug, Default)]
struct ExchangeFlags {
    /// The head of a response is awaited: from before the request until that head begins.
    awaits_head: AtomicBool,
    /// The request has a body that comes piece by piece.
    streams: AtomicBool,
    /// The server has closed: what is written goes nowhere.
    takes_nothing: AtomicBool,
}

impl ExchangeState {
    /// A request is about to be sent; with a body that comes piece by piece, if it `streams`.
    pub fn begin(&self, streams: bool) {
        self.0.awaits_head.store(true, Ordering::Relaxed);
        self.0.streams.store(streams, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.awaits_head.store(false, Ordering::Relaxed);
    }

    fn awaits_head(&self) -> bool {
        self.0.awaits_head.load(Ordering::Relaxed)
    }

    fn streams(&self) -> bool {
        self.0.streams.load(Ordering::Relaxed)
    }

    /// The server has closed.
    pub(super) fn lose(&self) {
        self.0.takes_nothing.store(true, Ordering::Relaxed);
    }

    /// Whether the server has closed, and what is written goes nowhere: hyper may not know yet.
    pub fn takes_nothing(&self) -> bool {
        self.0.takes_nothing.load(Ordering::Relaxed)
    }
}

/// The stream of a connection to the hub or a notebook.
#[derive(Debug)]
pub struct InterimLimiter<T> {
    stream: ReadGate<T>,
    head: KeptHead,
    /// Nothing has been written since the last flush.
    is_flushed: bool,
    exchange: ExchangeState,
    place: HeadPosition,
    /// Interim responses before the one that is awaited.
    passed: usize,
    max: usize,
    /// The last final response is an error.
    is_refusal: bool,
}

/// What the next byte belongs to while a head is awaited.
#[derive(Debug, Clone, Copy)]
enum HeadPosition {
    /// The beginning of a head, of which so much has been read.
    Begin(usize),
    /// The rest of a status that begins with 1; `middle`: with 10, so that it may be 101.
    Status { middle: bool },
    /// The rest of an interim response; whether nothing of its line has come.
    Interim { blank: bool },
}

impl<T> InterimLimiter<T> {
    /// `stream`, on which at most `max` interim responses may come before a final one; what is written as a head is kept
    /// in `head`, if that is wanted.
    pub fn new(stream: T, exchange: ExchangeState, head: KeptHead, max: usize) -> Self {
        let stream = ReadGate::new(stream);
        Self {
            stream,
            head,
            is_flushed: true,
            exchange,
            place: HeadPosition::Begin(0),
            passed: 0,
            max,
            is_refusal: false,
        }
    }

    /// The bare stream, for a tunnel.
    pub fn into_inner(self) -> T {
        self.stream.into_inner()
    }

    /// Looks at what has been read. Heads end as hyper lets them end, with or without CR. A 101 is a final response here:
    /// what comes after it is no HTTP.
    fn count(&mut self, bytes: &[u8]) -> Result<(), TooManyInterim> {
        // Nearly always: a final response, whose status is there at once.
        if let (HeadPosition::Begin(0), Some(b'H'), Some(&class @ b'2'..=b'5')) =
            (self.place, bytes.first(), bytes.get(STATUS_AT))
        {
            self.exchange.end();
            self.is_refusal = class >= b'4';
            self.passed = 0;
            return Ok(());
        }
        for &byte in bytes {
            self.place = match (self.place, byte) {
                // Empty lines before a head are passed over.
                (HeadPosition::Begin(0), b'\r' | b'\n') => HeadPosition::Begin(0),
                (HeadPosition::Begin(STATUS_AT), b'1') => HeadPosition::Status { middle: false },
                (HeadPosition::Status { middle: false }, b'0') => HeadPosition::Status { middle: true },
                (HeadPosition::Begin(STATUS_AT), _) | (HeadPosition::Status { middle: true }, b'1') => {
                    self.exchange.end();
                    self.is_refusal = matches!(byte, b'4' | b'5');
                    (self.place, self.passed) = (HeadPosition::Begin(0), 0);
                    return Ok(());
                }
                (HeadPosition::Begin(read), _) => HeadPosition::Begin(read + 1),
                (HeadPosition::Interim { blank: true }, b'\n') => {
                    self.passed += 1;
                    if self.passed > self.max {
                        return Err(TooManyInterim(self.max));
                    }
                    HeadPosition::Begin(0)
                }
                (HeadPosition::Interim { blank }, b'\r') => HeadPosition::Interim { blank },
                (HeadPosition::Status { .. } | HeadPosition::Interim { .. }, _) => {
                    HeadPosition::Interim { blank: byte == b'\n' }
                }
            };
        }
        Ok(())
    }

    /// Whether there is the head of an error for a request that may not have been read to its end.
    fn is_refused(&self) -> bool {
        self.is_refusal && !self.exchange.awaits_head() && self.exchange.streams()
    }

    /// The result of a write that was `written`: all bytes, if the server has closed, as if it had taken them.
    #[inline]
    fn or_nowhere(&mut self, written: io::Result<usize>, all: impl Fn() -> usize) -> io::Result<usize> {
        match written {
            Err(error) if is_closed(&error) => {
                self.exchange.lose();
                Ok(all())
            }
            written => written,
        }
    }
}

/// Whether the other side has closed the connection, so that reading it has an end.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl<T: AsyncRead + Unpin> AsyncRead for InterimLimiter<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match ready!(Pin::new(&mut this.stream).poll_read(cx, buf)) {
            Err(error) if is_closed(&error) && this.is_refused() => {}
            read => read?,
        }
        // The system tells of a reset once, and a write may have heard of it: what ends here is not whole all the same.
        let is_over = buf.filled().len() == before && buf.remaining() > 0;
        if is_over && this.exchange.takes_nothing() && !this.is_refused() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if this.exchange.awaits_head() {
            this.count(&buf.filled()[before..]).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for InterimLimiter<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.head.note(&[io::IoSlice::new(buf)], !this.is_flushed);
        this.is_flushed = false;
        if this.exchange.takes_nothing() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf));
        Poll::Ready(this.or_nowhere(written, || buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.head.note(bufs, !this.is_flushed);
        this.is_flushed = false;
        let all = || bufs.iter().map(|buf| buf.len()).sum();
        if this.exchange.takes_nothing() {
            return Poll::Ready(Ok(all()));
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs));
        Poll::Ready(this.or_nowhere(written, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls it when it has nothing left to write.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.is_flushed = true;
        if this.exchange.takes_nothing() {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut this.stream).poll_flush(cx)).map(|()| 0);
        Poll::Ready(this.or_nowhere(flushed, || 0).map(|_| ()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server that has said something and closed, of which a write learns first.
    struct ClosingServer(&'static [u8]);

    impl AsyncRead for ClosingServer {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for ClosingServer {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Sends a body to a server that has `said` so much and closed; what is read then.
    async fn read(said: &'static str) -> (String, io::Result<usize>) {
        let exchange = ExchangeState::default();
        assert!(!exchange.takes_nothing());
        let mut stream =
            InterimLimiter::new(ClosingServer(said.as_bytes()), exchange.clone(), KeptHead::default(), 5);
        exchange.begin(true);
        stream.write_all(b"PUT / HTTP/1.1\r\n\r\n").await.expect("it goes nowhere");
        assert!(exchange.takes_nothing(), "its pool is told, before hyper knows");
        let mut text = String::new();
        let end = stream.read_to_string(&mut text).await;
        (text, end)
    }

    #[tokio::test]
    async fn a_refusal_is_whole_when_the_server_has_closed() {
        let said = "HTTP/1.1 413 Content Too Large\r\n\r\nno";
        let (text, end) = read(said).await;
        assert_eq!((text.as_str(), end.expect("an end")), (said, said.len()));
    }

    #[tokio::test]
    async fn no_other_response_and_none_at_all_is_whole_then() {
        for said in ["HTTP/1.1 200 OK\r\n\r\nhalf", ""] {
            let (text, end) = read(said).await;
            assert!(end.is_err(), "{text}");
        }
    }
}
