//! A connection to the hub, taken from the pool for one exchange or several in a row.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response, StatusCode, Version};
use tokio::time::Instant;

use super::kept_head::KeptHead;
use super::{ResponseBody, Upstream, UpstreamError};
use crate::body::{Progress, RequestBody};
use crate::client_network::Share;
use crate::deadline::Deadline;
use crate::last_activity::LastActivity;
use crate::proxy::upstream::interim::ExchangeState;

/// A connection to the hub. Boxed wherever it goes: it moves between its pool and a request all the time.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<RequestBody>,
    /// What it and its stream tell each other.
    exchange: ExchangeState,
    /// The head of a request that may be repeated.
    head: KeptHead,
    /// Bounds each wait for a head, with one timer for the whole life of the connection.
    deadline: Deadline,
    /// The body of the last request, if it was streamed.
    sending: Option<Progress>,
    /// What is used with a response that is a success.
    used: Option<LastActivity>,
    /// When it was last given back.
    pub since: Instant,
}

impl Connection {
    /// One that has served nothing yet.
    pub fn new(sender: SendRequest<RequestBody>, exchange: ExchangeState, head: KeptHead) -> Self {
        let (deadline, since) = (Deadline::default(), Instant::now());
        Self { sender, exchange, head, deadline, sending: None, used: None, since }
    }

    /// Whether it can serve nothing any more.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.exchange.takes_nothing()
    }

    /// Waits until it can take another request; an error if it never will, which hyper may not know yet.
    async fn ready(&mut self) -> Result<(), UpstreamError> {
        self.sender.ready().await?;
        if self.exchange.takes_nothing() { Err(UpstreamError::Unsent) } else { Ok(()) }
    }
}

/// A connection, taken for one exchange or several in a row.
#[derive(Debug)]
pub struct PooledConnection {
    connection: Box<Connection>,
    pool: Arc<Upstream>,
    /// Whether it served an exchange before: then the hub may have closed it.
    reused: bool,
    /// When it was taken, until its first exchange has begun.
    taken: Option<Instant>,
    after: KeepAlive,
    /// How long it waits for the head of a response, if not as long as the others.
    head_limit: Option<Duration>,
    /// Its client's share of the connections, until its exchange is over.
    pub(in crate::proxy) share: Option<Share>,
}

/// What becomes of a connection when its exchange is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// It goes back to the pool.
    Pool,
    /// It is closed.
    Close,
}

/// How an attempt failed.
pub enum SendError {
    /// Not a byte was written.
    Unsent(Box<Request<RequestBody>>),
    /// It was, perhaps in part.
    Failed(UpstreamError),
}

impl PooledConnection {
    /// A new connection.
    pub(super) fn new(connection: Connection, pool: Arc<Upstream>) -> Self {
        Self {
            connection: Box::new(connection),
            pool,
            reused: false,
            taken: None,
            after: KeepAlive::Pool,
            head_limit: None,
            share: None,
        }
    }

    /// One that has served before, taken `now`.
    pub(super) fn again(connection: Box<Connection>, pool: Arc<Upstream>, now: Instant) -> Self {
        let after = KeepAlive::Pool;
        Self { connection, pool, reused: true, taken: Some(now), after, head_limit: None, share: None }
    }

    /// Says what becomes of it afterwards, and what is used by its exchange.
    pub(super) fn then(&mut self, after: KeepAlive, used: Option<LastActivity>) {
        self.after = after;
        self.connection.used = used;
    }

    /// Sends `request`, once. Bounded by the time from the end of the request to the head of the response.
    pub async fn send_once(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        match self.attempt(Box::new(request)).await {
            Ok(answer) => Ok(answer),
            Err(SendError::Failed(error)) => Err(error),
            Err(SendError::Unsent(_)) => Err(UpstreamError::Unsent),
        }
    }

    /// From now on each exchange may take `limit` at most until the head of its response, in place of
    /// `limits.upstream_head_timeout`.
    pub fn set_head_limit(&mut self, limit: Duration) {
        self.head_limit = Some(limit);
    }

    /// Whether it served an exchange before: then it may be stale.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Waits until the connection can take another request; an error if it never will.
    pub async fn ready(&mut self) -> Result<(), UpstreamError> {
        self.connection.ready().await
    }

