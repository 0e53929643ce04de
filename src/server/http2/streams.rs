//! The streams of one connection: tasks that end when their peer takes nothing of a response for too long.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;

use crate::deadline::Deadline;
use crate::shutdown::Shutdown;

/// What is kept of one response that the peer does not take yet.
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Spawns the streams of one connection, each to be given up when its peer takes nothing of a response for too long.
///
/// On one connection a peer can read many responses while it stops reading one: only that one may end, so the time is
/// measured for each stream, between two parts of its body.
///
/// One handle: hyper clones it for every stream.
#[derive(Debug, Clone)]
pub struct Streams(Arc<Spawner>);

#[derive(Debug)]
struct Spawner {
    shutdown: Shutdown,
    stall: Duration,
    /// hyper calls the service and then spawns the stream of that call: this hands over what they share.
    next: Mutex<Arc<SendProgress>>,
}

/// How the peer takes one response: 0 while it waits for us, else which part we wait for it to take.
#[derive(Debug, Default)]
pub struct SendProgress(AtomicUsize);

impl Streams {
    /// They end with `shutdown`, or when their peer takes nothing for `stall`.
    pub fn new(shutdown: Shutdown, stall: Duration) -> Self {
        Self(Arc::new(Spawner { shutdown, stall, next: Mutex::default() }))
    }

    /// The pace of the stream that is spawned next.
    pub fn next_pace(&self) -> Arc<SendProgress> {
        let pace = Arc::<SendProgress>::default();
        *self.0.next.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&pace);
        pace
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let pace = Arc::clone(&self.0.next.lock().unwrap_or_else(PoisonError::into_inner));
        let limit = self.0.stall;
        // Boxed outside of the task, which would hold it twice and move it as often.
        let mut stream = Box::pin(stream);
        self.0.shutdown.spawn(async move {
            let (mut stalled, mut part) = (Deadline::default(), 0);
            std::future::poll_fn(|cx| {
                if stream.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                let waiting_for = pace.0.load(Ordering::Relaxed);
                if waiting_for != part {
                    part = waiting_for;
                    stalled.progress();
                }
                // A stream that is dropped unfinished is reset.
                if part == 0 { Poll::Pending } else { stalled.poll(cx, limit) }
            })
            .await;
        });
    }
}

/// The body of a response on its way out, in parts that can be waited for; none if there is nothing to say.
pub struct PacedBody<B> {
    body: Option<B>,
    /// What is left of a piece that was larger than a part.
    rest: Bytes,
    parts: usize,
    pace: Arc<SendProgress>,
}

impl<B> PacedBody<B> {
    /// `body`, of whose parts `pace` tells.
    pub fn new(body: Option<B>, pace: Arc<SendProgress>) -> Self {
        Self { body, rest: Bytes::new(), parts: 0, pace }
    }

    fn part(&mut self) -> Frame<Bytes> {
        self.parts += 1;
        self.pace.0.store(self.parts, Ordering::Relaxed);
        Frame::data(self.rest.split_to(self.rest.len().min(SEND_BUFFER_BYTES)))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for PacedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.part())));
        }
        this.pace.0.store(0, Ordering::Relaxed);
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    Ok(this.part())
                }
                Err(trailers) => Ok(trailers),
            })),
            end => Poll::Ready(end),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() {
            self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
        } else {
            SizeHint::default()
        }
    }
}
