//! The body of a request on its way to the hub: streamed once its beginning is there, or held whole where the rules ask
//! for it; and one of our own that comes piece by piece.

pub mod whole_response;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Instant as TimerInstant;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::client_network::Share;
use crate::deadline::Deadline;
use crate::last_activity::LastActivity;

/// So much of a body must be there, or all of it, before the hub is asked: a client that sends less costs the hub
/// nothing, however slowly it does.
const BEGINNING_BYTES: usize = 64 * 1024;
/// One client may have one such part of what all may hold.
const HELD_PARTS: usize = 4;

/// How long hublatch waits for the bodies of requests, and how much of them it holds.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// The longest pause between two parts.
    pub stall: Duration,
    /// The least bytes a second, on average, after a first `stall`; 0: none.
    pub min_rate: usize,
    /// The longest time that a body may take which is held whole.
    pub held_timeout: Duration,
    /// The most bytes held at once, of all clients together.
    pub held_bytes: usize,
}

impl BodyLimits {
    /// Counts `more` bytes as held by the client of `held`.
    fn hold(&self, held: &mut Share, more: usize) -> Result<(), CollectError> {
        let fits = held.try_grow(more, self.held_bytes / HELD_PARTS, self.held_bytes);
        fits.then_some(()).ok_or(CollectError::NoRoom)
    }
}

/// How fast a body comes: what its sender lets us wait, against what it may.
#[derive(Debug)]
struct BodyPace {
    stall: Duration,
    min_rate: usize,
    bytes: usize,
    /// All pauses before the present one. What nobody asked for does not count: then the hub is slow.
    waited: Duration,
    waiting_since: Option<TimerInstant>,
    deadline: Deadline,
}

impl BodyPace {
    fn new(limits: &BodyLimits) -> Self {
        Self {
            stall: limits.stall,
            min_rate: limits.min_rate,
            bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            deadline: Deadline::default(),
        }
    }

    /// So many bytes have come.
    fn progress(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Ready when the body has let us wait for too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert_with(TimerInstant::now);
        let left = match self.bytes.checked_div(self.min_rate) {
            None => self.stall,
            Some(seconds) => {
                let earned = self.stall.saturating_add(Duration::from_secs(seconds as u64));
                earned.saturating_sub(self.waited).min(self.stall)
            }
        };
        self.deadline.poll_until(cx, since + left)
    }
}

/// When a body last moved, and whether it has ended.
#[derive(Debug, Clone)]
pub struct Progress {
    origin: Instant,
    shared: Arc<LastMove>,
}

#[derive(Debug, Default)]
struct LastMove {
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
    /// Its beginning, until that has been sent.
    beginning: Bytes,
    /// Counts the beginning as held; or this body as one that the hub was asked for before it began.
    held: Option<Share>,
    incoming: Incoming,
    progress: Progress,
    pace: BodyPace,
    /// What is used with each part of it.
    used: Option<LastActivity>,
}

impl Streamed {
    fn new(incoming: Incoming, limits: &BodyLimits) -> Self {
        Self {
            beginning: Bytes::new(),
            held: None,
            incoming,
            progress: Progress::new(),
            pace: BodyPace::new(limits),
            used: None,
        }
    }

    /// The next data from the client; trailers are dropped.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                return self.pace.poll(cx).map(|()| Some(Err(BodyError::Stalled)));
            };
            let Some(frame) = frame else { return Poll::Ready(None) };
            match frame?.into_data() {
                Ok(data) => {
                    self.pace.progress(data.len());
                    return Poll::Ready(Some(Ok(data)));
                }
                Err(_trailers) => self.pace.progress(0),
            }
        }
    }

    /// Waits for the beginning of the body, and keeps it.
    async fn begin(&mut self, limits: &BodyLimits, held: &mut Share) -> Result<(), CollectError> {
        let mut beginning = BytesMut::new();
        while let Some(data) = std::future::poll_fn(|cx| self.poll_data(cx)).await {
            let data = data?;
            limits.hold(held, data.len())?;
            if beginning.is_empty() && (data.len() >= BEGINNING_BYTES || self.incoming.is_end_stream()) {
                // Nearly every body is one part, which need not be copied.
                self.beginning = data;
                return Ok(());
            }
            beginning.extend_from_slice(&data);
            if beginning.len() >= BEGINNING_BYTES {
                break;
            }
        }
        self.beginning = beginning.freeze();
        Ok(())
    }

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
    /// It came too slowly.
    #[error("the body came too slowly")]
    Stalled,
}

