//! A response body that keeps its request counted as active until it has been sent or dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};

use super::io::http1_io::ActiveRequest;

/// A body, and the request that is active until the body is dropped.
#[derive(Debug)]
pub struct InFlightBody<B> {
    body: B,
    _active: ActiveRequest,
}

impl<B> InFlightBody<B> {
    /// Keeps `active` until `body` is dropped.
    pub fn new(body: B, active: ActiveRequest) -> Self {
        Self { body, _active: active }
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
