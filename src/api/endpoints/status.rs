//! `GET /health`, `/live`, `/ready` and `/metrics`: `status.rs` of the crate's root says what they are.

use std::sync::Arc;

use axum::extract::State;
use hyper::header::HeaderMap;

use crate::api::auth::KnownHost;
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::state::ApiState;

pub(super) fn health() -> Endpoint {
    page("/health")
}

pub(super) fn live() -> Endpoint {
    page("/live")
}

pub(super) fn ready() -> Endpoint {
    page("/ready")
}

pub(super) fn metrics() -> Endpoint {
    page("/metrics")
}

fn page(path: &'static str) -> Endpoint {
    let handler = move |_: KnownHost, State(api): State<Arc<ApiState>>, headers: HeaderMap| async move {
        (api.status)(path, &headers).await
    };
    Endpoint::get(path, CallKind::Probe, handler)
}
