//! Tunnels: what a connection becomes after a 101 (WebSocket), each one counted, tracked and bounded in idleness.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::upstream::UpstreamIo;
use crate::dormant::Dormant;
use crate::metrics::Counted;
use crate::server::DownstreamIo;
use crate::server::stream::Stream;
use crate::shutdown::Shutdown;

/// What is read at once. It is the thread's, not the tunnel's: an idle tunnel holds no buffer.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

/// Every tunnel of the process, by the hub session it belongs to.
#[derive(Debug, Clone)]
pub struct Tunnels {
    sessions: Arc<Mutex<Sessions>>,
    open: Gauge,
}

/// By number, so that one goes without a look at the others: anybody can write any session into a request.
#[derive(Debug, Default)]
struct Sessions {
    by_session: HashMap<String, HashMap<u64, CancellationToken>>,
    next: u64,
}

/// A tunnel's entry, from before the request is sent until the tunnel ends: a session that is ended in between
/// leaves none behind.
#[derive(Debug)]
pub struct Registered {
    sessions: Arc<Mutex<Sessions>>,
    of: Vec<String>,
    number: u64,
    closed: CancellationToken,
}

impl Tunnels {
    /// None yet; `open` counts them.
    pub fn new(open: Gauge) -> Self {
        Self { sessions: Arc::default(), open }
    }

    /// Registers a tunnel that a request with these hub sessions asks for.
    pub fn register(&self, mut of: Vec<String>) -> Registered {
        of.sort_unstable();
        of.dedup();
        let closed = CancellationToken::new();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let number = sessions.next;
        sessions.next += 1;
        for session in &of {
            sessions.by_session.entry(session.clone()).or_default().insert(number, closed.clone());
        }
        Registered { sessions: Arc::clone(&self.sessions), of, number, closed }
    }

    /// Closes every tunnel of `session`, and those whose handshake is under way.
    pub fn close_session(&self, session: &str) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let tunnels = sessions.by_session.remove(session);
        drop(sessions);
        for tunnel in tunnels.into_iter().flat_map(HashMap::into_values) {
            tunnel.cancel();
        }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        usize::try_from(self.open.get()).unwrap_or(0)
    }

    /// Counts one open tunnel until it is dropped.
    pub fn count(&self) -> Counted {
        Counted::new(&self.open)
    }
}

impl Registered {
    /// Waits for the end of the session.
    pub fn closed(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for session in &self.of {
            if let Some(tunnels) = sessions.by_session.get_mut(session) {
                tunnels.remove(&self.number);
                if tunnels.is_empty() {
                    sessions.by_session.remove(session);
                }
            }
        }
    }
}

/// Carries bytes both ways until one side fails, both have ended, the session is ended, the tunnel has been idle for
/// `idle`, or the drain is over.
pub async fn run(
    downstream: Upgraded,
    upstream: Upgraded,
    registered: Registered,
    idle: Duration,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let (downstream, early) = split_downstream(downstream)?;
    let (upstream, answered) = split_upstream(upstream)?;
    let tunnel = Tunnel {
        up: Flow::new(early),
        down: Flow::new(answered),
        downstream,
        upstream,
        idle,
        moved: Instant::now(),
        timer: Box::pin(tokio::time::sleep(idle)),
    };
    let (closed, over) = (pin!(registered.closed.cancelled()), pin!(shutdown.deadline()));
    tokio::select! {
        // In this order: a session that ended during the handshake must not have a byte tunnelled.
        biased;
        () = Dormant::new(closed) => Ok(()),
        () = Dormant::new(over) => Ok(()),
        ended = tunnel => ended,
    }
}

fn split_downstream(upgraded: Upgraded) -> io::Result<(Stream, Bytes)> {
    let parts = upgraded.downcast::<DownstreamIo>().map_err(|_| foreign())?;
    Ok((parts.io.into_inner().into_inner(), parts.read_buf))
}

