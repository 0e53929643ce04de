//! `GET /health`, `/live`, `/ready` and `/metrics`: `status.rs` of the crate's root says what they are.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde_json::json;
use utoipa::openapi::schema::ObjectBuilder;

use crate::api::auth::KnownHost;
use crate::api::document::{Documentation, ResponseDoc};
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::schema::{BodySchema, closed, flag, integer, text, text_of};
use crate::api::shared_responses::NOT_ALLOWED;
use crate::api::state::ApiState;

pub(super) fn health() -> Endpoint {
    page("/health", health_documentation)
}

pub(super) fn live() -> Endpoint {
    page("/live", live_documentation)
}

pub(super) fn ready() -> Endpoint {
    page("/ready", ready_documentation)
}

pub(super) fn metrics() -> Endpoint {
    page("/metrics", metrics_documentation)
}

fn page(path: &'static str, documentation: fn() -> Documentation) -> Endpoint {
    let handler = move |_: KnownHost, State(api): State<Arc<ApiState>>, headers: HeaderMap| async move {
        (api.status)(path, &headers).await
    };
    Endpoint::get(path, CallKind::Probe, handler, documentation)
}

fn health_documentation() -> Documentation {
    Documentation::new("operations", "readHealth", "Whether the process lives")
        .security([])
        .answers(
            StatusCode::OK,
            ResponseDoc::new("It does, since it answers.")
                .json(closed(["status", "message"]).property("status", integer()).property("message", text()))
                .example("alive", json!({"status": 200, "message": "alive"})),
        )
        .fails([&NOT_ALLOWED])
}

fn live_documentation() -> Documentation {
    Documentation::new(
        "operations",
        "readLive",
        "Whether the process serves, whatever the hub and the store do",
    )
    .security([])
    .answers(
        StatusCode::OK,
        ResponseDoc::new("It does.")
            .json(BodySchema::named("Live", live_schema()))
            .example("alive", json!({"status": 200, "message": "alive"})),
    )
    .answers(
        StatusCode::SERVICE_UNAVAILABLE,
        ResponseDoc::new("hublatch is shutting down (`not_ready`).")
            .json(BodySchema::named("Live", live_schema()))
            .example("draining", json!({"status": 503, "message": "draining", "code": "not_ready"})),
    )
    .fails([&NOT_ALLOWED])
}

fn ready_documentation() -> Documentation {
    Documentation::new("operations", "readReady", "Whether a login can succeed now")
        .security([])
        .answers(
            StatusCode::OK,
            ResponseDoc::new("It can.").json(BodySchema::named("Ready", ready_schema())).example(
                "ready",
                json!({
                    "status": 200,
                    "message": "ready",
                    "ready": true,
                    "live": true,
                    "store": "ok",
                    "hub": "ok",
                    "audit": "ok",
                    "draining": false,
                }),
            ),
        )
        .answers(
            StatusCode::SERVICE_UNAVAILABLE,
            ResponseDoc::new(
                "The store or the hub is out of reach, or hublatch is shutting down (`not_ready`).",
            )
            .json(BodySchema::named("Ready", ready_schema()))
            .example(
                "hub_down",
                json!({
                    "status": 503,
                    "message": "the hub does not answer",
                    "code": "not_ready",
                    "ready": false,
                    "live": true,
                    "store": "ok",
                    "hub": "the hub does not answer",
                    "audit": "ok",
                    "draining": false,
                }),
            ),
        )
        .fails([&NOT_ALLOWED])
}

fn metrics_documentation() -> Documentation {
    Documentation::new("operations", "readMetrics", "Everything counted, for Prometheus")
        .security([])
        .answers(
            StatusCode::OK,
            ResponseDoc::new("OpenMetrics text, names `hublatch_*`.")
                .text("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        )
        .fails([&NOT_ALLOWED])
}

fn live_schema() -> ObjectBuilder {
    closed(["status", "message"])
        .property("status", integer())
        .property("message", text())
        .property("code", text())
}

fn ready_schema() -> ObjectBuilder {
    closed(["status", "message", "ready", "live", "store", "hub", "audit", "draining"])
        .property("status", integer())
        .property("message", text())
        .property("code", text())
        .property("ready", flag(""))
        .property("live", flag("What `/live` says."))
        .property("store", text_of("`ok`, or what is wrong."))
        .property("hub", text_of("`ok`, or what is wrong."))
        .property("audit", text_of("`ok`, or what is wrong."))
        .property("draining", flag(""))
}