    /// Keeps the head of the request that is sent next, which has no body.
    pub(super) fn keep_head(&self) {
        self.connection.head.begin();
    }

    /// The request whose head was kept.
    pub(super) fn kept_request(&self) -> Option<Request<RequestBody>> {
        self.connection.head.to_request()
    }

    /// Sends `request`, and gives it back if not a byte of it was written.
    pub(in crate::proxy) async fn attempt(
        &mut self,
        request: Box<Request<RequestBody>>,
    ) -> Result<Response<Incoming>, SendError> {
        self.connection.sending = match request.body() {
            RequestBody::Streamed(body) => Some(body.progress().clone()),
            RequestBody::Empty | RequestBody::Whole(..) => None,
        };
        if self.connection.ready().await.is_err() {
            return Err(SendError::Unsent(request));
        }
        let Connection { sender, exchange, deadline, sending, .. } = &mut *self.connection;
        exchange.begin(sending.is_some());
        let limit = self.head_limit.unwrap_or(self.pool.limits.upstream_head_timeout);
        deadline.begin(self.taken.take().unwrap_or_else(Instant::now));
        let answer = pin!(sender.try_send_request(*request));
        match within(deadline, limit, sending.as_ref(), answer).await {
            None => Err(SendError::Failed(UpstreamError::Timeout)),
            Some(Ok(answer)) => Ok(answer),
            Some(Err(mut error)) => Err(match error.take_message() {
                Some(unsent) => SendError::Unsent(Box::new(unsent)),
                None => SendError::Failed(error.into_error().into()),
            }),
        }
    }

    /// Ties the connection to the body of its response.
    pub fn release_with(mut self, mut answer: Response<Incoming>) -> Response<ResponseBody> {
        // The version is each hop's own (RFC 9110 § 2.5).
        *answer.version_mut() = Version::HTTP_11;
        let status = answer.status();
        // As configurable-http-proxy has it: a redirect or an error is no use of a server.
        if !status.is_success() {
            self.connection.used = None;
        }
        answer.map(|incoming| {
            if status == StatusCode::SWITCHING_PROTOCOLS {
                // It is the tunnel's now.
                ResponseBody::Whole(Bytes::new())
            } else if incoming.is_end_stream() {
                self.release();
                ResponseBody::Whole(Bytes::new())
            } else {
                ResponseBody::Upstream { incoming, lease: Some(self) }
            }
        })
    }

    /// Gives the connection back; the response of its last exchange has been read to the end.
    pub fn release(self) {
        let Self { mut connection, pool, after, .. } = self;
        connection.head.end();
        if let Some(used) = connection.used.take() {
            used.touch();
        }
        // A response can end before its request does (413, 403): such a connection is not fit for another.
        let sent = connection.sending.take().is_none_or(|body| body.has_ended());
        if sent && after == KeepAlive::Pool && !connection.is_closed() && !pool.shutdown.is_draining() {
            pool.idle.give_back(connection);
        }
    }
}

/// Waits for `future`, at most `limit` after `deadline` was begun or the request's body has last moved.
async fn within<F: Future + Unpin>(
    deadline: &mut Deadline,
    limit: Duration,
    progress: Option<&Progress>,
    mut future: F,
) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        let over = match progress {
            None => deadline.poll(cx, limit),
            Some(progress) => deadline.poll_until(cx, (progress.last() + limit).into()),
        };
        over.map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;

    use super::super::interim::InterimLimiter;
    use super::*;

    #[tokio::test]
    async fn a_connection_that_takes_nothing_is_closed_although_hyper_does_not_know_it() {
        let (ours, _theirs) = tokio::io::duplex(1024);
        let exchange = ExchangeState::default();
        let stream = InterimLimiter::new(ours, exchange.clone(), KeptHead::default(), 5);
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (sender, task) = handshake.await.expect("nothing is sent");
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(task);
        let mut connection = Connection::new(sender, exchange.clone(), KeptHead::default());
        connection.sender.ready().await.expect("open");
        assert!(!connection.is_closed());
        exchange.lose();
        assert!(!connection.sender.is_closed() && connection.is_closed());
        assert!(matches!(connection.ready().await, Err(UpstreamError::Unsent)), "nothing is sent over it");
    }
}
