//! A tunnel: what a connection becomes after a 101 (WebSocket): bytes both ways, bounded in idleness.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::registry::Registered;
use crate::config::Activity;
use crate::last_activity::LastActivity;
use crate::poll_on_wake::PollOnWake;
use crate::proxy::upstream::UpstreamIo;
use crate::server::DownstreamIo;
use crate::server::io::stream::Stream;
use crate::shutdown::Shutdown;

/// What is read at once. It is the thread's, not the tunnel's: an idle tunnel holds no buffer.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

/// Carries bytes both ways until one side fails, both have ended, the session is ended, the tunnel has been idle for
/// `idle`, or the drain is over.
pub async fn run(
    downstream: Upgraded,
    upstream: Upgraded,
    registered: Registered,
    idle: Duration,
    used: Option<Used>,
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
        used,
        moved: Instant::now(),
        timer: Box::pin(tokio::time::sleep(idle)),
    };
    let (closed, over) = (pin!(registered.closed.cancelled()), pin!(shutdown.deadline()));
    tokio::select! {
        // In this order: a session that ended during the handshake must not have a byte tunnelled.
        biased;
        () = PollOnWake::new(closed) => Ok(()),
        () = PollOnWake::new(over) => Ok(()),
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
        used: Option<(&LastActivity, CountedReads)>,
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
            match self.fill(cx, from, to, used)? {
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
    fn fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        used: Option<(&LastActivity, CountedReads)>,
    ) -> Poll<io::Result<()>> {
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
            if let Some((last, counts)) = used
                && counts.takes(read)
            {
                last.touch();
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

/// What a tunnel uses, and by what.
#[derive(Debug)]
pub struct Used {
    last: LastActivity,
    activity: Activity,
}

impl Used {
    /// `last`, by `activity`.
    pub fn by(last: LastActivity, activity: Option<Activity>) -> Self {
        Self { last, activity: activity.unwrap_or(Activity::Bytes) }
    }
}

/// Which bytes count.
#[derive(Debug, Clone, Copy)]
enum CountedReads {
    Every,
    Messages,
}

impl CountedReads {
    /// Whether what was read at once counts: not a lone close, ping or pong (RFC 6455 § 5.5), by which a browser that
    /// nobody looks at keeps its connection open. Such a frame is short, and comes by itself.
    fn takes(self, read: &[u8]) -> bool {
        match (self, read) {
            (Self::Messages, [0x88..=0x8a, length, ..]) => {
                let mask = if length & 0x80 == 0 { 0 } else { 4 };
                read.len() != 2 + mask + usize::from(length & 0x7f)
            }
            (Self::Every | Self::Messages, _) => true,
        }
    }
}

#[derive(Debug)]
struct Tunnel {
    downstream: Stream,
    upstream: Stream,
    up: Flow,
    down: Flow,
    idle: Duration,
    used: Option<Used>,
    moved: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Future for Tunnel {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut moved = false;
        let (of_up, of_down) = match &this.used {
            None => (None, None),
            Some(Used { last, activity: Activity::Bytes }) => (Some((last, CountedReads::Every)), None),
            Some(Used { last, activity: Activity::Messages }) => {
                (Some((last, CountedReads::Messages)), Some((last, CountedReads::Messages)))
            }
        };
        let up = this.up.poll(cx, &mut this.downstream, &mut this.upstream, &mut moved, of_up)?;
        let down = this.down.poll(cx, &mut this.upstream, &mut this.downstream, &mut moved, of_down)?;
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
