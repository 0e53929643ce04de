//! One HTTP/2 connection, from its first byte to its last (RFC 9113), for the same service as HTTP/1.1.
//!
//! Requests leave here as HTTP/1.1 has them: one Host, one Cookie, nothing that the next hop could read in two ways.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::attended::Attended;
use super::frames::Frames;
use super::stream::Stream;
use super::wire::Exchanges;
use super::{ConnectionInfo, Service, goodbye};
use crate::config::Limits;
use crate::deadline::Deadline;
use crate::dormant::Dormant;
use crate::shutdown::Shutdown;

/// What a peer may send of one body before it is taken: enough for 80 Mbit/s over 100 ms.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for the whole connection: a body that nobody takes must not hold up another.
const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;
/// What is kept of one answer that the peer does not take yet.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// The least of a frame's payload (RFC 9113 § 4.2), and what everybody sends.
const FRAME_BYTES: u32 = 16 * 1024;
/// Requests that were taken back before we looked at them: more at once are an attack (CVE-2023-44487).
const RESETS_PENDING: usize = 50;
/// Requests so malformed that we reset them, on one connection.
const RESETS_BY_ERROR: usize = 100;
/// How long a peer without requests may take to agree to the end of an idle connection.
const GOODBYE: Duration = Duration::from_secs(3);

/// Serves `stream` to its end, or to the end of the drain.
pub async fn converse(
    stream: Stream,
    info: ConnectionInfo,
    service: impl Service,
    limits: &Limits,
    shutdown: &Shutdown,
) -> hyper::Result<()> {
    let exchanges = Exchanges::default();
    let io = TokioIo::new(Frames::new(stream, limits, exchanges.clone()));
    let streams = Streams::new(shutdown.clone(), limits.write_stall_timeout);
    let paces = streams.clone();
    let (busy, begun, head_count) = (exchanges.clone(), exchanges.clone(), limits.head_count);
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, info, exchange) = (service.clone(), info.clone(), exchanges.begin());
        let pace = paces.next_pace();
        // Boxed: hyper builds its stream around it and moves that, which is 5 KB otherwise.
        Box::pin(async move {
            let response = match as_in_http1(request, head_count) {
                Ok(request) => service.answer(info, request).await.map(Some),
                Err(status) => refusal(status),
            };
            let mut response =
                response.map(|body| Sent::new(body.map(|body| Attended::new(body, exchange)), pace));
            response.headers_mut().remove(CONNECTION);
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = pin!(builder(streams, limits).serve_connection(io, answer));
    let mut idle = Idle::new(limits.idle_timeout, busy);
    let (begins, mut ends) = (pin!(goodbye(shutdown, &begun)), pin!(shutdown.deadline()));
    let mut begins = Dormant::new(begins);
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
        // A peer that is gone without a word is found out even if an answer is silent for hours (server-sent events).
        .keep_alive_interval(limits.idle_timeout)
        .keep_alive_timeout(limits.write_stall_timeout);
    http
}

/// The request as HTTP/1.1 would have it, or the status of its refusal.
fn as_in_http1<B: Body>(mut request: Request<B>, head_count: usize) -> Result<Request<B>, StatusCode> {
    join_cookies(request.headers_mut());
    let headers = request.headers();
    if headers.len() > head_count {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    // RFC 9113 § 8.2.1: such a value is malformed, and the next hop would read another one.
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if headers.values().map(HeaderValue::as_bytes).any(|value| blank(value.first()) || blank(value.last())) {
        return Err(StatusCode::BAD_REQUEST);
    }
    if !has_plain_length(headers, request.body().is_end_stream()) {
        return Err(StatusCode::BAD_REQUEST);
    }
    // RFC 9113 § 8.3.1. If there are both, or neither, the service judges as it does for an absolute target.
    if let Some(authority) = request.uri().authority().filter(|_| !headers.contains_key(HOST)) {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| StatusCode::BAD_REQUEST)?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}

/// One Cookie for all its crumbs, before anybody looks at them (RFC 9113 § 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return;
    }
    // Values joined by "; " are a value again.
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// No Content-Length, or one that is plain digits (as in `framing.rs`) and not of a body that is not there.
fn has_plain_length(headers: &HeaderMap, without_body: bool) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    match (lengths.next(), lengths.next()) {
        (None, _) | (Some(b"0"), None) => true,
        (Some([b'1'..=b'9', rest @ ..]), None) => !without_body && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn refusal<B>(status: StatusCode) -> Response<Option<B>> {
    let mut response = Response::new(None);
    *response.status_mut() = status;
    response
}

/// Tells when a connection has had no request for too long.
struct Idle {
    limit: Duration,
    told: bool,
    exchanges: Exchanges,
    deadline: Deadline,
}

#[derive(PartialEq, Eq)]
enum Over {
    /// It is time for a GOAWAY.
    First,
    /// The peer has not reacted to it.
    ForGood,
}

impl Idle {
    fn new(limit: Duration, exchanges: Exchanges) -> Self {
        Self { limit, told: false, exchanges, deadline: Deadline::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            if self.exchanges.any() {
                self.deadline.progress();
            }
            ready!(self.deadline.poll(cx, self.limit));
            self.deadline.progress();
            if self.exchanges.any() {
                continue;
            }
            self.limit = GOODBYE;
            return Poll::Ready(if std::mem::replace(&mut self.told, true) {
                Over::ForGood
            } else {
                Over::First
            });
        }
    }
}

/// Spawns the streams of one connection, each to be given up when its peer takes nothing of an answer for too long.
///
/// On one connection a peer can read many answers while it stops reading one: only that one may end, so the time is
/// measured for each stream, between two parts of its body.
#[derive(Debug, Clone)]
struct Streams {
    shutdown: Shutdown,
    stall: Duration,
    /// hyper calls the service and then spawns the stream of that call: this hands over what they share.
    next: Arc<Mutex<Arc<Pace>>>,
}

/// How the peer takes one answer: 0 while it waits for us, else which part we wait for it to take.
#[derive(Debug, Default)]
struct Pace(AtomicUsize);

impl Streams {
    fn new(shutdown: Shutdown, stall: Duration) -> Self {
        Self { shutdown, stall, next: Arc::default() }
    }

    /// The pace of the stream that is spawned next.
    fn next_pace(&self) -> Arc<Pace> {
        let pace = Arc::<Pace>::default();
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&pace);
        pace
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let pace = Arc::clone(&self.next.lock().unwrap_or_else(PoisonError::into_inner));
        let limit = self.stall;
        self.shutdown.spawn(async move {
            let mut stream = pin!(stream);
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

/// The body of an answer on its way out, in parts that can be waited for; none if there is nothing to say.
struct Sent<B> {
    body: Option<B>,
    /// What is left of a piece that was larger than a part.
    rest: Bytes,
    parts: usize,
    pace: Arc<Pace>,
}

impl<B> Sent<B> {
    fn new(body: Option<B>, pace: Arc<Pace>) -> Self {
        Self { body, rest: Bytes::new(), parts: 0, pace }
    }

    fn part(&mut self) -> Frame<Bytes> {
        self.parts += 1;
        self.pace.0.store(self.parts, Ordering::Relaxed);
        Frame::data(self.rest.split_to(self.rest.len().min(SEND_BUFFER_BYTES)))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sent<B> {
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
