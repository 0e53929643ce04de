//! The byte stream of one HTTP/2 connection: writes that do not wait without end, and a budget of control frames.
//!
//! A frame that is no request costs its sender nothing and us a little (PING and SETTINGS a response, a reset the work
//! that was begun), so a peer that sends hardly anything else is cut off (CVE-2019-9512, -9515, -9518, CVE-2023-44487).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http1_io::ActiveRequests;
use super::through::write_through;
use super::write_timeout::WriteTimeout;
use crate::config::Limits;

/// The time in which the budget must not be used up.
const BUDGET_TIME: Duration = Duration::from_secs(10);
/// The client's side begins with this many bytes that are no frame (RFC 9113 § 3.4).
const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;

/// A stream that is read and written within limits.
#[derive(Debug)]
pub struct Http2Io<T> {
    stream: WriteTimeout<T>,
    meter: ControlFrameLimiter,
    active: ActiveRequests,
}

impl<T> Http2Io<T> {
    /// Wraps `stream`, of which nothing has been read.
    pub fn new(stream: T, limits: &Limits, active: ActiveRequests) -> Self {
        Self {
            stream: WriteTimeout::new(stream, limits.write_stall_timeout),
            meter: ControlFrameLimiter::new(limits.control_frames),
            active,
        }
    }
}

/// Follows the frames of one direction through its bytes, and counts those that are no part of a request.
#[derive(Debug)]
pub struct ControlFrameLimiter {
    /// Bytes until the next head begins.
    skip: usize,
    head: [u8; HEAD_BYTES],
    /// How many bytes of the head are there.
    filled: usize,
    counted: u32,
    budget: u32,
    since: Instant,
}

/// The budget is used up.
#[derive(Debug, PartialEq, Eq)]
pub struct Exceeded;

impl ControlFrameLimiter {
    /// At the beginning of a connection, with a budget of that many frames in `BUDGET_TIME`.
    pub fn new(budget: u32) -> Self {
        let since = Instant::now();
        Self { skip: PREFACE_BYTES, head: [0; HEAD_BYTES], filled: 0, counted: 0, budget, since }
    }

    /// Follows `bytes`. `busy`: whether a response is under way.
    pub fn read(&mut self, mut bytes: &[u8], busy: bool) -> Result<(), Exceeded> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEAD_BYTES - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEAD_BYTES {
                self.filled = 0;
                let [high, middle, low, kind, flags, ..] = self.head;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                if is_control(kind, flags, self.skip, busy) {
                    self.count()?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Exceeded> {
        self.counted += 1;
        if self.counted <= self.budget {
            return Ok(());
        }
        // The clock is read only here: a peer that keeps within the budget never costs it.
        let now = Instant::now();
        if now.duration_since(self.since) < BUDGET_TIME {
            return Err(Exceeded);
        }
        self.since = now;
        self.counted = 0;
        Ok(())
    }
}

/// Whether a frame is no part of a request (RFC 9113 § 6). Window updates belong to a response while there is one.
fn is_control(kind: u8, flags: u8, length: usize, busy: bool) -> bool {
    const END_STREAM: u8 = 0x1;
    const PADDED: u8 = 0x8;
    match kind {
        0x0 => (length == 0 && flags & END_STREAM == 0) || flags & PADDED != 0,
        0x1 | 0x9 => false, // HEADERS and CONTINUATION, bounded by the size of a head
        0x8 => !busy,
        _ => true,
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Http2Io<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        match this.meter.read(&buf.filled()[before..], this.active.any()) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Exceeded) => Poll::Ready(Err(io::Error::other("too many control frames"))),
        }
    }
}

write_through!(Http2Io, stream);

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD_BYTES + payload, 0xff);
        bytes
    }

    /// How many frames of one kind pass with a budget of 10, whatever the pieces they are read in.
    fn passing(kind: u8, flags: u8, payload: usize, busy: bool) -> usize {
        let counts: Vec<usize> = [1, 7, 9, 4096]
            .into_iter()
            .map(|step| {
                let mut meter = ControlFrameLimiter::new(10);
                meter.read(&[b'x'; PREFACE_BYTES], busy).unwrap();
                let frame = frame(kind, flags, payload);
                (0..100)
                    .take_while(|_| frame.chunks(step).all(|piece| meter.read(piece, busy).is_ok()))
                    .count()
            })
            .collect();
        assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
        counts[0]
    }

    #[test]
    fn what_is_no_request_is_counted() {
        for (kind, flags, payload) in
            [(2, 0, 5), (3, 0, 4), (4, 0, 6), (4, 1, 0), (6, 0, 8), (0, 0, 0), (0, 8, 300), (0x20, 0, 1)]
        {
            assert_eq!(passing(kind, flags, payload, true), 10, "{kind} {flags} {payload}");
        }
        assert_eq!(passing(8, 0, 4, false), 10);
    }

    #[test]
    fn requests_and_their_bodies_are_not() {
        for (kind, flags, payload) in [(1, 5, 300), (9, 4, 16_384), (0, 0, 16_384), (0, 1, 0), (0, 0, 1)] {
            assert_eq!(passing(kind, flags, payload, false), 100, "{kind} {flags} {payload}");
        }
        assert_eq!(passing(8, 0, 4, true), 100);
    }
}
