//! The body of a request on its way to the hub: streamed as it comes, or held whole where the rules ask for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// When a body last moved, and whether it has ended.
#[derive(Debug, Clone)]
pub struct Progress {
    origin: Instant,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    millis: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    /// It moved just now.
    pub fn new() -> Self {
        Self { origin: Instant::now(), shared: Arc::default() }
    }

    fn mark(&self) {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.millis.store(now, Ordering::Relaxed);
    }

    /// Whether the body has been taken to its end.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// When it last moved.
    pub fn last(&self) -> Instant {
        self.origin + Duration::from_millis(self.shared.millis.load(Ordering::Relaxed))
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// A request's body.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// Held whole.
    Whole(Bytes),
    /// Streamed from the client, without its trailers: an identity header must not come in behind the head.
    Streamed(Incoming, Progress),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Streamed(incoming, progress) => loop {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                progress.mark();
                if frame.is_none() || incoming.is_end_stream() {
                    progress.shared.ended.store(true, Ordering::Relaxed);
                }
                match frame {
                    Some(Ok(frame)) if frame.is_trailers() => {}
                    frame => return Poll::Ready(frame),
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(incoming, _) => incoming.size_hint(),
        }
    }
}

/// A body that could not be held whole.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// It is larger than the limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It broke off.
    #[error("the body broke off: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Reads the whole of `body`, at most `limit` bytes; trailers are dropped.
pub async fn collect<B>(body: B, limit: usize) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(CollectError::TooLarge { limit }),
        Err(error) => Err(CollectError::Broken(error)),
    }
}
