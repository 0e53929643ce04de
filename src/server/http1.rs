//! One HTTP/1.1 connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

use super::in_flight_body::InFlightBody;
use super::io::http1_io::{ActiveRequests, Http1Io, Timeouts};
use super::io::stream::Stream;
use super::{ConnectionInfo, Service, drain_begins};
use crate::config::Limits;
use crate::poll_on_wake::PollOnWake;
use crate::shutdown::Shutdown;

/// A downstream connection as hyper holds it: what an upgrade gives back.
pub type DownstreamIo = TokioIo<Http1Io<Stream>>;

/// hyper's own bound on the headers of a request, for which it needs no allocation; the default of `limits.head_count` too.
const HYPER_HEAD_COUNT: usize = 100;

/// Closes a connection whose upgrade did not come about: hyper hands it over all the same, and does not close it.
async fn close(upgraded: Option<OnUpgrade>) {
    let Some(upgraded) = upgraded else { return };
    let Ok(upgraded) = upgraded.await else { return };
    if let Ok(parts) = upgraded.downcast::<DownstreamIo>() {
        // A peer that has gone already has no need of it.
        let _closed = parts.io.into_inner().shutdown().await;
    }
}

/// Serves `stream` to its end, or to the end of the drain. No async fn: that would keep, for as long as the connection is
/// open, what is moved into it.
pub fn serve_connection(
    stream: Stream,
    info: Arc<ConnectionInfo>,
    service: impl Service,
    limits: &Limits,
    shutdown: &Shutdown,
) -> impl Future<Output = hyper::Result<()>> + Send {
    let active = ActiveRequests::default();
    let begun = active.clone();
    let io: DownstreamIo = TokioIo::new(Http1Io::new(stream, Timeouts::new(limits), active.clone()));
    let tasks = shutdown.clone();
    let answer = service_fn(move |request: Request<Incoming>| {
        let (service, info, active) = (service.clone(), info.clone(), active.begin());
        // A walk, which costs less than a lookup where headers are few.
        let asks_upgrade = request.headers().keys().any(|name| *name == UPGRADE);
        let upgrade = asks_upgrade.then(|| (request.extensions().get::<OnUpgrade>().cloned(), tasks.clone()));
        let request = Box::new(request);
        async move {
            // In a box of its own: hyper keeps the room of this future for as long as the connection is open, and one that
            // is idle, or waits for events, does not need it.
            let mut response = Box::pin(service.call(info, request)).await;
            // framing.rs does not check what follows such a request, so unless the protocol changes the connection
            // must close.
            if let Some((upgraded, tasks)) = upgrade
                && response.status() != StatusCode::SWITCHING_PROTOCOLS
            {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                let over = tasks.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        () = close(upgraded) => {}
                        () = over.deadline() => {}
                    }
                });
            }
            Ok::<_, Infallible>(response.map(|body| InFlightBody::new(body, active)))
        }
    });
    let mut connection = builder(limits).serve_connection(io, answer).with_upgrades();
    async move {
        let draining = pin!(drain_begins(shutdown, &begun));
        let mut draining = PollOnWake::new(draining);
        tokio::select! {
            biased;
            ended = &mut connection => ended,
            () = &mut draining => {
                Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended,
                    () = shutdown.deadline() => Ok(()),
                }
            }
        }
    }
}

/// Not kept for the life of a connection.
fn builder(limits: &Limits) -> hyper::server::conn::http1::Builder {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.max_header_size(limits.head_bytes);
    if limits.head_count != HYPER_HEAD_COUNT {
        http.max_headers(limits.head_count);
    }
    http
}
