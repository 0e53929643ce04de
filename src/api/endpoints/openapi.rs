//! `GET /api/v1/openapi.yaml`: this API, field by field.

use std::future::ready;

use hyper::StatusCode;

use crate::api::auth::KnownHost;
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::response::response;

/// The API, field by field.
pub const OPENAPI: &str = include_str!("../openapi.yaml");

pub(super) fn endpoint() -> Endpoint {
    // RFC 9512.
    let handler = |_: KnownHost| ready(response(StatusCode::OK, "application/yaml", OPENAPI));
    Endpoint::get("/api/v1/openapi.yaml", CallKind::Open, handler)
}
