//! The body of a response: the hub's, as it comes, or one of ours.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::PooledConnection;
use crate::body::{PieceError, Pieces};
use crate::proxy::tunnel::event_stream::EventStream;

/// The body of a response: the hub's, as it comes, or one of ours.
#[derive(Debug)]
pub enum ResponseBody {
    /// Ours, or none.
    Whole(Bytes),
    /// Ours, piece by piece.
    Pieces(Pieces),
    /// The hub's.
    Upstream {
        /// What comes.
        incoming: Incoming,
        /// The connection it comes over, until it has come.
        lease: Option<PooledConnection>,
    },
    /// The hub's, until the session of its user ends.
    EventStream(Box<EventStream>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = PieceError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, PieceError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Pieces(pieces) => Pin::new(pieces).poll_frame(cx),
            Self::Upstream { incoming, lease } => {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                // With an error the response is aborted and the connection with it: the lease is dropped, not released.
                let ended = frame.is_none() || (matches!(frame, Some(Ok(_))) && incoming.is_end_stream());
                if ended && let Some(lease) = lease.take() {
                    lease.release();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Self::EventStream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pieces(pieces) => pieces.is_end_stream(),
            Self::Upstream { incoming, .. } => incoming.is_end_stream(),
            Self::EventStream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(pieces) => pieces.size_hint(),
            Self::Upstream { incoming, .. } => incoming.size_hint(),
            Self::EventStream(stream) => stream.size_hint(),
        }
    }
}
