//! Event streams: a response that has no end of its own ends with the session of its user, as their tunnels do.
//!
//! Only what a page's `EventSource` asks for is watched, which says so in its `Accept`: to find the session of every
//! other request would cost each of them something, and what they are answered comes to an end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::registry::Registered;
use crate::body::PieceError;
use crate::poll_on_wake::PollOnWake;
use crate::proxy::context::{Proxy, RequestContext};
use crate::proxy::cookies;
use crate::proxy::error::ProxyError;
use crate::proxy::upstream::ResponseBody;

impl Proxy {
    /// An ordinary request whose response lasts: it is registered before it is sent, so that a session which ends while
    /// the hub thinks takes the response with it.
    pub(in crate::proxy) async fn stream(
        &self,
        context: RequestContext,
    ) -> Result<Response<ResponseBody>, ProxyError> {
        let registered = self.shared.tunnels.register(cookies::session_ids(context.request.headers()));
        let answer = self.forward(context).await?;
        Ok(answer.map(|body| ResponseBody::EventStream(Box::new(EventStream::new(body, registered, None)))))
    }
}

/// A response that ends with a session.
#[derive(Debug)]
pub struct EventStream {
    /// None when it has ended: the connection to the hub is closed then, whatever else would have come.
    body: Option<ResponseBody>,
    closed: PollOnWake<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Kept for as long as there is something to close.
    _registered: Registered,
    /// Its place among those of its kind, if they are counted.
    _place: Option<OwnedSemaphorePermit>,
}

impl EventStream {
    /// `body`, until the session of `registered` ends; it holds `place` for as long.
    pub(in crate::proxy) fn new(
        body: ResponseBody,
        registered: Registered,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            body: Some(body),
            closed: PollOnWake::new(Box::pin(registered.closed())),
            _registered: registered,
            _place: place,
        }
    }

    /// The next part. The end of the session is an end like any other: to its reader a stream may end at any time.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, PieceError>>> {
        if Pin::new(&mut self.closed).poll(cx).is_ready() {
            self.body = None;
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    /// Whether nothing is left.
    pub fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(ResponseBody::is_end_stream)
    }

    /// How much is left, as far as that is known.
    pub fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(ResponseBody::size_hint).unwrap_or_default()
    }
}
