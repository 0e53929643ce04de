//! The body of an answer, which keeps its exchange open until it has been sent or dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

use super::io::http1_io::ActiveRequest;

/// A body, and the exchange that it ends.
#[derive(Debug)]
pub struct InFlightBody<B> {
    body: B,
    _exchange: ActiveRequest,
}

impl<B> InFlightBody<B> {
    /// `body` ends `exchange`.
    pub fn new(body: B, exchange: ActiveRequest) -> Self {
        Self { body, _exchange: exchange }
    }
}

impl<B: Body + Unpin> Body for InFlightBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
