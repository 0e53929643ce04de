//! One HTTP/2 connection, from its first byte to its last (RFC 9113), for the same service as HTTP/1.1.

mod request;
mod streams;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::in_flight_body::InFlightBody;
use super::io::http1_io::ActiveRequests;
use super::io::http2_io::Http2Io;
use super::io::stream::Stream;
use super::{ConnectionInfo, Service, drain_begins};
use crate::config::Limits;
use crate::deadline::Deadline;
use crate::poll_on_wake::PollOnWake;
use crate::shutdown::Shutdown;

use request::make_as_in_http1;
use streams::{PacedBody, SEND_BUFFER_BYTES, Streams};

/// How much of one body a peer may send before it is read: enough for 80 Mbit/s over 100 ms.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for the whole connection: a body that is not read must not hold up another.
const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;
/// The least of a frame's payload (RFC 9113 § 4.2), and what everybody sends.
const FRAME_BYTES: u32 = 16 * 1024;
/// Requests that were reset before we looked at them: more at once are an attack (CVE-2023-44487).
const RESETS_PENDING: usize = 50;
/// Requests so malformed that we reset them, on one connection.
const RESETS_BY_ERROR: usize = 100;
/// How long a peer may take to close an idle connection after our GOAWAY.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves `stream` to its end, or to the end of the drain.
pub async fn serve_connection(
    stream: Stream,
    info: Arc<ConnectionInfo>,
    service: impl Service,
    limits: &Limits,
    shutdown: &Shutdown,
) -> hyper::Result<()> {
    let active = ActiveRequests::default();
    let io = TokioIo::new(Http2Io::new(stream, limits, active.clone()));
    let streams = Streams::new(shutdown.clone(), limits.write_stall_timeout);
    let paces = streams.clone();
    let (busy, begun, head_count) = (active.clone(), active.clone(), limits.head_count);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, info, active) = (service.clone(), info.clone(), active.begin());
        let pace = paces.next_pace();
        let mut request = Box::new(request);
        // Boxed: hyper moves the stream that it builds around this future, which would be large otherwise.
        Box::pin(async move {
            let response = match make_as_in_http1(&mut request, head_count) {
                Ok(()) => service.call(info, request).await.map(Some),
                Err(status) => refusal(status),
            };
            let mut response =
                response.map(|body| PacedBody::new(body.map(|body| InFlightBody::new(body, active)), pace));
            // A walk, which costs less than a lookup where headers are few.
            if response.headers().keys().any(|name| *name == CONNECTION) {
                response.headers_mut().remove(CONNECTION);
            }
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = pin!(builder(streams, limits).serve_connection(io, answer));
    let mut idle = IdleTimer::new(limits.idle_timeout, busy);
    let (begins, mut ends) = (pin!(drain_begins(shutdown, &begun)), pin!(shutdown.deadline()));
    let mut begins = PollOnWake::new(begins);
    let mut draining = false;
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            if draining {
                return ends.as_mut().poll(cx).map(Ok);
            }
            draining = Pin::new(&mut begins).poll(cx).is_ready();
            if !draining && ready!(idle.poll(cx)) == Over::ForGood {
                return Poll::Ready(Ok(()));
            }
            // GOAWAY: no new requests, those under way are answered (RFC 9113 § 6.8).
            connection.as_mut().graceful_shutdown();
        }
    })
    .await
}

fn builder(streams: Streams, limits: &Limits) -> Builder<Streams> {
    let mut http = Builder::new(streams);
    http.timer(TokioTimer::new())
        .adaptive_window(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_PENDING)
        .max_local_error_reset_streams(RESETS_BY_ERROR)
        // Finds a peer that vanished even while a response is silent for hours (server-sent events).
        .keep_alive_interval(limits.idle_timeout)
        .keep_alive_timeout(limits.write_stall_timeout);
    http
}

fn refusal<B>(status: StatusCode) -> Response<Option<B>> {
    let mut response = Response::new(None);
    *response.status_mut() = status;
    response
}

/// Tells when a connection has had no request for too long.
struct IdleTimer {
    limit: Duration,
    told: bool,
    active: ActiveRequests,
    deadline: Deadline,
}

#[derive(PartialEq, Eq)]
enum Over {
    /// It is time for a GOAWAY.
    First,
    /// The peer has not reacted to it.
    ForGood,
}

impl IdleTimer {
    fn new(limit: Duration, active: ActiveRequests) -> Self {
        Self { limit, told: false, active, deadline: Deadline::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            if self.active.any() {
                self.deadline.progress();
            }
            ready!(self.deadline.poll(cx, self.limit));
            self.deadline.progress();
            if self.active.any() {
                continue;
            }
            self.limit = GOAWAY_TIMEOUT;
            return Poll::Ready(if std::mem::replace(&mut self.told, true) {
                Over::ForGood
            } else {
                Over::First
            });
        }
    }
}
