//! `GET /.well-known/openid-configuration`: the addresses of the endpoints for the hub's own OAuth login.

use std::future::ready;

use hyper::StatusCode;

use crate::api::auth::KnownHost;
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::extract::HubOAuthProvider;
use crate::api::response::json_response;

pub(super) fn endpoint() -> Endpoint {
    let handler = |_: KnownHost, HubOAuthProvider(provider): HubOAuthProvider| {
        ready(json_response(StatusCode::OK, &provider.discovery()))
    };
    Endpoint::get("/.well-known/openid-configuration", CallKind::Open, handler)
}
