//! `GET /hub-oauth/jwks`: the keys by which ID tokens can be verified.

use std::future::ready;

use hyper::StatusCode;

use crate::api::auth::KnownHost;
use crate::api::endpoint::{CallKind, Endpoint};
use crate::api::error::ApiError;
use crate::api::extract::HubOAuthProvider;
use crate::api::response::{ApiResponse, json_response};
use crate::login::hub_oauth::HubOAuth;

pub(super) fn endpoint() -> Endpoint {
    let handler = |_: KnownHost, HubOAuthProvider(provider): HubOAuthProvider| ready(jwks(&provider));
    Endpoint::get("/hub-oauth/jwks", CallKind::Open, handler)
}

fn jwks(provider: &HubOAuth) -> Result<ApiResponse, ApiError> {
    let keys = provider.jwks().map_err(|_| ApiError::NoSuchPath)?;
    Ok(json_response(StatusCode::OK, &keys))
}