/// A request's body.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// Held whole; as a client's, until it is sent.
    Whole(Bytes, Option<Share>),
    /// Streamed from the client. Boxed, because most requests have none and all are moved about.
    Streamed(Box<Streamed>),
}

impl RequestBody {
    /// Streams `incoming`, as soon as its beginning is there, which counts as `held` until it has been sent;
    /// each part of it is a use of `used`.
    pub async fn streamed(
        incoming: Incoming,
        limits: &BodyLimits,
        mut held: Share,
        used: Option<LastActivity>,
    ) -> Result<Self, CollectError> {
        let mut streamed = Box::new(Streamed::new(incoming, limits));
        streamed.begin(limits, &mut held).await?;
        // Whoever looks at it now waits for the rest.
        streamed.progress = Progress::new();
        streamed.held = Some(held);
        streamed.used = used;
        Ok(Self::Streamed(streamed))
    }

    /// Streams `incoming` from its first byte on: for a client that sends none before the hub agrees. It holds `early`
    /// until it has ended.
    pub fn streamed_early(
        incoming: Incoming,
        limits: &BodyLimits,
        early: Share,
        used: Option<LastActivity>,
    ) -> Self {
        Self::Streamed(Box::new(Streamed { held: Some(early), used, ..Streamed::new(incoming, limits) }))
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
            Self::Whole(bytes, held) => {
                *held = None;
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Streamed(streamed) => {
                let streamed = &mut **streamed;
                let data = if streamed.beginning.is_empty() {
                    ready!(streamed.poll_data(cx))
                } else {
                    streamed.held = None;
                    Some(Ok(std::mem::take(&mut streamed.beginning)))
                };
                streamed.progress.mark();
                if let Some(used) = &streamed.used {
                    used.touch();
                }
                if data.is_none() || streamed.incoming.is_end_stream() {
                    streamed.progress.shared.ended.store(true, Ordering::Relaxed);
                }
                Poll::Ready(data.map(|data| data.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes, _) => bytes.is_empty(),
            Self::Streamed(streamed) => streamed.beginning.is_empty() && streamed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(streamed) => {
                let (rest, beginning) = (streamed.incoming.size_hint(), streamed.beginning.len() as u64);
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower() + beginning);
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper + beginning);
                }
                hint
            }
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
    /// It came too slowly.
    #[error("the body came too slowly")]
    Stalled,
    /// As much is held as may be, of this client or of all.
    #[error("too many bytes of bodies are held (limits.held_bytes)")]
    NoRoom,
}

impl From<BodyError> for CollectError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Broken(error) => Self::Broken(error.into()),
            BodyError::Stalled => Self::Stalled,
        }
    }
}

/// Reads the whole of `body`, at most `limit` bytes, within `timeout`; trailers are dropped.
pub async fn collect<B>(body: B, limit: usize, timeout: Duration) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    gather(body, limit, [timeout, timeout], |_| Ok(())).await
}

/// Reads the whole `body` of a client's request, as [`collect`] does; it counts as `held` from its first byte on.
pub async fn hold(
    body: Incoming,
    limit: usize,
    limits: &BodyLimits,
    held: &mut Share,
) -> Result<Bytes, CollectError> {
    let timeouts = [limits.stall, limits.held_timeout];
    gather(body, limit, timeouts, |more| limits.hold(held, more)).await
}

/// Reads the whole of `body`, each part of it within the first of the two timeouts, and all within the second.
async fn gather<B>(
    mut body: B,
    limit: usize,
    [stall, timeout]: [Duration; 2],
    mut take: impl FnMut(usize) -> Result<(), CollectError>,
) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    let gathering = async {
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
            take(data.len())?;
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    };
    tokio::time::timeout(timeout, gathering).await.unwrap_or(Err(CollectError::Stalled))
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
