//! One HTTP/1.1 connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;

use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::in_flight_body::InFlightBody;
use super::io::http1_io::{ActiveRequests, Http1Io, Timeouts};
use super::io::stream::Stream;
use super::{ConnectionInfo, Service, goodbye};
use crate::config::Limits;
use crate::poll_on_wake::PollOnWake;
use crate::shutdown::Shutdown;

/// A downstream connection as hyper holds it: what an upgrade gives back.
pub type DownstreamIo = TokioIo<Http1Io<Stream>>;

/// Serves `stream` to its end, or to the end of the drain.
pub async fn converse(
    stream: Stream,
    info: ConnectionInfo,
    service: impl Service,
    limits: &Limits,
    shutdown: &Shutdown,
) -> hyper::Result<()> {
    let exchanges = ActiveRequests::default();
    let begun = exchanges.clone();
    let io: DownstreamIo = TokioIo::new(Http1Io::new(stream, Timeouts::new(limits), exchanges.clone()));
    let answer = service_fn(move |request: Request<_>| {
        let (service, info, exchange) = (service.clone(), info.clone(), exchanges.begin());
        let request = Box::new(request);
        async move {
            // A walk, which costs less than a lookup where headers are few.
            let asks_upgrade = request.headers().keys().any(|name| *name == UPGRADE);
            let mut response = service.call(info, request).await;
            // What follows such a request is not judged (framing.rs), so unless the protocol changes nothing may
            // follow it.
            if asks_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response.map(|body| InFlightBody::new(body, exchange)))
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.max_header_size(limits.head_bytes);
    if limits.head_count != Limits::default().head_count {
        // hyper keeps its own default (100) on the stack.
        http.max_headers(limits.head_count);
    }
    let mut connection = pin!(http.serve_connection(io, answer).with_upgrades());
    let draining = pin!(goodbye(shutdown, &begun));
    let mut draining = PollOnWake::new(draining);
    tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = &mut draining => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut connection => ended,
                () = shutdown.deadline() => Ok(()),
            }
        }
    }
}