fn split_upstream(upgraded: Upgraded) -> io::Result<(Stream, Bytes)> {
    let parts = upgraded.downcast::<UpstreamIo>().map_err(|_| foreign())?;
    Ok((parts.io.into_inner().into_inner(), parts.read_buf))
}

fn foreign() -> io::Error {
    io::Error::other("an upgraded connection is not of the type that was put in")
}

/// One direction.
#[derive(Debug)]
struct Flow {
    /// What was read and not taken by the other side yet.
    kept: Bytes,
    /// The reading side has ended.
    ended: bool,
    /// The end has been passed on.
    closed: bool,
}

impl Flow {
    /// Begins with what hyper has read already. That is copied, and its large buffer is gone with the tunnel's first
    /// idle moment.
    fn new(read: Bytes) -> Self {
        let kept = Bytes::copy_from_slice(&read);
        drop(read);
        Self { kept, ended: false, closed: false }
    }

    /// Moves what can be moved. Ready when the direction is closed; `moved` tells whether a byte was.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.closed {
                return Poll::Ready(Ok(()));
            }
            while !self.kept.is_empty() {
                let Poll::Ready(written) = Pin::new(&mut *to).poll_write(cx, &self.kept)? else {
                    return Poll::Pending;
                };
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                *moved = true;
                self.kept = self.kept.split_off(written);
            }
            self.kept = Bytes::new();
            if self.ended {
                // Half-close: the other direction goes on (RFC 9293 § 3.6).
                if Pin::new(&mut *to).poll_shutdown(cx)?.is_pending() {
                    return Poll::Pending;
                }
                self.closed = true;
                continue;
            }
            match self.fill(cx, from, to)? {
                Poll::Ready(()) => *moved = true,
                Poll::Pending => {
                    // A TLS stream may have taken bytes that its socket did not: they must not wait for the next ones.
                    let _flushed = Pin::new(&mut *to).poll_flush(cx)?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads once and writes at once; keeps what is not taken.
    fn fill(&mut self, cx: &mut Context<'_>, from: &mut Stream, to: &mut Stream) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            if Pin::new(from).poll_read(cx, &mut buffer)?.is_pending() {
                return Poll::Pending;
            }
            let read = buffer.filled();
            if read.is_empty() {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            let written = match Pin::new(to).poll_write(cx, read)? {
                Poll::Ready(written) => written,
                Poll::Pending => 0,
            };
            self.kept = Bytes::copy_from_slice(&read[written..]);
            Poll::Ready(Ok(()))
        })
    }
}

#[derive(Debug)]
struct Tunnel {
    downstream: Stream,
    upstream: Stream,
    up: Flow,
    down: Flow,
    idle: Duration,
    moved: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Future for Tunnel {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut moved = false;
        let up = this.up.poll(cx, &mut this.downstream, &mut this.upstream, &mut moved)?;
        let down = this.down.poll(cx, &mut this.upstream, &mut this.downstream, &mut moved)?;
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if moved {
            this.moved = Instant::now();
        }
        // The timer is set anew when it fires and not with each message.
        while this.timer.as_mut().poll(cx).is_ready() {
            let end = this.moved + this.idle;
            if Instant::now() >= end {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            this.timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_written_often_is_registered_once_and_only_its_own_entry_goes() {
        let tunnels = Tunnels::new(Gauge::default());
        let (one, other) =
            (tunnels.register(vec!["s".to_owned(); 1000]), tunnels.register(vec!["s".to_owned()]));
        let entries = || tunnels.sessions.lock().unwrap().by_session.get("s").map_or(0, HashMap::len);
        assert_eq!(entries(), 2);
        drop(one);
        assert_eq!(entries(), 1);
        tunnels.close_session("s");
        assert!(other.closed.is_cancelled());
        drop(other);
        assert!(tunnels.sessions.lock().unwrap().by_session.is_empty());
    }
}
