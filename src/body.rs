//! The body of a request on its way to the hub: streamed as it comes, or held whole where the rules ask for it; and one
//! of our own that comes piece by piece.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::deadline::Deadline;
use crate::last_activity::LastActivity;

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

/// A body on its way, without its trailers: an identity header must not come in behind the head.
#[derive(Debug)]
pub struct Streamed {
    incoming: Incoming,
    progress: Progress,
    waiting: Deadline,
    stall: Duration,
    /// What is used with each part of it.
    used: Option<LastActivity>,
}

impl Streamed {
    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// A body that does not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection, or the stream, failed.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    /// Its sender was silent for too long.
    #[error("nothing of the body came for too long")]
    Stalled,
}

/// A request's body.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// Held whole.
    Whole(Bytes),
    /// Streamed from the client. Boxed, because most requests have none and all are moved about.
    Streamed(Box<Streamed>),
}

impl RequestBody {
    /// `incoming`, whose sender may be silent for `stall` at most; each part of it is a use of `used`.
    pub fn streamed(incoming: Incoming, stall: Duration, used: Option<LastActivity>) -> Self {
        Self::Streamed(Box::new(Streamed {
            incoming,
            progress: Progress::new(),
            waiting: Deadline::default(),
            stall,
            used,
        }))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Streamed(streamed) => loop {
                let Streamed { incoming, progress, waiting, stall, used } = &mut **streamed;
                let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
                    return waiting.poll(cx, *stall).map(|()| Some(Err(BodyError::Stalled)));
                };
                waiting.progress();
                progress.mark();
                if let Some(used) = used {
                    used.touch();
                }
                if frame.is_none() || incoming.is_end_stream() {
                    progress.shared.ended.store(true, Ordering::Relaxed);
                }
                match frame {
                    Some(Ok(frame)) if frame.is_trailers() => {}
                    frame => return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from))),
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(streamed) => streamed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(streamed) => streamed.incoming.size_hint(),
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
    /// Its sender was silent for too long.
    #[error("nothing of the body came for too long")]
    Stalled,
}

/// Reads the whole of `body`, at most `limit` bytes, each part of it within `stall`; trailers are dropped.
pub async fn collect<B>(mut body: B, limit: usize, stall: Duration) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    let mut whole = BytesMut::new();
    while let Some(frame) =
        tokio::time::timeout(stall, body.frame()).await.map_err(|_| CollectError::Stalled)?
    {
        let Ok(data) = frame.map_err(|error| CollectError::Broken(error.into()))?.into_data() else {
            continue;
        };
        if whole.len() + data.len() > limit {
            return Err(CollectError::TooLarge { limit });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// A body of our own that comes piece by piece. An error aborts it: a part must not pass for the whole.
pub struct Pieces(Pin<Box<dyn Stream<Item = Result<Bytes, PieceError>> + Send>>);

/// Why no further piece comes.
pub type PieceError = Box<dyn std::error::Error + Send + Sync>;

impl Pieces {
    /// The pieces of `stream`.
    pub fn of<E>(stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self
    where
        E: Into<PieceError> + 'static,
    {
        Self(Box::pin(stream.map_err(Into::into)))
    }
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pieces")
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = PieceError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PieceError>>> {
        self.get_mut().0.as_mut().poll_next(cx).map_ok(Frame::data)
    }
}
